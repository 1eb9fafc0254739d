using System.Buffers.Binary;
using Kmsd.Storage;
using Microsoft.Win32.SafeHandles;

namespace Kmsd.History;

/// <summary>An entry as it is kept: its number, its place in the chain, and what it says in the canonical encoding.</summary>
internal readonly ref struct HistoryRecord
{
    private const int HeaderLength = sizeof(uint) + sizeof(long) + HistoryChain.SaltLength + (2 * HistoryChain.LinkLength);

    private readonly ReadOnlySpan<byte> _bytes;

    private HistoryRecord(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    public long Sequence => BinaryPrimitives.ReadInt64BigEndian(_bytes[sizeof(uint)..]);

    public ReadOnlySpan<byte> Salt => _bytes.Slice(sizeof(uint) + sizeof(long), HistoryChain.SaltLength);

    public ReadOnlySpan<byte> Digest => _bytes.Slice(sizeof(uint) + sizeof(long) + HistoryChain.SaltLength, HistoryChain.LinkLength);

    public ReadOnlySpan<byte> Link => _bytes.Slice(HeaderLength - HistoryChain.LinkLength, HistoryChain.LinkLength);

    /// <summary>The entry's encoding, which the digest covers.</summary>
    public ReadOnlySpan<byte> Entry => _bytes[HeaderLength..];

    /// <summary>All of it, as it is written.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>How long a record of an entry is.</summary>
    public static int LengthOf(int entryLength) => HeaderLength + entryLength;

    /// <summary>u32 length of the record ‖ u64 number ‖ salt ‖ digest ‖ link ‖ entry; big-endian.</summary>
    public static HistoryRecord Write(
        Span<byte> bytes, long sequence, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> digest, ReadOnlySpan<byte> link, ReadOnlySpan<byte> entry)
    {
        BinaryPrimitives.WriteInt32BigEndian(bytes, bytes.Length);
        BinaryPrimitives.WriteInt64BigEndian(bytes[sizeof(uint)..], sequence);
        Span<byte> rest = bytes[(sizeof(uint) + sizeof(long))..];
        salt.CopyTo(rest);
        digest.CopyTo(rest[HistoryChain.SaltLength..]);
        link.CopyTo(rest[(HistoryChain.SaltLength + HistoryChain.LinkLength)..]);
        entry.CopyTo(bytes[HeaderLength..]);
        return new HistoryRecord(bytes);
    }

    /// <summary>The record at the beginning of <paramref name="bytes"/>; false if there is no whole one.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out HistoryRecord record)
    {
        record = default;
        if (bytes.Length < HeaderLength)
        {
            return false;
        }

        int length = BinaryPrimitives.ReadInt32BigEndian(bytes);
        if (length < HeaderLength || length > bytes.Length)
        {
            return false;
        }

        record = new HistoryRecord(bytes[..length]);
        return true;
    }
}

/// <summary>
/// Entries that are committed and not in the database yet, in a file of their own beside it: one short write a batch of uses,
/// where a transaction costs several long ones and their locks. The next transaction takes them in, and the file begins anew
/// from its start; after the death of the process the next start takes them in. What vouches for a record is its link alone:
/// whatever doesn't continue the chain ends the file. For the writer alone, but for <see cref="IsEmpty"/>.
/// </summary>
/// <param name="path">Of the file, which is there while something was deferred since the start, and after a death of the process.</param>
internal sealed class HistoryTail(string path) : IDisposable
{
    /// <summary>What is added to the database's name.</summary>
    public const string Suffix = "-tail";

    /// <summary>How many entries may wait for a transaction: what taking them in costs, somebody waits for.</summary>
    private const int MostEntries = 256;

    /// <summary>Far more than ever waits: what is beyond was not written here.</summary>
    private const int MostBytesRead = 64 << 20;

    /// <summary>For how long a file that can't be written is left alone, in milliseconds.</summary>
    private const int Pause = 1000;

    private FileStream? _file;
    private byte[] _records = new byte[16 * 1024];
    private volatile int _committed;
    private int _committedEntries;
    private int _staged;
    private int _stagedEntries;
    private long _unusableUntil = long.MinValue;
    private bool _mustWipe;

    /// <summary>True if nothing waits for a transaction.</summary>
    public bool IsEmpty => _committed == 0;

    /// <summary>True if a batch may be added: there is room, and the file can be written as far as is known.</summary>
    public bool HasRoom => _committedEntries < MostEntries && Environment.TickCount64 >= _unusableUntil;

    /// <summary>The records that are committed, one after the other.</summary>
    public ReadOnlySpan<byte> Records => _records.AsSpan(0, _committed);

    /// <summary>What the process before left there.</summary>
    /// <exception cref="IOException">It can't be read.</exception>
    public byte[] ReadFile()
    {
        if (!File.Exists(path))
        {
            return [];
        }

        using FileStream file = File.OpenRead(path);
        byte[] bytes = new byte[Math.Min(file.Length, MostBytesRead)];
        return bytes[..file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false)];
    }

    /// <summary>Adds a record to the batch; in memory only.</summary>
    public void Append(HistoryRecord record)
    {
        if (_records.Length - _staged < record.Bytes.Length)
        {
            Array.Resize(ref _records, Math.Max(2 * _records.Length, _staged + record.Bytes.Length));
        }

        record.Bytes.CopyTo(_records.AsSpan(_staged));
        _staged += record.Bytes.Length;
        _stagedEntries++;
    }

    /// <summary>Hands the batch's records to the kernel: then they survive the death of the process.</summary>
    /// <exception cref="IOException">They can't be written, on a full disk for example: for a second nothing more is tried.</exception>
    public void Write()
    {
        try
        {
            RandomAccess.Write(Open().SafeFileHandle, _records.AsSpan(_committed, _staged - _committed), _committed);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _unusableUntil = Environment.TickCount64 + Pause;
            CutOff();
            throw exception as IOException ?? new IOException(exception.Message, exception);
        }
    }

    public void Commit()
    {
        _committedEntries = _stagedEntries;
        _committed = _staged;
    }

    public void Rollback()
    {
        _stagedEntries = _committedEntries;
        _staged = _committed;
    }

    /// <summary>A transaction has taken everything in: what the file holds is old, which its numbers tell.</summary>
    public void Restart()
    {
        _committed = _staged = 0;
        _committedEntries = _stagedEntries = 0;
        if (_mustWipe)
        {
            Wipe();
        }
    }

    /// <summary>Something was erased of which the file may hold a copy: it is overwritten when the transaction stands.</summary>
    public void WipeAtRestart() => _mustWipe = true;

    public void Dispose()
    {
        _file?.Dispose();
        if (_file is not null && IsEmpty)
        {
            File.Delete(path);
        }
    }

    /// <summary>Of what can't be written whole nothing may stay: it is refused, and a start would take it in.</summary>
    /// <exception cref="WriterBrokenException">It stays: the writer must end before anybody is told.</exception>
    private void CutOff()
    {
        try
        {
            if (_file is not null)
            {
                RandomAccess.SetLength(_file.SafeFileHandle, _committed);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new WriterBrokenException($"{path} can neither be written nor be cut.", exception);
        }
    }

    private FileStream Open() => _file ??= new FileStream(path, new FileStreamOptions
    {
        Mode = FileMode.OpenOrCreate,
        Access = FileAccess.ReadWrite,
        Share = FileShare.Read,
        BufferSize = 0,
        UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
    });

    private void Wipe()
    {
        try
        {
            if (File.Exists(path))
            {
                SafeFileHandle file = Open().SafeFileHandle;
                byte[] zeros = new byte[64 * 1024];
                long length = RandomAccess.GetLength(file);
                for (long at = 0; at < length; at += zeros.Length)
                {
                    RandomAccess.Write(file, zeros.AsSpan(0, (int)Math.Min(zeros.Length, length - at)), at);
                }

                RandomAccess.FlushToDisk(file);
                RandomAccess.SetLength(file, 0);
            }

            _mustWipe = false;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _unusableUntil = Environment.TickCount64 + Pause; // It is tried again with the next transaction.
        }
    }
}
