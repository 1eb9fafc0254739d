using System.Globalization;
using Kmsd.Hosting;
using Kmsd.RootKeys;

namespace Kmsd.Custody;

/// <summary>A share that was taken out of its bag.</summary>
/// <param name="Number">From 1.</param>
/// <param name="OldSeal">Found on the bag.</param>
/// <param name="NewSeal">Of the bag into which it goes.</param>
/// <param name="Recorded">What the database says of it; null: nothing.</param>
internal sealed record OpenedShare(int Number, string OldSeal, string NewSeal, StoredShare? Recorded)
{
    /// <summary>Somebody has opened the bag, or closed another one, without saying so.</summary>
    public bool HasAnotherSeal => Recorded is not null && Recorded.Seal != OldSeal;
}

/// <summary>Custody was opened: the secret that a quorum gave, and the facts that go on record.</summary>
/// <param name="secret">Taken over.</param>
/// <param name="generation">The root generation whose secret it is, by its check value.</param>
/// <param name="reason">Why it was opened.</param>
/// <param name="present">Who was there.</param>
/// <param name="shares">Which were opened.</param>
internal sealed class OpenedCustody(
    RootSecret secret, StoredGeneration generation, string reason, string present, IReadOnlyList<OpenedShare> shares) : IDisposable
{
    public RootSecret Secret => secret;

    public StoredGeneration Generation => generation;

    public IReadOnlyList<OpenedShare> Shares => shares;

    /// <summary>For the history and for notices: one line, no secret.</summary>
    public string Describe() => string.Create(
        CultureInfo.InvariantCulture,
        $"root generation {generation.Number}, set {generation.Shares?.Name}; {reason}; present: {present}; {string.Join(", ", shares.Select(Describe))}");

    public OpeningNote ToNote(DateTimeOffset now) => new(now, generation.Number, Describe(), shares.ToDictionary(share => (long)share.Number, share => share.NewSeal));

    /// <summary>What happened, for the people who were there to sign. No secret.</summary>
    public void WriteProtocol(TextWriter output, string title, DateTimeOffset now)
    {
        output.WriteLine($"Protocol: {title}");
        output.WriteLine($"  at: {now.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC");
        output.WriteLine($"  reason: {reason}");
        output.WriteLine($"  present: {present}");
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"  root key: generation {generation.Number} of instance {Convert.ToHexStringLower(generation.Descriptor.InstanceId)}; set {generation.Shares?.Name}, check value {Convert.ToHexStringLower(secret.Check())}"));
        foreach (OpenedShare share in shares)
        {
            output.WriteLine($"  {Describe(share)}");
        }
    }

#pragma warning disable IDISP007 // The constructor takes it over.
    public void Dispose() => secret.Dispose();
#pragma warning restore IDISP007

    private static string Describe(OpenedShare share) => string.Create(
        CultureInfo.InvariantCulture,
        $"share {share.Number}: seal {share.OldSeal}{(share.HasAnotherSeal ? $" (recorded: {share.Recorded!.Seal})" : "")}, now {share.NewSeal}");
}

/// <summary>The dialogue in which custodians bring a quorum of shares together: typed, or from files.</summary>
/// <param name="terminal">Where they are.</param>
/// <param name="wanted">The generations of which one is to be proven; each has shares.</param>
/// <param name="recorded">Who is said to hold the shares.</param>
internal sealed class Opening(Terminal terminal, IReadOnlyList<StoredGeneration> wanted, IReadOnlyList<StoredShare> recorded)
{
    private const int LongestField = 200;
    private const int MostPassphrases = 3;

    private readonly List<Slip39Share> _shares = [];
    private readonly List<Slip39Share> _refused = [];
    private readonly List<OpenedShare> _opened = [];

