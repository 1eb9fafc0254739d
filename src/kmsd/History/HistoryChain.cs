using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Kmsd.History;

/// <summary>
/// The arithmetic of the chain. An entry's digest is SHA-256 over a random salt and the entry, so that erasing both leaves
/// a digest that says nothing; its link is HMAC-SHA-256 under the history key over the link before, the sequence number
/// and the digest, so that nobody without the token can make one.
/// </summary>
internal static class HistoryChain
{
    public const int SaltLength = 16;
    public const int LinkLength = 32;

    /// <summary>What the first entry links to.</summary>
    public static byte[] Origin(ReadOnlySpan<byte> instanceId) => SHA256.HashData([.. "kmsd/history/origin"u8, .. instanceId]);

    public static byte[] Digest(ReadOnlySpan<byte> salt, ReadOnlySpan<byte> entry)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(salt);
        hash.AppendData(entry);
        return hash.GetHashAndReset();
    }

    public static byte[] Link(ReadOnlySpan<byte> key, ReadOnlySpan<byte> previous, long sequence, ReadOnlySpan<byte> digest)
    {
        Span<byte> text = stackalloc byte[LinkLength + sizeof(long) + SHA256.HashSizeInBytes];
        previous.CopyTo(text);
        BinaryPrimitives.WriteInt64BigEndian(text[LinkLength..], sequence);
        digest.CopyTo(text[(LinkLength + sizeof(long))..]);
        return HMACSHA256.HashData(key, text);
    }
}
