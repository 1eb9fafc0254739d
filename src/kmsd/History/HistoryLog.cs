using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>
/// The record of every use and change: one row an entry, chained, with one sealed head row that each transaction overwrites.
/// Batches of uses alone stand in a <see cref="HistoryTail"/> until the next transaction. Appended to, and erased from, by the
/// writer alone.
/// </summary>
internal sealed class HistoryLog : IBatchParticipant, IDisposable
{
    /// <summary>The operation of an entry that names what was erased.</summary>
    public const string PurgeOperation = "history.purge";

    private const string InsertInto = $"INSERT INTO history (sequence, salt, digest, link, {StoredEntry.EncodedColumns}) VALUES ";
    private const int Columns = 18;

    /// <summary>How many entries one statement takes in, where there are so many: what SQLite prepares for each statement costs as much as two rows.</summary>
    private const int EntriesAtOnce = 16;

    private static readonly string s_insertOne = InsertInto + Row(0);
    private static readonly string s_insertMany = InsertInto + string.Join(", ", Enumerable.Range(0, EntriesAtOnce).Select(Row));

    private const string EraseEntry = """
        UPDATE history SET at = NULL, scope = NULL, store_id = NULL, tag = NULL, version = NULL, operation = NULL, principal = NULL,
            uid = NULL, pid = NULL, unit = NULL, outcome = NULL, detail = NULL, items = NULL, context_digest = NULL, salt = NULL, purged_by = $2
        WHERE sequence = $1 AND salt IS NOT NULL
        """;

    private readonly Database _database;
    private readonly RowAuthenticator _authenticator;
    private readonly RowSet _rows;
    private readonly RowEncoding _encoding = new();
    private readonly HistoryTail _tail;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private byte[] _record = new byte[1024];

    // What the batch erases, and by which purge entry.
    private readonly List<(long Purge, IReadOnlyList<long> Sequences)> _stagedErasures = [];
    private int _markedErasures;

    // Boxed, so that a reader never sees half of a new value.
    private volatile object _committed;
    private volatile object _inDatabase;
    private bool _isDeferred;

    // How much of what is deferred the transaction has taken in.
    private int _takenIn;
    private int _markedTakenIn;
    private HistoryHead _staged;
    private HistoryHead _mark;
    private ImmutableList<HistorySegment> _stagedSegments;
    private ImmutableList<HistorySegment> _markedSegments;
    private volatile ImmutableList<HistorySegment> _segments;
    private HistoryRatchet _ratchet;
    private HistoryRatchet? _next;
    private bool _isNextMarked;

