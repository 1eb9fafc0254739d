using Kms.Hsm;
using Kmsd.Custody;
using Kmsd.Hosting;
using Kmsd.RootKeys;

namespace Kmsd.Commands;

/// <summary>The dialogues about the root key's shares, each with the terminal put back as it was, and with an exit for each way out.</summary>
internal static class CustodyDialogue
{
    /// <exception cref="StartupException">64: nobody is there, or somebody ended it.</exception>
    public static string AskOrigin() => Run("kmsd init", terminal =>
    {
        terminal.WriteLine("Where does the root key come from?");
        terminal.WriteLine("  ceremony  drawn here and split among custodians: a lost token isn't the end");
        terminal.WriteLine("  token     generated in the token: whoever loses the token loses every key");
        string answer = terminal.Ask("[ceremony] ");
        return answer.Length == 0 ? StoredGeneration.CeremonyOrigin : answer;
    });

    /// <summary>The caller owns what it gives.</summary>
    /// <exception cref="StartupException">64: somebody ended it; others of the token.</exception>
    public static CeremonyRoot HoldCeremony(Token token, SplitRules rules, string stateDirectory) =>
        Run("A ceremony", terminal => new Ceremony(terminal, token, rules, stateDirectory).Run());

    /// <summary>The caller owns what it gives.</summary>
    /// <param name="source">The database that names the root key.</param>
    /// <param name="wanted">Its generations that are needed.</param>
    /// <param name="recorded">Its shares.</param>
    /// <param name="files">Shares in files.</param>
    /// <exception cref="StartupException">64: somebody ended it; 65: the shares are wrong or too few.</exception>
    public static OpenedCustody Open(
        string source, IEnumerable<StoredGeneration> wanted, IReadOnlyList<StoredShare> recorded, IReadOnlyList<string> files)
    {
        StoredGeneration[] shared = [.. wanted.Where(one => one.IsInToken && one.Shares is not null)];
        return shared.Length > 0
            ? Run("Opening custody", terminal => new Opening(terminal, shared, recorded).Run(files))
            : throw new StartupException(ExitCode.Usage, $"The root key that {source} names has no shares: it was generated in the token.");
    }

    private static T Run<T>(string what, Func<Terminal, T> dialogue)
    {
        using var terminal = Terminal.Open(what);
        try
        {
            return dialogue(terminal);
        }
        catch (AbandonedException exception)
        {
            throw new StartupException(ExitCode.Usage, $"{exception.Message} Nothing was changed.", exception);
        }
        catch (ShareException exception)
        {
            throw new StartupException(ExitCode.DataDoesNotVerify, $"{exception.Message} Nothing was changed.", exception);
        }
    }
}
