using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>
/// The record of every use and change: one row an entry, chained, with one sealed head row that each batch overwrites.
/// Appended to, and erased from, by the writer alone.
/// </summary>
internal sealed class HistoryLog : IBatchParticipant, IDisposable
{
    /// <summary>The operation of an entry that names what was erased.</summary>
    public const string PurgeOperation = "history.purge";

    private const string InsertEntry = $"""
        INSERT INTO history ({StoredEntry.Columns}, salt, digest, link)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
        """;

    private const string EraseEntry = """
        UPDATE history SET at = NULL, scope = NULL, store_id = NULL, tag = NULL, version = NULL, operation = NULL, principal = NULL,
            uid = NULL, pid = NULL, unit = NULL, outcome = NULL, detail = NULL, items = NULL, context_digest = NULL, salt = NULL, purged_by = $2
        WHERE sequence = $1 AND salt IS NOT NULL
        """;

    private readonly Database _database;
    private readonly RowAuthenticator _authenticator;
    private readonly RowSet _rows;
    private readonly RowEncoding _encoding = new();

    // What the batch erases, and by which purge entry.
    private readonly List<(long Purge, IReadOnlyList<long> Sequences)> _stagedErasures = [];
    private int _markedErasures;

    // Boxed, so that a reader never sees half of a new value.
    private volatile object _committed;
    private HistoryHead _staged;
    private HistoryHead _mark;
    private ImmutableList<HistorySegment> _stagedSegments;
    private ImmutableList<HistorySegment> _markedSegments;
    private volatile ImmutableList<HistorySegment> _segments;
    private HistoryRatchet _ratchet;
    private HistoryRatchet? _next;
    private bool _isNextMarked;

    /// <summary>Takes the chain up where the head row says it ends.</summary>
    /// <param name="database">The writer's.</param>
    /// <param name="authenticator">The writer's.</param>
    /// <param name="rows">Which rows there are, told by the head row.</param>
    /// <param name="key">The first key of the last segment's ratchet; stays the caller's, who zeroes it.</param>
    /// <exception cref="StartupException">The head row doesn't verify, or the entries don't end where it says. Entries themselves are not read here.</exception>
    public HistoryLog(Database database, RowAuthenticator authenticator, RowSet rows, SecretBytes key)
    {
        _database = database;
        _authenticator = authenticator;
        _rows = rows;
        (_staged, SetAtStart) = HistoryHead.Read(database, authenticator);
        _mark = _staged;
        _committed = _staged;
        _segments = _stagedSegments = _markedSegments = [.. HistorySegment.ReadAll(database, authenticator)];
        _ratchet = new HistoryRatchet(key, _segments[^1].First, _staged.Sequence + 1);
    }

    /// <summary>Whose turn it is to erase, or to read what must not be erased meanwhile.</summary>
    public HistoryErasure Erasure { get; } = new();

    /// <summary>The last entry that is committed.</summary>
    public HistoryHead Committed => (HistoryHead)_committed;

    /// <summary>Which rows there must be, as the head row said when the history was taken up.</summary>
    public SetState SetAtStart { get; }

    /// <summary>The last entry of the batch.</summary>
    public long StagedSequence => _staged.Sequence;

    /// <summary>The parts that different root generations link, in order.</summary>
    public ImmutableList<HistorySegment> Segments => _segments;

    /// <summary>From the next entry on, another root generation links; for the writer.</summary>
    /// <param name="generation">The current one, from this change on.</param>
    /// <param name="key">The first key of its ratchet; stays the caller's, who zeroes it.</param>
    public void StartSegment(long generation, SecretBytes key)
    {
        HistorySegment ended = _stagedSegments[^1] with { Last = _staged.Sequence };
        HistorySegment begun = new(generation, _staged.Sequence + 1);
        ended.Put(_database, _authenticator, _rows);
        begun.Put(_database, _authenticator, _rows);
        _stagedSegments = _stagedSegments.SetItem(_stagedSegments.Count - 1, ended).Add(begun);
        _next?.Dispose();
        _next = new HistoryRatchet(key, begun.First, begun.First);
    }

    /// <summary>A generation goes: its segment is vouched for by the current one; for the writer.</summary>
    public void Seal(HistorySegment segment, byte[] checkpoint)
    {
        HistorySegment vouched = segment with { Checkpoint = checkpoint };
        vouched.Put(_database, _authenticator, _rows);
        _stagedSegments = _stagedSegments.Replace(segment, vouched);
    }

