using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>
/// At start, brings the counters up to the history: uses after the mark are counted again. What is read is first proven to
/// link from the mark to the head.
/// </summary>
internal static class UsageReplay
{
    private const string AlsoPrefix = "also version ";

    private const string SelectUses = $"""
        SELECT {StoredEntry.Columns} FROM history WHERE sequence > $1 AND operation LIKE 'crypto.%' AND version IS NOT NULL ORDER BY sequence
        """;

    private const string SelectErased = "SELECT coalesce(min(sequence), 0) FROM history WHERE sequence > $1 AND salt IS NULL";

    /// <param name="database">The writer's, before it writes.</param>
    /// <param name="keys">The first keys of the ratchets.</param>
    /// <param name="instanceId">Whose history it is.</param>
    /// <param name="history">The history.</param>
    /// <param name="catalogue">Whose counters they are.</param>
    /// <exception cref="StartupException">78: the history after the mark isn't as it was written.</exception>
    public static void Run(Database database, GenerationKeys keys, byte[] instanceId, HistoryLog history, CatalogueLedger catalogue)
    {
        long from = catalogue.Current.Usage.Sequence;
        using (HistoryVerifier verifier = new(keys, history.Segments, HistoryHead.Of(database, from, instanceId)))
        {
            while (verifier.ReadPage(database, long.MaxValue))
            {
            }

            if (verifier.Finish(history.Committed).FirstBad is long bad)
            {
                throw new StartupException(ExitCode.Configuration, string.Create(
                    CultureInfo.InvariantCulture,
                    $"Entry {bad} of the history isn't as it was written: the database was changed from outside. {StartupException.RestoreBackup}"));
            }
        }

        // Whatever erases moves the mark on: with an older one, what was erased since would never be counted.
        if (database.Prepare(SelectErased).BindAll(from).QueryNumber() is > 0 and long erased)
        {
            throw new StartupException(ExitCode.Configuration, string.Create(
                CultureInfo.InvariantCulture,
                $"Entry {erased} of the history was erased, and the counters are from before that: the database was changed from outside. {StartupException.RestoreBackup}"));
        }

        database.Prepare(SelectUses).BindAll(from).Query(reader =>
        {
            var use = StoredEntry.Read(reader);
            if (use.Tag is { Length: KeyTag.LengthInBytes } tag && use.Version is long version)
            {
                catalogue.Recount(KeyTag.FromBytes(tag), version, ReadAlso(use.Detail), CountedItems(use.Operation, use.Items), use.At, use.Sequence);
            }
        });
    }

    /// <summary>The items of a version are what its algorithm's limit counts: encryptions and signatures, not what was opened.</summary>
    public static long CountedItems(string operation, long items) =>
        operation is "crypto.decrypt" or "crypto.decryptBatch" or "crypto.verify" ? 0 : items;

    /// <summary>What an entry says of other versions that the use touched.</summary>
    public static string? WriteAlso(IReadOnlyList<long> versions) =>
        versions.Count == 0 ? null : AlsoPrefix + string.Join(", ", versions.Select(version => version.ToString(CultureInfo.InvariantCulture)));

    private static IEnumerable<long> ReadAlso(string? detail) => detail?.StartsWith(AlsoPrefix, StringComparison.Ordinal) == true
        ? detail[AlsoPrefix.Length..].Split(", ").Select(version => long.Parse(version, NumberStyles.None, CultureInfo.InvariantCulture))
        : [];
}
