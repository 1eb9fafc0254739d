using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.History;

/// <summary>What a verification found.</summary>
/// <param name="Entries">How many entries were read.</param>
/// <param name="FirstBad">The number of the first that isn't as it was written, is missing, or was erased without a purge entry.</param>
internal readonly record struct HistoryVerdict(long Entries, long? FirstBad)
{
    public bool IsGood => FirstBad is null;
}

/// <summary>
/// Reads the whole history and computes it again: each entry's digest, each link, and for each erased entry that a purge entry
/// names it. A chain that ends before its head, or beyond it, is bad where it ends. Where a purge entry is bad itself, that is
/// named, and not what it may have erased. Of a segment whose root generation is retired, the links are compared with its
/// checkpoint as a whole, so that what is bad in it is only known to be in it. It goes page by page: between two of them entries may
/// be appended, root generations come and go, and entries be erased, if <see cref="Erased"/> is told of it.
/// </summary>
internal sealed class HistoryVerifier : IDisposable
{
    /// <summary>How many entries a page has where nobody waits for it.</summary>
    public const int PageLength = 10_000;

    private const string SelectPage = $"""
        SELECT {StoredEntry.Columns}, salt, digest, link, purged_by FROM history
        WHERE sequence >= $1 AND sequence <= $2 ORDER BY sequence LIMIT $3
        """;

    private readonly RowEncoding _encoding = new();

    // By the number of the purge entry that they point to, the erased entries that it must name.
    private readonly Dictionary<long, HistoryGap> _erased = [];

    // By purge entries that came since the first page, and stand beyond the end, what must have been erased when it is reached.
    private readonly Dictionary<long, HistoryGap> _told = [];
    private readonly GenerationKeys _keys;
    private readonly IReadOnlyList<HistorySegment> _segments;
    private readonly IncrementalHash _unlinked = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly IncrementalHash _linked = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly Dictionary<long, byte[]> _checkpoints = [];
    private int _segment;
    private SecretBytes? _key;
    private long _keyIndex = -1;
    private HistoryHead _at;
    private long _next;
    private readonly bool _isWhole;
    private long? _firstBad;

    /// <param name="keys">The first keys of the ratchets; stay the caller's.</param>
    /// <param name="segments">The history's, verified.</param>
    /// <param name="instanceId">Whose history it is.</param>
    public HistoryVerifier(GenerationKeys keys, IReadOnlyList<HistorySegment> segments, ReadOnlySpan<byte> instanceId)
        : this(keys, segments, new HistoryHead(0, HistoryChain.Origin(instanceId)))
    {
    }

    /// <param name="keys">The first keys of the ratchets; stay the caller's.</param>
    /// <param name="segments">The history's, verified.</param>
    /// <param name="start">
    /// The entry after which to begin; that it is the right one shows where the chain ends. What was erased before it isn't
    /// seen, so purge entries aren't compared with what they name. It must be in a segment that isn't vouched for by a checkpoint.
    /// </param>
    public HistoryVerifier(GenerationKeys keys, IReadOnlyList<HistorySegment> segments, HistoryHead start)
    {
        _keys = keys;
        _segments = segments;
        while (_segment + 1 < segments.Count && segments[_segment].Last <= start.Sequence)
        {
            _segment++;
        }

        _at = start;
        _isWhole = start.Sequence == 0;
        _next = start.Sequence == 0 ? long.MinValue : start.Sequence + 1;
    }

    /// <summary>Of each segment that its generation's key linked and that has ended, what would vouch for it: over the very rows that were verified.</summary>
    public IReadOnlyDictionary<long, byte[]> Checkpoints => _checkpoints;

    /// <summary>How many entries were read.</summary>
    public long Entries { get; private set; }

    /// <summary>Verifies the next page of entries. False when there is no more, or something bad was found.</summary>
    /// <param name="database">Any connection to it. Entries that are erased between two pages must be told.</param>
    /// <param name="last">The number of the last entry to look at; the same for all pages.</param>
    /// <param name="length">How many entries.</param>
    public bool ReadPage(Database database, long last, int length = PageLength)
    {
        int rows = 0;
        bool isSound = database.Prepare(SelectPage).BindAll(_next, last, length).TryQueryWhile(reader =>
        {
            rows++;
            Entries++;
            long sequence = reader.GetInt64(0);
            if (!Check(reader))
            {
                _firstBad ??= Math.Min(_at.Sequence, sequence);
                return false;
            }

            _next = sequence + 1;
            return true;
        });
        _firstBad ??= isSound ? null : _at.Sequence + 1;
        return rows == length && _firstBad is null;
    }

    /// <summary>
    /// Between two pages the daemon erased entries. Those of earlier pages were as they were written; the others are met as gaps, whose
    /// purge entry is beyond the last one to look at.
    /// </summary>
    /// <param name="purge">The number of the purge entry.</param>
    /// <param name="sequences">What it names, in rising order.</param>
    /// <param name="last">The number of the last entry to look at.</param>
    public void Erased(long purge, IReadOnlyList<long> sequences, long last)
    {
        foreach (long sequence in sequences.TakeWhile(sequence => sequence <= last))
        {
            Add(_told, purge, sequence);
            if (sequence < _next)
            {
                Add(_erased, purge, sequence);
            }
        }
    }

