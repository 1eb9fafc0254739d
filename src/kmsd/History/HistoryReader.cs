using Kms.Client.Protocol;
using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>Whose entries are asked for.</summary>
internal enum HistorySubject
{
    None = 0,

    /// <summary>Of a key, by its tag.</summary>
    Key = 1,

    /// <summary>Of a store and its keys, by its id.</summary>
    Store = 2,

    /// <summary>Of a scope that belongs to no store.</summary>
    Scope = 3,
}

/// <summary>Which entries are asked for, newest first.</summary>
/// <param name="Subject">What they are about.</param>
/// <param name="Id">The tag's or the store's bytes, or the scope's name.</param>
/// <param name="Limit">How many at most.</param>
internal sealed record HistoryQuery(HistorySubject Subject, object Id, int Limit)
{
    /// <summary>Of a store: the tags of its keys, deleted ones too.</summary>
    public IReadOnlyList<KeyTag> Keys { get; init; } = [];

    /// <summary>Only entries with a smaller number.</summary>
    public long Before { get; init; } = long.MaxValue;

    public string? Operation { get; init; }

    /// <summary>As it is stored.</summary>
    public string? Principal { get; init; }
}

/// <summary>Reads entries back. Each is compared with its digest; the whole chain is <see cref="HistoryVerifier"/>'s.</summary>
internal sealed class HistoryReader(DatabaseReader database)
{
    private const string SelectOne = $"SELECT {StoredEntry.Columns}, salt, digest FROM history WHERE sequence = $1 AND salt IS NOT NULL";

    private const string SelectPage = $"""
        SELECT {StoredEntry.Columns}, salt, digest, link, purged_by FROM history WHERE sequence > $1 ORDER BY sequence LIMIT $2
        """;

    // Changes in between are looked at again each time; they are few.
    private const string SelectOld = """
        SELECT sequence, tag FROM history
        WHERE sequence > $1 AND at < $2 AND (operation LIKE 'crypto.%' OR outcome <> 'ok') ORDER BY sequence LIMIT $3
        """;

    private const string SelectOfKey = "SELECT sequence FROM history WHERE tag = $1 AND salt IS NOT NULL ORDER BY sequence LIMIT $2";

    /// <exception cref="KmsException"><c>integrityFailure</c>: an entry isn't as it was written.</exception>
    public Task<IReadOnlyList<StoredEntry>> ListAsync(HistoryQuery query, CancellationToken cancellationToken) => database.ReadAsync<IReadOnlyList<StoredEntry>>(
        from =>
        {
            // Of a store the newest of each key, and of these the newest: so one index by key is enough, which each use must keep.
            SortedSet<long> newest = [];
            Find(from, query, query.Subject, query.Id, newest);
            foreach (KeyTag tag in query.Keys)
            {
                Find(from, query, HistorySubject.Key, tag.ToBytes(), newest);
            }

            return [.. newest.Reverse().Select(sequence => Read(from, sequence))];
        },
        cancellationToken);

    /// <summary>A page of everything, oldest first, as it stands.</summary>
    public Task<IReadOnlyList<ExportedHistoryEntry>> ExportAsync(long after, int limit, CancellationToken cancellationToken) =>
        database.ReadAsync<IReadOnlyList<ExportedHistoryEntry>>(
            from =>
            {
                List<ExportedHistoryEntry> entries = [];
                from.Prepare(SelectPage).BindAll(after, limit).Query(reader => entries.Add(HistoryDescriptions.Export(reader)));
                return entries;
            },
            cancellationToken);

    /// <summary>The numbers of a key's entries that stand, the first so many.</summary>
    public Task<IReadOnlyList<long>> FindOfKeyAsync(KeyTag tag, int limit, CancellationToken cancellationToken) => database.ReadAsync<IReadOnlyList<long>>(
        from =>
        {
            List<long> sequences = [];
            from.Prepare(SelectOfKey).BindAll(tag.ToBytes(), limit).Query(reader => sequences.Add(reader.GetInt64(0)));
            return sequences;
        },
        cancellationToken);

    /// <summary>Numbers and keys of uses and refusals before a time, the first so many after a number.</summary>
    public Task<IReadOnlyList<(long Sequence, KeyTag? Tag)>> FindOldAsync(
        long after, DateTimeOffset before, int limit, CancellationToken cancellationToken) => database.ReadAsync<IReadOnlyList<(long, KeyTag?)>>(
        from =>
        {
            List<(long, KeyTag?)> old = [];
            from.Prepare(SelectOld).BindAll(after, before.ToUnixTimeMilliseconds(), limit).Query(reader => old.Add(
                (reader.GetInt64(0), reader.GetBlobOrNull(1) is { Length: KeyTag.LengthInBytes } tag ? KeyTag.FromBytes(tag) : null)));
            return old;
        },
        cancellationToken);

    /// <summary>Adds the newest entries that fit, and keeps only as many as are asked for.</summary>
    private static void Find(Database from, HistoryQuery query, HistorySubject subject, object id, SortedSet<long> newest)
    {
        from.Prepare(Sql(query, subject)).BindAll(id, query.Before, query.Limit, query.Operation ?? "", query.Principal ?? "")
            .Query(reader => newest.Add(reader.GetInt64(0)));
        while (newest.Count > query.Limit)
        {
            _ = newest.Remove(newest.Min);
        }
    }

    private static StoredEntry Read(Database from, long sequence)
    {
        StoredEntry? entry = null;
        from.Prepare(SelectOne).BindAll(sequence).Query(reader =>
        {
            entry = StoredEntry.Read(reader);
            byte[] salt = reader.GetBlob(StoredEntry.ColumnCount);
            byte[] digest = reader.GetBlob(StoredEntry.ColumnCount + 1);
            if (!HistoryChain.Digest(salt, entry.Encode(new RowEncoding()).Bytes).AsSpan().SequenceEqual(digest))
            {
                throw new KmsException(
                    KmsErrorCode.IntegrityFailure, $"Entry {entry.Sequence} of the history isn't as it was written; an operator should run history.verify.");
            }
        });
        return entry ?? throw new InvalidOperationException("An entry vanished between two reads of one query.");
    }

    private static string Sql(HistoryQuery query, HistorySubject subject)
    {
        string about = subject switch
        {
            HistorySubject.Key => "tag = $1",
            HistorySubject.Store => "tag IS NULL AND store_id = $1",
            _ => "tag IS NULL AND store_id IS NULL AND scope = $1",
        };
        string operation = query.Operation is null ? "$4 = ''" : "operation = $4";
        string principal = query.Principal is null ? "$5 = ''" : "principal = $5";
        return $"""
            SELECT sequence FROM history
            WHERE {about} AND sequence < $2 AND salt IS NOT NULL AND {operation} AND {principal} ORDER BY sequence DESC LIMIT $3
            """;
    }
}
