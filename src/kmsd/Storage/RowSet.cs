using System.Security.Cryptography;
using Kmsd.Hosting;
using Microsoft.Data.Sqlite;

namespace Kmsd.Storage;

/// <summary>Which rows there are, in one hash.</summary>
/// <param name="Epoch">How many sets came before; none is counted twice.</param>
/// <param name="Root">The root of the tree, 32 bytes.</param>
internal readonly record struct SetState(long Epoch, byte[] Root)
{
    public bool IsSameAs(SetState other) => Epoch == other.Epoch && Root.AsSpan().SequenceEqual(other.Root);
}

/// <summary>
/// The set root: a SHA-256 tree over the codes of all rows that decide something, so that a row can't be deleted, put back, or
/// replaced by its own older version. Four levels of 16, so 65,536 buckets, by the first two bytes of the hash of what names a row; a
/// bucket is the sorted list of those hashes' first 16 bytes, each with the row's code. It needs no secrecy: the head row, coded, and the
/// anchor in the token say which root is the right one. For the writer alone.
/// </summary>
internal sealed partial class RowSet : IBatchParticipant
{
    private const int Fanout = 256;

    // Far more than are committed between two anchors.
    private const long MostQuietEpochs = 1 << 24;

    private const int NameLength = 16;
    private const int EntryLength = NameLength + RowAuthenticator.CodeLength;
    private const int HashLength = SHA256.HashSizeInBytes;

    // Each table whose rows decide something, or vouch for what was told of it, and what names a row in it, as the encoders of its rows begin.
    private static readonly (string Table, string Columns, string Where)[] s_tables =
    [
        ("instance", "id", ""), ("root_generations", "generation", ""), ("root_shares", "generation, member", ""),
        ("history_segments", "generation", ""), ("stores", "store_id", ""), ("members", "store_id, principal", ""), ("keys", "tag", ""),
        ("versions", "tag, version", ""), ("version_material", "tag, version, generation", $"WHERE NOT ({DestroyedMaterial.IsDestroyed})"),
        ("grants", "tag, principal, role", ""), ("deleted_keys", "tag", ""),
        ("notification_days", "day", ""), ("notification_cursors", "reader", ""),
    ];

    private readonly RowAuthenticator _authenticator;
    private static readonly byte[] s_emptyBucket = SHA256.HashData([]);

    // Made where there is a row: most databases are small.
    private readonly Branch?[] _branches = new Branch?[Fanout];
    private readonly HashTree _tree = new(new HashTree(s_emptyBucket).ComputeRoot());
    private readonly HashSet<int> _dirty = [];

    // The root of what is staged isn't known.
    private bool _isStale;
    private readonly List<(int Bucket, byte[] Before)> _undo = [];
    private int _mark;
    private long _lastEpoch;
    private volatile object _committed;

    /// <summary>No rows.</summary>
    public RowSet(RowAuthenticator authenticator)
    {
        _authenticator = authenticator;
        Staged = new SetState(0, ComputeRoot());
        _committed = Staged;
    }

    /// <summary>What is committed.</summary>
    public SetState Committed => (SetState)_committed;

    /// <summary>What the batch makes of it, once it was flushed.</summary>
    public SetState Staged { get; private set; }

    /// <summary>Reads which rows there are: every name and code, as they stand.</summary>
    /// <param name="database">May be another connection than the writer's.</param>
    /// <param name="names">Encodes the names of rows; another one than the writer's, where that is at work.</param>
    public void Load(Database database, RowAuthenticator names)
    {
        Gathered gathered = new();
        foreach ((string table, string columns, string where) in s_tables)
        {
            database.Prepare($"SELECT row_code, {columns} FROM {table} {where}").Query(reader =>
                WriteEntry(gathered.Next(), ReadName(names, reader, table).Id, reader.GetBlob(0)));
        }

        LoadingMemory.Tidy(gathered.Count);
        gathered.Distribute(Set);
        Staged = new SetState(0, ComputeRoot());
        _isStale = false;
        _committed = Staged;
    }

    /// <summary>The database must hold the rows that its coded head names.</summary>
    /// <exception cref="StartupException">78: a row was removed, added, or replaced by another version of itself.</exception>
    public void Require(SetState told)
    {
        AdoptForTest(told);
        if (!Committed.Root.AsSpan().SequenceEqual(told.Root))
        {
            throw new StartupException(
                ExitCode.Configuration,
                $"integrityFailure: the database doesn't hold the rows that it must: some were removed, added or put back from outside, or what identifies them was changed. {StartupException.RestoreBackup}");
        }
    }

    partial void AdoptForTest(SetState told);

