using System.Buffers.Binary;
using System.Text;
using Kms.Client.Protocol;

namespace Kmsd.RootKeys;

/// <summary>What a blob belongs to. It opens only under exactly this, so that no two blobs can be exchanged.</summary>
internal sealed record MaterialBinding(byte[] StoreId, KeyTag Tag, long Version, KeyType Type)
{
    /// <summary>How many bytes AES-GCM adds to a text: nonce and tag.</summary>
    public const int GcmOverhead = 12 + 16;

    /// <summary>
    /// The additional data of the blob: each field as a big-endian u32 length and its bytes: <c>kmsd/material/1</c>,
    /// instance id, store id, tag, version (u64), type, generation (u64).
    /// </summary>
    public byte[] ToAdditionalData(ReadOnlySpan<byte> instanceId, long generation)
    {
        Span<byte> number = stackalloc byte[sizeof(ulong)];
        using MemoryStream data = new();
        Append(data, "kmsd/material/1"u8);
        Append(data, instanceId);
        Append(data, StoreId);
        Append(data, Tag.ToBytes());
        BinaryPrimitives.WriteInt64BigEndian(number, Version);
        Append(data, number);
        Append(data, Encoding.UTF8.GetBytes(Wire.KeyTypes[Type]));
        BinaryPrimitives.WriteInt64BigEndian(number, generation);
        Append(data, number);
        return data.ToArray();
    }

    private static void Append(MemoryStream data, ReadOnlySpan<byte> field)
    {
        Span<byte> length = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(length, (uint)field.Length);
        data.Write(length);
        data.Write(field);
    }
}
