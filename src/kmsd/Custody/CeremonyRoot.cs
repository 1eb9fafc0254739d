using System.Globalization;
using Kms.Hsm;
using Kmsd.Hosting;
using Kmsd.RootKeys;

namespace Kmsd.Custody;

/// <summary>
/// A root secret that custodians have shared, proven in every quorum, and of which nothing is in the token or the database yet.
/// What it wrote to files goes with it, unless it is kept.
/// </summary>
/// <param name="secret">Taken over.</param>
/// <param name="set">The shares' set.</param>
/// <param name="holdings">Of each share, in order.</param>
/// <param name="quorums">How many were proven.</param>
internal sealed class CeremonyRoot(RootSecret secret, ShareSet set, IReadOnlyList<ShareHolding> holdings, int quorums) : IDisposable
{
    private bool _isKept;

    public ShareSet Set => set;

    /// <summary>Puts the keys that were planned into the token, and proves that they are this secret's; nothing stays if they aren't.</summary>
    /// <exception cref="StartupException">The token refuses.</exception>
    public RootGenerationDescriptor Import(Token token, RootGenerationDescriptor planned)
    {
        using RootKeyValues values = secret.DeriveKeys();
        RootGenerationDescriptor made = TokenAccess.Try(() => token.ImportGeneration(planned, values));
        try
        {
            return TokenAccess.Try(() => token.Proves(made, values))
                ? made
                : throw new StartupException(ExitCode.Configuration, "The token doesn't do with the root key what it must; use another token.");
        }
        catch
        {
            token.DestroyGeneration(made);
            throw;
        }
    }

    /// <summary>The rows that say who holds its shares.</summary>
    public IEnumerable<StoredShare> Rows(long generation, DateTimeOffset now) => holdings.Select((holding, index) => new StoredShare(
        generation, index + 1, holding.Custodian, holding.Medium, holding.MediumSerial, holding.Seal, holding.Safe, holding.Site, now, now));

    /// <summary>The generation stands: the shares' files stay.</summary>
    public void Keep() => _isKept = true;

    /// <summary>What happened, for the people who were there to sign. No secret.</summary>
    public void WriteProtocol(TextWriter output, RootGenerationDescriptor made, TokenDescription token, DateTimeOffset now)
    {
        output.WriteLine("Protocol: ceremony of a root key");
        output.WriteLine($"  at: {now.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC");
        output.WriteLine($"  token: '{token.Label}', serial {token.Serial}, {token.Manufacturer} {token.Model}");
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  root key: generation {made.Number} of instance {Convert.ToHexStringLower(made.InstanceId)}"));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  shares: set {set.Name}, any {set.Threshold} of {holdings.Count}; check value {Convert.ToHexStringLower(set.Check)}"));
        for (int i = 0; i < holdings.Count; i++)
        {
            output.WriteLine($"  {holdings[i].Describe(i + 1)}");
        }

        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"  proven: every share read back; the same key from each of the {quorums} quorums, by the token"));
        output.WriteLine("  signed:");
    }

    public void Dispose()
    {
#pragma warning disable IDISP007 // The constructor takes it over.
        secret.Dispose();
#pragma warning restore IDISP007
        if (!_isKept)
        {
            Ceremony.RemoveFiles(holdings.Select(holding => holding.File));
        }
    }
}
