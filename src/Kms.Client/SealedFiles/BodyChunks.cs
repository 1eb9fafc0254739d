using System.Buffers.Binary;
using System.Security.Cryptography;
using Kms.Client.Protocol;

namespace Kms.Client.SealedFiles;

/// <summary>
/// The body of a sealed file: STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its
/// Nonce-Reuse Misuse-Resistance", 2015) with AES-256-GCM. A chunk's nonce holds its number and whether it is the last.
/// </summary>
internal static class BodyChunks
{
    public const int PlainBytes = 1 << SealedFileHeader.ChunkBits;
    public const int TagBytes = 16;
    public const int SealedBytes = PlainBytes + TagBytes;

    private const int KeyBytes = 32;
    private const int NonceBytes = 12;
    private const int NumberAt = 7; // Seven zeros: the key is the file's own.
    private const int LastAt = 11;

    private static ReadOnlySpan<byte> Label => "kmsd/sealed-file/1"u8;

    /// <summary>HKDF-SHA-256 (RFC 5869) binds the key of the body to every byte of the header.</summary>
    public static SensitiveBytes DeriveKey(SensitiveBytes dataKey, SealedFileHeader header)
    {
        if (dataKey.Length != KeyBytes)
        {
            throw new SealedFileException(SealedFileFault.Damaged, "The data key of this file doesn't have 256 bits.");
        }

        var key = new SensitiveBytes(KeyBytes);
        HKDF.DeriveKey(
            HashAlgorithmName.SHA256, dataKey.AsSpan(), key.AsSpan(), salt: [], info: [.. Label, .. header.ToAuthenticatedBytes()]);
        return key;
    }

    /// <summary>Seals consecutive chunks; the length written.</summary>
    /// <param name="aes">The body's cipher.</param>
    /// <param name="number">The first chunk's number.</param>
    /// <param name="ends">Whether the file ends with the last of them.</param>
    /// <param name="input">Whole chunks, but for the file's last; empty only for an empty file.</param>
    /// <param name="output">Room for them.</param>
    public static int Seal(AesGcm aes, long number, bool ends, ReadOnlySpan<byte> input, Span<byte> output)
    {
        Span<byte> nonce = stackalloc byte[NonceBytes];
        int written = 0;
        do
        {
            ReadOnlySpan<byte> chunk = input[..Math.Min(PlainBytes, input.Length)];
            input = input[chunk.Length..];
            SetNonce(nonce, number++, ends && input.IsEmpty);
            Span<byte> target = output.Slice(written, chunk.Length + TagBytes);
            aes.Encrypt(nonce, chunk, target[..chunk.Length], target[chunk.Length..]);
            written += target.Length;
        }
        while (!input.IsEmpty);
        return written;
    }

    /// <summary>Opens consecutive chunks; the length written, or nothing at all: then the output is zeroed.</summary>
    /// <exception cref="SealedFileException">One of them doesn't authenticate.</exception>
    public static int Open(AesGcm aes, long number, bool ends, ReadOnlySpan<byte> input, Span<byte> output)
    {
        Span<byte> nonce = stackalloc byte[NonceBytes];
        int written = 0;
        try
        {
            do
            {
                ReadOnlySpan<byte> chunk = input[..Math.Min(SealedBytes, input.Length)];
                input = input[chunk.Length..];
                int length = chunk.Length - TagBytes;
                if (length < 0 || (length == 0 && number != 0))
                {
                    CryptographicOperations.ZeroMemory(output);
                    throw Damaged(null);
                }

                SetNonce(nonce, number++, ends && input.IsEmpty);
                aes.Decrypt(nonce, chunk[..length], chunk[length..], output.Slice(written, length));
                written += length;
            }
            while (!input.IsEmpty);
            return written;
        }
        catch (AuthenticationTagMismatchException exception)
        {
            CryptographicOperations.ZeroMemory(output);
            throw Damaged(exception);
        }
    }

    private static void SetNonce(Span<byte> nonce, long number, bool last)
    {
        if (number > uint.MaxValue)
        {
            throw new SealedFileException(SealedFileFault.TooLong, "A sealed file holds at most 256 TiB.");
        }

        nonce.Clear();
        BinaryPrimitives.WriteUInt32BigEndian(nonce[NumberAt..], (uint)number);
        nonce[LastAt] = last ? (byte)1 : (byte)0;
    }

    private static SealedFileException Damaged(Exception? inner) => new(
        SealedFileFault.Damaged, "This sealed file was altered or cut short; use another copy of it.", inner);
}