    /// <summary>Codes all segments anew by the current generation; for the writer.</summary>
    public void RecodeSegments()
    {
        foreach (HistorySegment segment in _stagedSegments)
        {
            segment.Put(_database, _authenticator, _rows);
        }
    }

    /// <summary>Appends an entry to the batch that is being written; its number.</summary>
    public long Append(HistoryEntry entry)
    {
        StoredEntry stored = entry.ToStored(_staged.Sequence + 1);
        byte[] salt = RandomNumberGenerator.GetBytes(HistoryChain.SaltLength);
        byte[] digest = HistoryChain.Digest(salt, stored.Encode(_encoding).Bytes);
        byte[] link = (_next ?? _ratchet).Link(_staged.Link, stored.Sequence, digest);
        _database.Prepare(InsertEntry).BindAll(
            stored.Sequence, stored.At.ToUnixTimeMilliseconds(), stored.Scope, stored.StoreId, stored.Tag, stored.Version, stored.Operation,
            stored.Principal, stored.Uid, stored.ProcessId, stored.Unit, stored.Outcome, stored.Detail, stored.Items, stored.ContextDigest,
            salt, digest, link).Execute();
        _staged = new HistoryHead(stored.Sequence, link);
        return stored.Sequence;
    }

    /// <summary>
    /// Erases entries: content and salt go, digest and link stay, and an entry that names them is appended; a gap that no such
    /// entry names breaks the verification. The write-ahead log must be emptied after the commit. By whoever has the turn.
    /// </summary>
    /// <param name="sequences">In rising order; at least one, each of an entry that stands.</param>
    /// <param name="what">What they were, for a person.</param>
    /// <param name="caller">Who asked; null for the daemon itself.</param>
    /// <param name="now">The time.</param>
    public void Erase(IReadOnlyList<long> sequences, string what, Caller? caller, DateTimeOffset now)
    {
        ArgumentOutOfRangeException.ThrowIfZero(sequences.Count);
        long purge = Append(new HistoryEntry
        {
            At = now,
            Scope = HistoryScope.System,
            Operation = PurgeOperation,
            Caller = caller,
            Detail = what,
            Items = sequences.Count,
            ContextDigest = DigestOf(sequences),
        });
        Statement erase = _database.Prepare(EraseEntry);
        foreach (long sequence in sequences)
        {
            erase.BindAll(sequence, purge).ExecuteOne();
        }

        _stagedErasures.Add((purge, sequences));
    }

    /// <summary>What a purge entry says of the numbers that it erased: SHA-256 over them, in rising order, each as a big-endian u64.</summary>
    public static byte[] DigestOf(IReadOnlyList<long> sequences) => SHA256.HashData(BytesOf(sequences));

    /// <summary>What that digest is made of.</summary>
    public static byte[] BytesOf(IReadOnlyList<long> sequences)
    {
        byte[] text = new byte[sequences.Count * sizeof(long)];
        for (int i = 0; i < sequences.Count; i++)
        {
            BinaryPrimitives.WriteInt64BigEndian(text.AsSpan(i * sizeof(long)), sequences[i]);
        }

        return text;
    }

    public void Mark()
    {
        _mark = _staged;
        _markedSegments = _stagedSegments;
        _isNextMarked = _next is not null;
        _markedErasures = _stagedErasures.Count;
    }

    public void ReturnToMark()
    {
        _staged = _mark;
        _stagedSegments = _markedSegments;
        _stagedErasures.RemoveRange(_markedErasures, _stagedErasures.Count - _markedErasures);
        if (!_isNextMarked)
        {
            DropNext();
        }
    }

    public void Flush(bool isFull)
    {
        if (_staged.Sequence != Committed.Sequence || _rows.Staged.Epoch != _rows.Committed.Epoch)
        {
            _staged.Update(_database, _authenticator, _rows.Staged);
        }
    }

    public void Commit()
    {
        _committed = _staged;
        _segments = _stagedSegments;
        if (_next is not null)
        {
            HistoryRatchet ended = _ratchet;
            (_ratchet, _next) = (_next, null);
            ended.Dispose();
        }

        _ratchet.Commit(_staged.Sequence + 1);
        foreach ((long purge, IReadOnlyList<long> sequences) in _stagedErasures)
        {
            Erasure.Tell(purge, sequences);
        }

        _stagedErasures.Clear();
    }

    public void Rollback()
    {
        _staged = Committed;
        _stagedSegments = _segments;
        _stagedErasures.Clear();
        DropNext();
    }

    public void Dispose()
    {
        DropNext();
        _ratchet.Dispose();
        Erasure.Dispose();
    }

    private void DropNext()
    {
        _next?.Dispose();
        _next = null;
    }
}