    /// <summary>
    /// Takes the chain up where the head row says it ends, and takes in what continues it in the tail, which the death of the
    /// process before may have left there.
    /// </summary>
    /// <param name="database">The writer's.</param>
    /// <param name="authenticator">The writer's.</param>
    /// <param name="rows">Which rows there are, told by the head row.</param>
    /// <param name="key">The first key of the last segment's ratchet; stays the caller's, who zeroes it.</param>
    /// <exception cref="StartupException">
    /// The head row doesn't verify, or the entries don't end where it says, or the tail can't be read or taken in. Entries of the
    /// database are not read here.
    /// </exception>
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
        _inDatabase = _staged;
        try
        {
            _tail = new HistoryTail(database.FilePath + HistoryTail.Suffix);
            byte[] left = _tail.ReadFile();
            TakenIn = TakeIn(left);
            if (left.Length > 0)
            {
                _tail.WipeAtRestart(); // The process before may have erased in the database what stands here still.
            }
        }
        catch (Exception exception)
        {
            _ratchet.Dispose();
            _tail?.Dispose();
            if (exception is IOException or UnauthorizedAccessException)
            {
                throw new StartupException(
                    ExitCode.CannotCreate, $"{database.FilePath}{HistoryTail.Suffix} can't be opened: {exception.Message} It must belong to the user that runs kmsd.", exception);
            }

            throw;
        }
    }

    /// <summary>Whose turn it is to erase, or to read what must not be erased meanwhile.</summary>
    public HistoryErasure Erasure { get; } = new();

    /// <summary>How many entries the process before had written beside the database alone.</summary>
    public long TakenIn { get; }

    /// <summary>The last entry that stands in the database; what follows it stands in the tail.</summary>
    public HistoryHead InDatabase => (HistoryHead)_inDatabase;

    public bool HasDeferred => !_tail.IsEmpty;

    public bool MayDefer => _tail.HasRoom && _staged.Sequence == Committed.Sequence && _next is null;

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
        ReadOnlySpan<byte> encoded = stored.Encode(_encoding).Bytes;
        Span<byte> salt = stackalloc byte[HistoryChain.SaltLength];
        RandomPool.Take(salt);
        Span<byte> digest = stackalloc byte[HistoryChain.LinkLength];
        _hash.AppendData(salt);
        _hash.AppendData(encoded);
        _ = _hash.GetHashAndReset(digest);
        byte[] link = (_next ?? _ratchet).Link(_staged.Link, stored.Sequence, digest);
        int length = HistoryRecord.LengthOf(encoded.Length);
        if (_record.Length < length)
        {
            _record = new byte[length];
        }

        var record = HistoryRecord.Write(_record.AsSpan(0, length), stored.Sequence, salt, digest, link, encoded);
        if (_isDeferred)
        {
            _tail.Append(record);
        }
        else
        {
            Insert(record);
        }

        _staged = new HistoryHead(stored.Sequence, link);
        return stored.Sequence;
    }

    public void Begin()
    {
        _takenIn = 0;
        TakeIn();
    }

    public void BeginDeferred() => _isDeferred = true;

    public void Defer() => _tail.Write();

    public void CommitDeferred()
    {
        _isDeferred = false;
        _tail.Commit();
        _committed = _mark = _staged;
        _ratchet.Commit(_staged.Sequence + 1);
    }

    public void RollbackDeferred()
    {
        _isDeferred = false;
        _tail.Rollback();
        _staged = Committed;
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
        _tail.WipeAtRestart();
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
        _markedTakenIn = _takenIn;
        _markedSegments = _stagedSegments;
        _isNextMarked = _next is not null;
        _markedErasures = _stagedErasures.Count;
    }

    public void ReturnToMark()
    {
        _staged = _mark;
        _takenIn = _markedTakenIn; // What was taken in since went back with the savepoint; it is taken in again.
        _stagedSegments = _markedSegments;
        _stagedErasures.RemoveRange(_markedErasures, _stagedErasures.Count - _markedErasures);
        if (!_isNextMarked)
        {
            DropNext();
        }
    }

    public void TakeIn()
    {
        ReadOnlySpan<byte> records = _tail.Records;
        InsertAll(records[_takenIn..]);
        _takenIn = records.Length;
    }

    public void Flush(bool isFull)
    {
        if (_staged.Sequence != InDatabase.Sequence || _rows.Staged.Epoch != _rows.Committed.Epoch)
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
        _inDatabase = _staged;
        _tail.Restart();
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
        _tail.Dispose();
        _hash.Dispose();
        Erasure.Dispose();
    }

    /// <summary>Puts what continues the chain into the database; what follows something that doesn't isn't looked at.</summary>
    private long TakeIn(byte[] left)
    {
        HistoryHead last = _staged;
        int good = 0;
        while (HistoryRecord.TryRead(left.AsSpan(good), out HistoryRecord record) && Continues(record, last))
        {
            last = new HistoryHead(record.Sequence, record.Link.ToArray());
            good += record.Bytes.Length;
        }

        long count = last.Sequence - _staged.Sequence;
        if (count == 0)
        {
            return 0;
        }

        _database.WriteAtStart(database =>
        {
            database.SetFullySynchronous(true);
            database.Execute("BEGIN IMMEDIATE");
            InsertAll(left.AsSpan(0, good));
            last.Update(database, _authenticator, SetAtStart);
            database.Execute("COMMIT");
        });
        _staged = _mark = last;
        _committed = _inDatabase = last;
        _ratchet.Commit(last.Sequence + 1);
        return count;
    }

    /// <summary>True if a record is the next of the chain: nobody without the token can have made it.</summary>
    private bool Continues(HistoryRecord record, HistoryHead last) =>
        record.Sequence == last.Sequence + 1
        && HistoryChain.Digest(record.Salt, record.Entry).AsSpan().SequenceEqual(record.Digest)
        && CryptographicOperations.FixedTimeEquals(_ratchet.Link(last.Link, record.Sequence, record.Digest), record.Link);

    private void InsertAll(ReadOnlySpan<byte> records)
    {
        int left = Count(records);
        for (; left >= EntriesAtOnce; left -= EntriesAtOnce)
        {
            Statement many = _database.Prepare(s_insertMany);
            for (int position = 1; position <= EntriesAtOnce * Columns && HistoryRecord.TryRead(records, out HistoryRecord record); records = records[record.Bytes.Length..])
            {
                position = Bind(many, position, record);
            }

            many.ExecuteBound();
        }

        for (; left > 0 && HistoryRecord.TryRead(records, out HistoryRecord record); left--)
        {
            Insert(record);
            records = records[record.Bytes.Length..];
        }
    }

    private static int Count(ReadOnlySpan<byte> records)
    {
        int count = 0;
        for (; HistoryRecord.TryRead(records, out HistoryRecord record); count++)
        {
            records = records[record.Bytes.Length..];
        }

        return count;
    }

    private void Insert(HistoryRecord record)
    {
        Statement one = _database.Prepare(s_insertOne);
        _ = Bind(one, 1, record);
        one.ExecuteBound();
    }

    private static int Bind(Statement insert, int position, HistoryRecord record) => insert.BindEncoded(
        position, record.Sequence, new Blobs(record.Salt, record.Digest, record.Link), record.Entry, RowEncoding.FieldsOfStart);

    /// <summary>The parameters of one of many rows.</summary>
    private static string Row(int number) =>
        $"({string.Join(", ", Enumerable.Range((number * Columns) + 1, Columns).Select(parameter => string.Create(CultureInfo.InvariantCulture, $"${parameter}")))})";

    private void DropNext()
    {
        _next?.Dispose();
        _next = null;
    }
}
