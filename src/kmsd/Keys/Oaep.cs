using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;

namespace Kmsd.Keys;

/// <summary>
/// RSAES-OAEP decoding of a raw 2048-bit RSA result (RFC 8017, section 7.1.2, step 3): SHA-256, MGF1 with SHA-256, an empty
/// label. Every block takes the same steps, whatever is wrong with it: no branch, index or exit depends on its bytes, so that
/// time tells nobody which check failed (Manger's attack, CRYPTO 2001).
/// </summary>
internal static class Oaep
{
    /// <summary>Of the encoded message: the length of the modulus.</summary>
    public const int EncodedLength = 256;

    /// <summary>RFC 8017, section 7.1.1: k − 2·hLen − 2.</summary>
    public const int MostMessageBytes = EncodedLength - (2 * SHA256.HashSizeInBytes) - 2;

    private const int SeedLength = SHA256.HashSizeInBytes;
    private const int BlockLength = EncodedLength - SeedLength - 1;

    // Where padding or its end may begin: behind the label's hash.
    private const int PaddingStart = SHA256.HashSizeInBytes;

    // SHA-256 of the empty label (section 7.1.1, step 2a).
    private static ReadOnlySpan<byte> EmptyLabelHash =>
    [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
        0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ];

    /// <summary>False if the block is no encoded message; then <paramref name="message"/> is zero.</summary>
    /// <param name="encoded">256 bytes: the result of the raw operation, with its leading zeros.</param>
    /// <param name="message">At least 190 bytes, of which the first 190 are always written: the message, then zeros.</param>
    /// <param name="length">Of the message, 0 to 190.</param>
    public static bool TryDecode(ReadOnlySpan<byte> encoded, Span<byte> message, out int length)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(encoded.Length, EncodedLength);
        ArgumentOutOfRangeException.ThrowIfLessThan(message.Length, MostMessageBytes);
        Span<byte> seed = stackalloc byte[SeedLength];
        Span<byte> block = stackalloc byte[BlockLength];
        try
        {
            encoded.Slice(1, SeedLength).CopyTo(seed);
            encoded[(1 + SeedLength)..].CopyTo(block);
            Mask(encoded[(1 + SeedLength)..], seed);
            Mask(seed, block);
            return Read(encoded[0], block, message[..MostMessageBytes], out length);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(seed);
            CryptographicOperations.ZeroMemory(block);
        }
    }

    /// <summary>MGF1 with SHA-256 (RFC 8017, appendix B.2.1), applied: its own inverse.</summary>
    internal static void Mask(ReadOnlySpan<byte> seed, Span<byte> target)
    {
        Span<byte> input = stackalloc byte[EncodedLength + sizeof(uint)];
        Span<byte> mask = stackalloc byte[SHA256.HashSizeInBytes];
        input = input[..(seed.Length + sizeof(uint))];
        seed.CopyTo(input);
        for (int start = 0; start < target.Length; start += SHA256.HashSizeInBytes)
        {
            BinaryPrimitives.WriteUInt32BigEndian(input[seed.Length..], (uint)(start / SHA256.HashSizeInBytes));
            _ = SHA256.HashData(input, mask);
            int end = Math.Min(target.Length, start + SHA256.HashSizeInBytes);
            for (int i = start; i < end; i++)
            {
                target[i] ^= mask[i - start];
            }
        }

        CryptographicOperations.ZeroMemory(input);
        CryptographicOperations.ZeroMemory(mask);
    }

    /// <summary>Unoptimised, as .NET's FixedTimeEquals: a compiler must not make branches of the masks.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.NoOptimization)]
    private static bool Read(byte first, Span<byte> block, Span<byte> message, out int length)
    {
        unchecked
        {
            // A mask is all ones for yes and zero for no.
            uint bad = ~IsZero(first);
            for (int i = 0; i < PaddingStart; i++)
            {
                bad |= ~IsZero((uint)(block[i] ^ EmptyLabelHash[i]));
            }

            // PS ‖ 0x01 ‖ M: the first byte that isn't zero must be one.
            uint isPadding = uint.MaxValue;
            uint start = 0;
            for (int i = PaddingStart; i < BlockLength; i++)
            {
                uint isOne = IsZero((uint)(block[i] ^ 1));
                start |= isPadding & isOne & (uint)(i - PaddingStart);
                uint isZero = IsZero(block[i]);
                bad |= isPadding & ~isZero & ~isOne;
                isPadding &= isZero;
            }

            bad |= isPadding;

            // The message moves to the front by steps of 1, 2, 4 … bytes, each of which is made or only looks like it.
            block[(PaddingStart + 1)..].CopyTo(message);
            for (int bit = 0; bit < 8; bit++)
            {
                int step = 1 << bit;
                byte isMoved = (byte)(0u - ((start >> bit) & 1));
                for (int i = 0; i < MostMessageBytes; i++)
                {
                    byte next = i + step < MostMessageBytes ? message[i + step] : (byte)0;
                    message[i] = (byte)((next & isMoved) | (message[i] & ~isMoved));
                }
            }

            for (int i = 0; i < MostMessageBytes; i++)
            {
                message[i] &= (byte)~bad;
            }

            length = (int)((MostMessageBytes - start) & ~bad);
            return bad == 0;
        }
    }

    /// <summary>All ones for zero, else zero; for numbers below 2^31.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.NoOptimization)]
    private static uint IsZero(uint number) => unchecked((uint)((int)(number - 1) >> 31));
}
