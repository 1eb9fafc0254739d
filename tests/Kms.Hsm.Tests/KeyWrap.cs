using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Kms.Hsm.Tests;

/// <summary>AES key wrap in .NET (RFC 3394, section 2.2; padded RFC 5649), the judge of the token's.</summary>
internal static class KeyWrap
{
    private const ulong InitialValue = 0xa6a6a6a6a6a6a6a6;
    private const ulong PaddedInitialValue = 0xa65959a6;

    public static byte[] Wrap(byte[] wrapKey, ReadOnlySpan<byte> key) => Wrap(wrapKey, key, InitialValue);

    /// <summary>RFC 5649, section 4.1, for keys longer than 8 bytes.</summary>
    public static byte[] WrapPadded(byte[] wrapKey, ReadOnlySpan<byte> key)
    {
        byte[] padded = GC.AllocateArray<byte>((key.Length + 7) / 8 * 8, pinned: true);
        key.CopyTo(padded);
        byte[] wrapped = Wrap(wrapKey, padded, (PaddedInitialValue << 32) | (uint)key.Length);
        CryptographicOperations.ZeroMemory(padded);
        return wrapped;
    }

    private static byte[] Wrap(byte[] wrapKey, ReadOnlySpan<byte> key, ulong initialValue)
    {
        using var aes = Aes.Create();
        aes.Key = wrapKey;
        int blocks = key.Length / 8;
        byte[] wrapped = GC.AllocateArray<byte>(8 + key.Length, pinned: true);
        key.CopyTo(wrapped.AsSpan(8));
        byte[] block = new byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(wrapped, initialValue);
        for (int t = 1; t <= 6 * blocks; t++)
        {
            Span<byte> r = wrapped.AsSpan(8 * (((t - 1) % blocks) + 1), 8);
            wrapped.AsSpan(0, 8).CopyTo(block);
            r.CopyTo(block.AsSpan(8));
            block = aes.EncryptEcb(block, PaddingMode.None);
            BinaryPrimitives.WriteUInt64BigEndian(wrapped, BinaryPrimitives.ReadUInt64BigEndian(block) ^ (ulong)t);
            block.AsSpan(8).CopyTo(r);
        }

        return wrapped;
    }

    /// <summary>Of either kind; the padding of the padded one stays.</summary>
    public static byte[] Unwrap(byte[] wrapKey, byte[] wrapped)
    {
        using var aes = Aes.Create();
        aes.Key = wrapKey;
        int blocks = (wrapped.Length / 8) - 1;
        byte[] key = [.. wrapped];
        byte[] block = new byte[16];
        for (int t = 6 * blocks; t >= 1; t--)
        {
            Span<byte> r = key.AsSpan(8 * (((t - 1) % blocks) + 1), 8);
            BinaryPrimitives.WriteUInt64BigEndian(block, BinaryPrimitives.ReadUInt64BigEndian(key) ^ (ulong)t);
            r.CopyTo(block.AsSpan(8));
            block = aes.DecryptEcb(block, PaddingMode.None);
            block.AsSpan(0, 8).CopyTo(key);
            block.AsSpan(8).CopyTo(r);
        }

        ulong initialValue = BinaryPrimitives.ReadUInt64BigEndian(key);
        Assert.True(initialValue == InitialValue || initialValue >> 32 == PaddedInitialValue, "This isn't wrapped under this key.");
        return key[8..];
    }
}