    /// <summary>
    /// The epoch in which this set is, as the database says, and up to which epochs were ever used, as far as is known: a power cut
    /// may have taken quiet changes. Their epochs are passed over, so that a copy with them is older than all that follows.
    /// </summary>
    public void StartFrom(long epoch, long lastUsed)
    {
        Staged = Committed with { Epoch = epoch };
        _committed = Staged;
        _lastEpoch = Math.Max(epoch, lastUsed) + MostQuietEpochs;
    }

    /// <summary>Codes a row, adds it or replaces the one of its name; the code, to be stored.</summary>
    public byte[] Put(RowEncoding row)
    {
        byte[] code = _authenticator.Code(row);
        Put(row.Id, code);
        return code;
    }

    /// <summary>A row is gone.</summary>
    /// <param name="row">At least what names it.</param>
    public void Remove(RowEncoding row)
    {
        Span<byte> name = stackalloc byte[HashLength];
        int bucket = Find(row.Id, name, out int at, out bool isThere);
        if (!isThere)
        {
            throw new InvalidOperationException("A row that isn't there was removed: memory and database disagree.");
        }

        byte[] before = Entries(bucket);
        Replace(bucket, [.. before.AsSpan(0, at), .. before.AsSpan(at + EntryLength)]);
    }

    public void Mark() => _mark = _undo.Count;

    /// <summary>Hashes what was changed so far, so that less is left to be done at the end of a long change.</summary>
    public void HashChanged() => _ = ComputeRoot();

    public void ReturnToMark() => Undo(_mark);

    public void Flush(bool isFull)
    {
        if (!_isStale)
        {
            return;
        }

        byte[] root = ComputeRoot();
        _isStale = false;
        Staged = root.AsSpan().SequenceEqual(Committed.Root) ? Committed : new SetState(++_lastEpoch, root);
    }

    public void Commit()
    {
        _undo.Clear();
        _committed = Staged;
    }

    public void Rollback()
    {
        Undo(0);
        Staged = Committed;
    }

    private static RowEncoding ReadName(RowAuthenticator names, SqliteDataReader reader, string table)
    {
        RowEncoding name = names.Row(table);
        for (int column = 1; column < reader.FieldCount; column++)
        {
            // The tables are STRICT: a column holds what it is declared to hold.
            _ = reader.GetValue(column) switch
            {
                long number => name.Add(number),
                string text => name.Add(text),
                object value => name.Add((byte[])value),
            };
        }

        return name.EndId();
    }

    private void Put(ReadOnlySpan<byte> id, byte[] code)
    {
        (int bucket, byte[] entries) = With(id, code);
        Replace(bucket, entries);
    }

    /// <summary>A bucket as it is with this row.</summary>
    private (int Bucket, byte[] Entries) With(ReadOnlySpan<byte> id, byte[] code)
    {
        Span<byte> name = stackalloc byte[HashLength];
        int bucket = Find(id, name, out int at, out bool isThere);
        byte[] before = Entries(bucket);
        byte[] after = new byte[before.Length + (isThere ? 0 : EntryLength)];
        before.AsSpan(0, at).CopyTo(after);
        before.AsSpan(isThere ? at + EntryLength : at).CopyTo(after.AsSpan(at + EntryLength));
        WriteEntry(after.AsSpan(at, EntryLength), id, code);
        return (bucket, after);
    }

    private static void WriteEntry(Span<byte> entry, ReadOnlySpan<byte> id, byte[] code)
    {
        Span<byte> name = stackalloc byte[HashLength];
        _ = SHA256.HashData(id, name);
        name[..NameLength].CopyTo(entry);

        // A code of another length was written by somebody else; it must change the root, and nothing more.
        (code.Length == RowAuthenticator.CodeLength ? code : SHA256.HashData(code)).CopyTo(entry[NameLength..]);
    }

    /// <summary>Where in its bucket a name is, or belongs.</summary>
    private int Find(ReadOnlySpan<byte> id, Span<byte> name, out int at, out bool isThere)
    {
        if (id.IsEmpty)
        {
            throw new ArgumentException("The encoding doesn't say what names the row.", nameof(id));
        }

        _ = SHA256.HashData(id, name);
        int number = (name[0] * Fanout) + name[1];
        ReadOnlySpan<byte> bucket = Entries(number);
        int compared = -1;
        for (at = 0; at < bucket.Length; at += EntryLength)
        {
            compared = bucket.Slice(at, NameLength).SequenceCompareTo(name[..NameLength]);
            if (compared >= 0)
            {
                break;
            }
        }

        isThere = at < bucket.Length && compared == 0;
        return number;
    }

    private byte[] Entries(int bucket) => _branches[bucket / Fanout]?.Buckets[bucket % Fanout] ?? [];