    /// <summary>Runs it; the caller owns what it gives.</summary>
    /// <param name="files">Shares in files; what they lack is typed.</param>
    /// <exception cref="AbandonedException">Somebody ended it.</exception>
    /// <exception cref="ShareException">The shares are wrong, or too few.</exception>
    public OpenedCustody Run(IReadOnlyList<string> files)
    {
        terminal.WriteLine("Opening custody of a root key. 'abandon' or Ctrl-C ends it at any prompt.");
        foreach (StoredGeneration generation in wanted)
        {
            terminal.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"Generation {generation.Number}: set {generation.Shares!.Name}, {generation.Shares.Threshold} shares needed."));
        }

        try
        {
            string reason = AskField("Reason");
            string present = AskField("Custodians present");
            Queue<string> rest = new(files);
            while (_shares.Count == 0 || _shares.Count < _shares[0].Header.MemberThreshold || rest.Count > 0)
            {
                ReadOne(rest);
            }

            return Combine(reason, present);
        }
        catch (AbandonedException) when (_shares.Count > 0)
        {
            throw new AbandonedException(string.Create(
                CultureInfo.InvariantCulture, $"Abandoned: {_shares[0].Header.MemberThreshold} shares are needed, and only {_shares.Count} were given."));
        }
        finally
        {
            Slip39.DisposeAll(_shares);
            Slip39.DisposeAll(_refused);
        }
    }

    private void ReadOne(Queue<string> files)
    {
        terminal.WriteLine();
        terminal.WriteLine(_shares.Count == 0 ? "Share 1" : string.Create(
            CultureInfo.InvariantCulture, $"Share {_shares.Count + 1} of {_shares[0].Header.MemberThreshold}"));
        string oldSeal = AskField("  Seal found on the bag");
        ShareHeader header = files.TryDequeue(out string? file) ? ReadFile(file) : ReadWords();
        int number = header.MemberIndex + 1;
        StoredGeneration? generation = wanted.FirstOrDefault(one => one.Shares!.Id == header.SetId);
        StoredShare? known = recorded.FirstOrDefault(one => one.Generation == generation?.Number && one.Member == number);
        terminal.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"  This is share {number} of set {header.SetName}{(known is null ? "" : $", of {known.Custodian}")}."));
        OpenedShare opened = new(number, oldSeal, AskNewSeal(number, generation), known);
        if (opened.HasAnotherSeal)
        {
            terminal.WriteLine($"  The seal that is on record is {known!.Seal}: find out who opened the bag.");
        }

        _opened.Add(opened);
    }

    /// <summary>A number that closes another share's bag already is refused.</summary>
    private string AskNewSeal(int number, StoredGeneration? generation)
    {
        while (true)
        {
            string seal = AskField("  Seal of the new bag");
            long? other = _opened.Find(one => IsSame(one.NewSeal, seal))?.Number
                ?? recorded.FirstOrDefault(one => one.Generation == generation?.Number && one.Member != number && IsSame(one.Seal, seal))?.Member;
            if (other is null)
            {
                return seal;
            }

            terminal.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  '{seal}' closes share {other} already. Each bag has a number of its own."));
        }
    }

    private static bool IsSame(string one, string other) => one.Equals(other, StringComparison.OrdinalIgnoreCase);

    /// <summary>A file that is wrong ends it: asking again would not change it. A passphrase may have been mistyped.</summary>
    private ShareHeader ReadFile(string file)
    {
        for (int tries = 1; ; tries++)
        {
            using var passphrase = Passphrase.Ask(terminal, $"  Passphrase of {file}: ");
            try
            {
                _shares.Add(passphrase.ReadFile(file));
                break;
            }
            catch (ShareException exception) when (exception.MayBePassphrase && tries < MostPassphrases)
            {
                terminal.WriteLine($"  {exception.Message}");
            }
        }

        return Refusal(_shares[^1].Header) is string refusal ? throw new ShareException($"{file}: {refusal}") : _shares[^1].Header;
    }

    private ShareHeader ReadWords()
    {
        while (true)
        {
            _ = terminal.Ask("  Press Enter when only its custodian sees this screen. ");
            _shares.Add(new ShareScreen(terminal).Read("A share of the root key"));
            if (Refusal(_shares[^1].Header) is not string refusal)
            {
                return _shares[^1].Header;
            }

            _refused.Add(_shares[^1]);
            _shares.RemoveAt(_shares.Count - 1);
            terminal.WriteLine($"  {refusal}");
        }
    }

    /// <summary>Of the share that came last, beside those before it.</summary>
    private string? Refusal(ShareHeader header)
    {
        string sets = string.Join(", ", wanted.Select(one => one.Shares!.Name).Distinct());
        return !wanted.Any(one => one.Shares!.Id == header.SetId) ? $"This share is of set {header.SetName}; the root key's shares are of set {sets}."
            : header.SetId != _shares[0].Header.SetId ? $"This share is of set {header.SetName}, the one before of set {_shares[0].Header.SetName}."
            : _shares.SkipLast(1).Any(one => one.Header.MemberIndex == header.MemberIndex) ? $"Share {header.MemberIndex + 1} was given already."
            : null;
    }

    private OpenedCustody Combine(string reason, string present)
    {
#pragma warning disable IDISP001 // What is opened takes it over.
        var secret = RootSecret.Combine(_shares);
#pragma warning restore IDISP001
        try
        {
            byte[] check = secret.Check();
            StoredGeneration generation = wanted.FirstOrDefault(
                one => one.Shares!.Id == _shares[0].Header.SetId && one.Shares.Check.AsSpan().SequenceEqual(check))
                ?? throw new ShareException(
                    $"The shares are sound, but give another key than the root key: check value {Convert.ToHexStringLower(check)}. Another set has the id {_shares[0].Header.SetName} too.");
            return new OpenedCustody(secret, generation, reason, present, _opened);
        }
        catch
        {
            secret.Dispose();
            throw;
        }
    }

    private string AskField(string what)
    {
        while (true)
        {
            string answer = terminal.Ask($"{what}: ");
            if (answer.Length is > 0 and <= LongestField && !answer.Any(char.IsControl))
            {
                return answer;
            }
        }
    }
}
