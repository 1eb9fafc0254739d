using System.Globalization;
using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.Hosting;
using Kmsd.RootKeys;

namespace Kmsd.Custody;

/// <summary>
/// The dialogue in which a root secret is drawn and shared among custodians. First who gets what; then the secret is drawn, split,
/// and rebuilt from every quorum; then each custodian alone writes his share down and reads it back. Nothing is changed meanwhile:
/// token and database come after it, in <see cref="CeremonyRoot"/>.
/// </summary>
internal sealed class Ceremony(Terminal terminal, Token token, SplitRules rules, string stateDirectory)
{
    private const int LongestField = 80;
    private const int SetIds = 1 << 15;

    private readonly List<ShareHolding> _holdings = [];
    private readonly List<string> _written = [];

    /// <summary>Runs it; the caller owns what it gives.</summary>
    /// <exception cref="AbandonedException">Somebody ended it.</exception>
    /// <exception cref="StartupException">The token refuses.</exception>
    public CeremonyRoot Run()
    {
        terminal.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"Ceremony of a root key: {rules.Count} shares, any {rules.Threshold} of which make it."));
        terminal.WriteLine("Nothing is changed before every share has been read back. 'abandon' or Ctrl-C ends it at any prompt.");
        for (int number = 1; number <= rules.Count; number++)
        {
            _holdings.Add(AskHolding(number));
        }

        RequireScreen();
        RootSecret secret = TokenAccess.Try(() => RootSecret.Draw(token.GenerateRandom));
        try
        {
            ShareSet set = new(RandomNumberGenerator.GetInt32(SetIds), rules.Threshold, secret.Check());
            int quorums = Share(secret, set);
            terminal.WriteLine();
            Confirm();
            return new CeremonyRoot(secret, set, _holdings, quorums);
        }
        catch
        {
            secret.Dispose();
            RemoveFiles(_written);
            throw;
        }
    }

    /// <summary>Shares of a key that isn't one any more are removed.</summary>
    public static void RemoveFiles(IEnumerable<string?> files)
    {
        foreach (string file in files.OfType<string>())
        {
            ShareFile.Remove(file);
        }
    }

    private int Share(RootSecret secret, ShareSet set)
    {
        Slip39Share[] shares = Slip39.Split(secret.Bytes, rules.Threshold, rules.Count, (int)set.Id);
        try
        {
            terminal.WriteLine();
            terminal.WriteLine($"The root key is drawn and split: set {set.Name}. Proving it from every quorum.");
            int quorums = Prove(secret, shares);
            terminal.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"Each of the {quorums} quorums gives the same key, and the token agrees."));
            for (int i = 0; i < shares.Length; i++)
            {
                HandOver(shares[i], i + 1, set);

                // From here on it is on its medium alone.
                shares[i].Dispose();
            }

            return quorums;
        }
        finally
        {
            Slip39.DisposeAll(shares);
        }
    }

    /// <summary>Before anybody sees a word: whatever quorum comes one day, it brings this key.</summary>
    private int Prove(RootSecret secret, Slip39Share[] shares)
    {
        using RootKeyValues original = secret.DeriveKeys();
        int proven = 0;
        foreach (int[] quorum in Quorums.Of(rules.Count, rules.Threshold))
        {
            using var rebuilt = RootSecret.Combine([.. quorum.Select(place => shares[place])]);
            using RootKeyValues keys = rebuilt.DeriveKeys();
            if (!rebuilt.IsSameAs(secret) || !TokenAccess.Try(() => token.AreSame(original, keys)))
            {
                throw new InvalidOperationException("A quorum of the shares gives another key. Nothing was changed.");
            }

            proven++;
        }

        return proven;
    }

    private void HandOver(Slip39Share share, int number, ShareSet set)
    {
        ShareHolding holding = _holdings[number - 1];
        terminal.WriteLine();
        _ = terminal.Ask(string.Create(
            CultureInfo.InvariantCulture,
            $"Share {number} of {rules.Count} is for {holding.Custodian}. Press Enter when nobody else sees this screen. "));
        if (holding.File is string file)
        {
            WriteFile(share, file);
        }
        else
        {
            new ShareScreen(terminal).HandOver(share, string.Create(
                CultureInfo.InvariantCulture, $"Share {number} of {rules.Count}, set {set.Name}, for {holding.Custodian}"));
        }

        terminal.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"Share {number} was read back. Put the medium into its bag and close it with seal {holding.Seal}."));
    }

    private void WriteFile(Slip39Share share, string file)
    {
        while (true)
        {
            using var passphrase = Passphrase.Ask(terminal, $"  Passphrase for {file}, at least {ShareFile.LeastPassphrase} characters: ");
            if (!passphrase.IsLongEnough)
            {
                terminal.WriteLine("  It is too short.");
                continue;
            }

            try
            {
                passphrase.WriteFile(file, share);
            }
            catch (ShareException exception)
            {
                throw new AbandonedException(exception.Message);
            }

            _written.Add(file);
            if (ReadBack(share, file))
            {
                return;
            }

            ShareFile.Remove(file);
            _ = _written.Remove(file);
        }
    }

    private bool ReadBack(Slip39Share share, string file)
    {
        using var again = Passphrase.Ask(terminal, "  Passphrase again, to read the file back: ");
        try
        {
            using Slip39Share read = again.ReadFile(file);
            return ShareScreen.AreSame(share, read) ? true : throw new ShareException($"{file} holds another share than was written.");
        }
        catch (ShareException exception)
        {
            terminal.WriteLine($"  {exception.Message}");
            return false;
        }
    }

    private void Confirm()
    {
        while (true)
        {
            string answer = terminal.Ask($"Every share was read back. Type 'yes' to put the root key into token '{token.Description.Label}': ");
            if (answer == "yes")
            {
                return;
            }
        }
    }

    private ShareHolding AskHolding(int number)
    {
        terminal.WriteLine();
        terminal.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Share {number} of {rules.Count}"));
        string custodian = AskField("Custodian", answer => IsAnothers(answer, one => one.Custodian, "holds"));
        string medium = AskField("Medium, such as card or steel plate", _ => null);
        string serial = AskField("Serial number of the medium", answer => IsAnothers(answer, one => one.Medium.Equals(medium, StringComparison.OrdinalIgnoreCase) ? one.MediumSerial : "", "carries"));
        string seal = AskField("Number of the bag's seal", IsSealOfAnother);
        string safe = AskField("Safe", _ => null);
        string site = AskField("Site", answer => IsAnothers(answer, one => one.Site, "has"));
        while (true)
        {
            string file = terminal.Ask("  File for the share (empty: words on the screen): ");
            if (file.Length == 0)
            {
                return new ShareHolding(custodian, medium, serial, seal, safe, site, File: null);
            }

            if (RefuseFile(file) is not string refusal)
            {
                return new ShareHolding(custodian, medium, serial, seal, safe, site, file);
            }

            terminal.WriteLine($"  {refusal}");
        }
    }

    private string AskField(string what, Func<string, string?> refuse)
    {
        while (true)
        {
            string answer = terminal.Ask($"  {what}: ");
            string? refusal = answer.Length is 0 or > LongestField || answer.Any(char.IsControl)
                ? string.Create(CultureInfo.InvariantCulture, $"1 to {LongestField} characters, please.")
                : refuse(answer);
            if (refusal is null)
            {
                return answer;
            }

            terminal.WriteLine($"  {refusal}");
        }
    }

    /// <summary>A number that two bags carry says of neither whether it was opened.</summary>
    private string? IsSealOfAnother(string answer)
    {
        int same = _holdings.FindIndex(one => one.Seal.Equals(answer, StringComparison.OrdinalIgnoreCase));
        return same < 0 ? null : string.Create(CultureInfo.InvariantCulture, $"'{answer}' closes share {same + 1} already. Each bag has a number of its own.");
    }

    /// <summary>Two shares in one hand, on one medium or at one site are lost, or stolen, together.</summary>
    private string? IsAnothers(string answer, Func<ShareHolding, string> field, string verb)
    {
        int same = rules.AcceptsSame ? -1 : _holdings.FindIndex(one => field(one).Equals(answer, StringComparison.OrdinalIgnoreCase));
        return same < 0 ? null : string.Create(
            CultureInfo.InvariantCulture, $"'{answer}' {verb} share {same + 1} already. Take another, or begin anew with --accept.");
    }

    /// <summary>A share beside the database, or beside another share, is no share.</summary>
    private string? RefuseFile(string file)
    {
        try
        {
            if (!Path.IsPathFullyQualified(file) || Path.GetDirectoryName(file) is not string folder)
            {
                return "An absolute path, please.";
            }

            if (File.Exists(file) || Directory.Exists(file))
            {
                return $"{file} is there already.";
            }

            (uint, uint) device = ShareFile.DeviceOf(folder);
            if (device == ShareFile.DeviceOf(stateDirectory))
            {
                return $"{folder} is on the filesystem of the state folder {stateDirectory}; a share must be elsewhere.";
            }

            int same = _holdings.FindIndex(one => one.File is string other && ShareFile.DeviceOf(Path.GetDirectoryName(other)!) == device);
            return same < 0 ? null : string.Create(
                CultureInfo.InvariantCulture, $"{folder} is on the filesystem of share {same + 1}; each share needs its own.");
        }
        catch (ShareException exception)
        {
            return exception.Message;
        }
    }

    private void RequireScreen()
    {
        if (!Terminal.CanBeCleared && _holdings.Any(one => one.File is null))
        {
            throw new StartupException(
                ExitCode.Usage, "This terminal can't be cleared (TERM is dumb or not set), so no words are shown on it. Nothing was changed.");
        }
    }
}