    private void Replace(int bucket, byte[] entries)
    {
        _undo.Add((bucket, Entries(bucket)));
        Set(bucket, entries);
    }

    private void Set(int bucket, byte[] entries)
    {
        Branch branch = _branches[bucket / Fanout] ??= new Branch();
        branch.Buckets[bucket % Fanout] = entries;
        _ = _dirty.Add(bucket);
        _isStale = true;
    }

    private void Undo(int count)
    {
        for (int i = _undo.Count - 1; i >= count; i--)
        {
            Set(_undo[i].Bucket, _undo[i].Before);
        }

        _undo.RemoveRange(count, _undo.Count - count);
    }

    private byte[] ComputeRoot()
    {
        HashSet<int> branches = [];
        foreach (int bucket in _dirty)
        {
            _ = SHA256.HashData(Entries(bucket), _branches[bucket / Fanout]!.Tree.Change(bucket % Fanout));
            _ = branches.Add(bucket / Fanout);
        }

        foreach (int number in branches)
        {
            _branches[number]!.Tree.ComputeRoot().CopyTo(_tree.Change(number));
        }

        _dirty.Clear();
        return _tree.ComputeRoot();
    }

    /// <summary>
    /// All entries in the order in which they are read, in blocks: each bucket is made once, when it is known how many it has, which leaves
    /// no garbage of buckets that grew.
    /// </summary>
    private sealed class Gathered
    {
        private const int EntriesABlock = 4096;

        private readonly List<byte[]> _blocks = [];
        private readonly int[] _counts = new int[Fanout * Fanout];
        private int _count;

        public int Count => _count;

        /// <summary>Where the next entry is written.</summary>
        public Span<byte> Next()
        {
            if (_count % EntriesABlock == 0)
            {
                _blocks.Add(new byte[EntriesABlock * EntryLength]);
            }

            return Entry(_count++);
        }

        public void Distribute(Action<int, byte[]> set)
        {
            for (int i = 0; i < _count; i++)
            {
                _counts[BucketOf(Entry(i))]++;
            }

            byte[]?[] buckets = new byte[]?[Fanout * Fanout];
            int[] filled = new int[Fanout * Fanout];
            for (int i = 0; i < _count; i++)
            {
                Span<byte> entry = Entry(i);
                int bucket = BucketOf(entry);
                byte[] entries = buckets[bucket] ??= new byte[_counts[bucket] * EntryLength];
                int at = filled[bucket]++ * EntryLength;
                while (at > 0 && entry[..NameLength].SequenceCompareTo(entries.AsSpan(at - EntryLength, NameLength)) < 0)
                {
                    entries.AsSpan(at - EntryLength, EntryLength).CopyTo(entries.AsSpan(at));
                    at -= EntryLength;
                }

                entry.CopyTo(entries.AsSpan(at));
            }

            for (int bucket = 0; bucket < buckets.Length; bucket++)
            {
                if (buckets[bucket] is byte[] entries)
                {
                    set(bucket, entries);
                }
            }
        }

        private static int BucketOf(ReadOnlySpan<byte> entry) => (entry[0] * Fanout) + entry[1];

        private Span<byte> Entry(int number) => _blocks[number / EntriesABlock].AsSpan(number % EntriesABlock * EntryLength, EntryLength);
    }

    /// <summary>256 of the buckets, and their hashes.</summary>
    private sealed class Branch
    {
        public byte[]?[] Buckets { get; } = new byte[]?[Fanout];

        public HashTree Tree { get; } = new(s_emptyBucket);
    }

    /// <summary>Two levels of the tree: 256 hashes, and over each 16 of them one.</summary>
    private sealed class HashTree
    {
        private const int GroupCount = 16;
        private const int GroupLength = Fanout / GroupCount * HashLength;

        private readonly byte[] _hashes = new byte[Fanout * HashLength];
        private readonly byte[] _groups = new byte[GroupCount * HashLength];
        private int _changed;

        public HashTree(ReadOnlySpan<byte> each)
        {
            for (int i = 0; i < Fanout; i++)
            {
                each.CopyTo(Change(i));
            }
        }

        /// <summary>Where another hash is to be written.</summary>
        public Span<byte> Change(int number)
        {
            _changed |= 1 << (number / (Fanout / GroupCount));
            return _hashes.AsSpan(number * HashLength, HashLength);
        }

        public byte[] ComputeRoot()
        {
            for (int group = 0; group < GroupCount; group++)
            {
                if ((_changed & (1 << group)) != 0)
                {
                    _ = SHA256.HashData(_hashes.AsSpan(group * GroupLength, GroupLength), _groups.AsSpan(group * HashLength));
                }
            }

            _changed = 0;
            return SHA256.HashData(_groups);
        }
    }
}