    /// <summary>The verdict, after the last page.</summary>
    /// <param name="head">Where the history must end; null if its row doesn't verify.</param>
    public HistoryVerdict Finish(HistoryHead? head)
    {
        bool endsAtHead = head is HistoryHead end && end.Sequence == _at.Sequence && end.Link.AsSpan().SequenceEqual(_at.Link);
        _firstBad ??= endsAtHead ? null : Math.Min(_at.Sequence, head?.Sequence ?? _at.Sequence) + 1;

        // What was erased and not named. By one beyond what is bad it may have been: what is bad was changed in any case.
        long? unnamed = _isWhole
            ? _erased.Keys.Union(_told.Keys).Where(purge => _firstBad is null || purge < _firstBad).Select(FindUnnamed).Min()
            : null;
        _firstBad = unnamed is null || _firstBad < unnamed ? _firstBad : unnamed;
        return new HistoryVerdict(Entries, _firstBad);
    }

    public void Dispose()
    {
        _key?.Dispose();
        _unlinked.Dispose();
        _linked.Dispose();
        foreach (HistoryGap gap in _erased.Values.Concat(_told.Values))
        {
            gap.Dispose();
        }
    }

    /// <summary>Moves on by one row; false if it is bad, and then <see cref="_at"/> has the number that should stand there.</summary>
    private bool Check(SqliteDataReader reader)
    {
        long sequence = reader.GetInt64(0);
        byte[] digest = reader.GetBlob(StoredEntry.ColumnCount + 1);
        byte[] link = reader.GetBlob(StoredEntry.ColumnCount + 2);
        byte[] before = _at.Link;
        _at = new HistoryHead(_at.Sequence + 1, link);
        if (sequence != _at.Sequence || !IsLinked(before, digest, link))
        {
            return false;
        }

        long? purgedBy = reader.GetNumberOrNull(StoredEntry.ColumnCount + 3);
        return reader.IsDBNull(StoredEntry.ColumnCount)
            ? IsErased(reader) && purgedBy > sequence && Note(purgedBy.Value, sequence)
            : purgedBy is null && IsAsWritten(reader, digest);
    }

    private bool IsLinked(byte[] before, byte[] digest, byte[] link)
    {
        if (digest.Length != SHA256.HashSizeInBytes || link.Length != HistoryChain.LinkLength)
        {
            return false;
        }

        if (_segments[_segment].Last < _at.Sequence)
        {
            _segment++;
            _key?.Dispose();
            _key = null;
        }

        HistorySegment segment = _segments[_segment];
        if (segment.Checkpoint is byte[] checkpoint)
        {
            _unlinked.AppendData(digest);
            _unlinked.AppendData(link);
            return _at.Sequence != segment.Last || _unlinked.GetHashAndReset().AsSpan().SequenceEqual(checkpoint);
        }

        _linked.AppendData(digest);
        _linked.AppendData(link);
        if (_at.Sequence == segment.Last)
        {
            _checkpoints[segment.Generation] = _linked.GetHashAndReset();
        }

        using SecretLease lease = KeyOf(segment, _at.Sequence).Open();
        return CryptographicOperations.FixedTimeEquals(HistoryChain.Link(lease.Bytes, before, _at.Sequence, digest), link);
    }

    private SecretBytes KeyOf(HistorySegment segment, long sequence)
    {
        long index = HistoryChain.KeyIndex(segment.First, sequence);
        if (_key is null)
        {
            _key = HistoryRatchet.Forward(_keys.Get(segment.Generation), index);
            _keyIndex = index;
        }
        else if (index != _keyIndex)
        {
            SecretBytes next = HistoryRatchet.Forward(_key, index - _keyIndex);
            _key.Dispose();
            _key = next;
            _keyIndex = index;
        }

        return _key;
    }

    private bool IsAsWritten(SqliteDataReader reader, byte[] digest)
    {
        StoredEntry entry;
        try
        {
            entry = StoredEntry.Read(reader);
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException or InvalidCastException)
        {
            return false;
        }

        byte[] salt = reader.GetBlob(StoredEntry.ColumnCount);
        return HistoryChain.Digest(salt, entry.Encode(_encoding).Bytes).AsSpan().SequenceEqual(digest)
            && (entry.Operation != HistoryLog.PurgeOperation || Names(entry));
    }

    /// <summary>Nothing but number, digest, link and who erased it.</summary>
    private static bool IsErased(SqliteDataReader reader) => Enumerable.Range(1, StoredEntry.ColumnCount - 1).All(reader.IsDBNull);

    private bool Note(long purge, long sequence)
    {
        Add(_erased, purge, sequence);
        return true;
    }

    private static void Add(Dictionary<long, HistoryGap> gaps, long purge, long sequence)
    {
        if (gaps.GetValueOrDefault(purge) is HistoryGap gap)
        {
            gap.Add(sequence);
        }
        else
        {
            gaps.Add(purge, new HistoryGap(sequence));
        }
    }

    /// <summary>Of a purge entry that wasn't read, the first entry that it erased and didn't name, or named and didn't erase; null if the daemon told the same.</summary>
    private long? FindUnnamed(long purge) => (_erased.GetValueOrDefault(purge), _told.GetValueOrDefault(purge)) switch
    {
        (HistoryGap found, HistoryGap told) => found.IsSameAs(told) ? null : Math.Min(found.First, told.First),
        (HistoryGap found, null) => found.First,
        (_, HistoryGap told) => told.First,
        _ => null,
    };

    /// <summary>An entry that says that it erased others: they must be those that point to it.</summary>
    private bool Names(StoredEntry entry)
    {
        if (!_isWhole)
        {
            return true;
        }

        if (!_erased.Remove(entry.Sequence, out HistoryGap? found))
        {
            return false;
        }

        using HistoryGap gap = found;
        bool isNamed = gap.Is(entry.Items, entry.ContextDigest);
        _firstBad = isNamed ? _firstBad : gap.First;
        return isNamed;
    }
}
