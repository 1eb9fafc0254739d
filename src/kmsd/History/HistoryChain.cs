using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Kmsd.History;

/// <summary>
/// The arithmetic of the chain. An entry's digest is SHA-256 over a random salt and the entry, so that erasing both leaves
/// a digest that says nothing; its link is HMAC-SHA-256 under the history key over the link before, the sequence number
/// and the digest, so that nobody without the token can make one. The key ratchets: after every 1024 entries it is replaced
/// by HKDF-Expand (RFC 5869, section 2.3) of itself, so that whoever reads the daemon's memory can't make older links.
/// </summary>
internal static class HistoryChain
{
    public const int SaltLength = 16;
    public const int LinkLength = 32;

    /// <summary>How many entries one key of the ratchet links.</summary>
    public const int EntriesAKey = 1024;

    private const int LongestOnStack = 1024;
    private const int LinkedLength = LinkLength + sizeof(long) + SHA256.HashSizeInBytes;

    /// <summary>What the first entry links to.</summary>
    public static byte[] Origin(ReadOnlySpan<byte> instanceId) => SHA256.HashData([.. "kmsd/history/origin"u8, .. instanceId]);

    public static byte[] Digest(ReadOnlySpan<byte> salt, ReadOnlySpan<byte> entry)
    {
        int length = salt.Length + entry.Length;
        Span<byte> text = length <= LongestOnStack ? stackalloc byte[length] : new byte[length];
        salt.CopyTo(text);
        entry.CopyTo(text[salt.Length..]);
        return SHA256.HashData(text);
    }

    /// <summary>Which key of the ratchet links an entry: 0 for the first 1024 of its segment.</summary>
    /// <param name="first">The first entry of the segment.</param>
    /// <param name="sequence">The entry.</param>
    public static long KeyIndex(long first, long sequence) => (sequence - first) / EntriesAKey;

    /// <summary>The next key of the ratchet.</summary>
    public static void Next(ReadOnlySpan<byte> key, Span<byte> next) =>
        HKDF.Expand(HashAlgorithmName.SHA256, key, next, "kmsd/history/ratchet"u8);

    public static byte[] Link(ReadOnlySpan<byte> key, ReadOnlySpan<byte> previous, long sequence, ReadOnlySpan<byte> digest)
    {
        Span<byte> text = stackalloc byte[LinkedLength];
        return TryWriteLinked(text, previous, sequence, digest) ? HMACSHA256.HashData(key, text) : [];
    }

    /// <summary>The same by a MAC that holds the key, for who makes many links by one key.</summary>
    public static byte[] Link(IncrementalHash mac, ReadOnlySpan<byte> previous, long sequence, ReadOnlySpan<byte> digest)
    {
        Span<byte> text = stackalloc byte[LinkedLength];
        if (!TryWriteLinked(text, previous, sequence, digest))
        {
            return [];
        }

        mac.AppendData(text);
        return mac.GetHashAndReset();
    }

    /// <summary>What a link is made over; false if the one before is none: then there is nothing to link to.</summary>
    private static bool TryWriteLinked(Span<byte> text, ReadOnlySpan<byte> previous, long sequence, ReadOnlySpan<byte> digest)
    {
        if (previous.Length != LinkLength)
        {
            return false;
        }

        previous.CopyTo(text);
        BinaryPrimitives.WriteInt64BigEndian(text[LinkLength..], sequence);
        digest.CopyTo(text[(LinkLength + sizeof(long))..]);
        return true;
    }
}
