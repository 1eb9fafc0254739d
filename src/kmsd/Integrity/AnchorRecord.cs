using System.Buffers.Binary;
using Kmsd.History;
using Kmsd.Storage;

namespace Kmsd.Integrity;

/// <summary>
/// What the token remembers of the database: which set of rows is the right one, and up to where its history goes. Coded as a
/// row is, under the mac key of the root generation that it names.
/// </summary>
/// <param name="WriteNumber">Of two records in the token, the one with the higher number counts.</param>
/// <param name="Generation">The root generation that vouches for the record.</param>
/// <param name="Lineage">16 bytes, drawn anew whenever somebody accepts that the database went back.</param>
/// <param name="Settled">The set that was committed.</param>
/// <param name="Pending">The set that was being committed; null if none was.</param>
/// <param name="History">An entry of the history that was on the disk.</param>
internal sealed record AnchorRecord(
    long WriteNumber, long Generation, byte[] Lineage, SetState Settled, SetState? Pending, HistoryHead History)
{
    private const int LineageLength = 16;
    private const int HashLength = 32;
    private const int Length = (6 * sizeof(long)) + LineageLength + (3 * HashLength) + RowAuthenticator.CodeLength + Format;
    private const int Format = 1;
    private const byte FormatVersion = 1;

    /// <summary>The highest epoch that it names.</summary>
    public long LastEpoch => Math.Max(Settled.Epoch, Pending?.Epoch ?? 0);

    /// <summary>
    /// What names this record among all that were ever written: lineage, write number (big-endian i64), settled root. A database that
    /// an operator accepted in its place carries it.
    /// </summary>
    public byte[] Name
    {
        get
        {
            byte[] name = new byte[LineageLength + sizeof(long) + HashLength];
            Lineage.CopyTo(name, 0);
            BinaryPrimitives.WriteInt64BigEndian(name.AsSpan(LineageLength), WriteNumber);
            Settled.Root.CopyTo(name, LineageLength + sizeof(long));
            return name;
        }
    }

    /// <summary>
    /// Version (u8), then big-endian i64 write number, generation, settled epoch, pending epoch (−1: none), history sequence,
    /// and a zero for what may come; then lineage (16 bytes), settled root, pending root, history link (32 each), code (32).
    /// </summary>
    public byte[] Encode(RowAuthenticator authenticator)
    {
        byte[] bytes = new byte[Length];
        bytes[0] = FormatVersion;
        int at = Format;
        foreach (long number in new[] { WriteNumber, Generation, Settled.Epoch, Pending?.Epoch ?? -1, History.Sequence, 0 })
        {
            BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(at), number);
            at += sizeof(long);
        }

        foreach (byte[] field in new[] { Lineage, Settled.Root, Pending?.Root ?? new byte[HashLength], History.Link, authenticator.Code(Row(authenticator), Generation) })
        {
            field.CopyTo(bytes, at);
            at += field.Length;
        }

        return bytes;
    }

    /// <summary>By which generation bytes say that they are coded; null if they are no record. Nothing vouches for it.</summary>
    public static long? ReadGeneration(ReadOnlySpan<byte> bytes) => bytes.Length == Length && bytes[0] == FormatVersion
        ? BinaryPrimitives.ReadInt64BigEndian(bytes[(Format + sizeof(long))..])
        : null;

    /// <summary>Null if it isn't whole, or doesn't verify: half made, or somebody else's.</summary>
    public static AnchorRecord? Decode(ReadOnlySpan<byte> bytes, RowAuthenticator authenticator)
    {
        if (bytes.Length != Length || bytes[0] != FormatVersion)
        {
            return null;
        }

        Reader reader = new(bytes[Format..]);
        (long write, long generation, long settledEpoch, long pendingEpoch, long sequence, long reserved) =
            (reader.Number(), reader.Number(), reader.Number(), reader.Number(), reader.Number(), reader.Number());
        byte[] lineage = reader.Bytes(LineageLength);
        SetState settled = new(settledEpoch, reader.Bytes(HashLength));
        SetState pending = new(pendingEpoch, reader.Bytes(HashLength));
        AnchorRecord record = new(
            write, generation, lineage, settled, pendingEpoch < 0 ? null : pending, new HistoryHead(sequence, reader.Bytes(HashLength)));
        bool isPendingWhole = pendingEpoch >= 0 || (pendingEpoch == -1 && !pending.Root.AsSpan().ContainsAnyExcept((byte)0));
        return reserved == 0 && isPendingWhole
            && authenticator.Verify(record.Row(authenticator), new StoredCode(generation, RowEncoding.Version, reader.Bytes(RowAuthenticator.CodeLength)))
            ? record
            : null;
    }

    private RowEncoding Row(RowAuthenticator authenticator) => authenticator.Row("anchor").Add(WriteNumber).Add(Lineage)
        .Add(Settled.Epoch).Add(Settled.Root).Add(Pending?.Epoch).Add(Pending?.Root).Add(History.Sequence).Add(History.Link);

    private ref struct Reader(ReadOnlySpan<byte> bytes)
    {
        private ReadOnlySpan<byte> _rest = bytes;

        public long Number()
        {
            long number = BinaryPrimitives.ReadInt64BigEndian(_rest);
            _rest = _rest[sizeof(long)..];
            return number;
        }

        public byte[] Bytes(int length)
        {
            byte[] bytes = _rest[..length].ToArray();
            _rest = _rest[length..];
            return bytes;
        }
    }
}
