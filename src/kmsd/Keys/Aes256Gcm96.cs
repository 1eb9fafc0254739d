using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Hosting;

namespace Kmsd.Keys;

/// <summary>
/// AES-256-GCM with random 96-bit nonces and 128-bit tags (NIST SP 800-38D, section 8.2.2). The payload is
/// nonce ‖ ciphertext ‖ tag; the additional data binds it to key, version and context.
/// </summary>
internal static class Aes256Gcm96
{
    public const int KeyLength = 32;
    public const int NonceLength = 12;
    public const int TagLength = 16;

    /// <summary>How many bytes a payload is longer than its plaintext.</summary>
    public const int Overhead = NonceLength + TagLength;

    /// <summary>The most encryptions under one version (NIST SP 800-38D, section 8.3).</summary>
    public const long MostEncryptions = 1L << 32;

    private static ReadOnlySpan<byte> Label => "kmsd/aes256-gcm96/1"u8;

    /// <summary>For each field a big-endian u32 length and its bytes: label, tag, version (u64), key type, context.</summary>
    public static byte[] AdditionalData(KeyTag tag, long version, ReadOnlySpan<byte> context)
    {
        byte[] tagBytes = tag.ToBytes();
        byte[] type = Encoding.UTF8.GetBytes(Wire.KeyTypes[KeyType.Aes256Gcm96]);
        Span<byte> number = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteInt64BigEndian(number, version);
        byte[] data = new byte[(5 * sizeof(uint)) + Label.Length + tagBytes.Length + number.Length + type.Length + context.Length];
        Span<byte> rest = Append(data, Label);
        rest = Append(rest, tagBytes);
        rest = Append(rest, number);
        rest = Append(rest, type);
        _ = Append(rest, context);
        return data;
    }

    /// <summary>Encrypts under a fresh nonce from the kernel's random.</summary>
    public static byte[] Encrypt(SecretBytes key, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> additionalData)
    {
        Span<byte> nonce = stackalloc byte[NonceLength];
        RandomPool.Take(nonce);
        return Encrypt(key, nonce, plaintext, additionalData);
    }

    /// <summary>Encrypts under a given nonce, which must never come twice under one key.</summary>
    internal static byte[] Encrypt(
        SecretBytes key, ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> additionalData)
    {
        byte[] payload = new byte[plaintext.Length + Overhead];
        nonce.CopyTo(payload);
        using SecretLease lease = key.Open();
        using AesGcm gcm = new(lease.Bytes, TagLength);
        gcm.Encrypt(nonce, plaintext, payload.AsSpan(NonceLength, plaintext.Length), payload.AsSpan(^TagLength..), additionalData);
        return payload;
    }

    /// <summary>False if it doesn't authenticate; then <paramref name="plaintext"/> is zero.</summary>
    /// <param name="key">32 bytes.</param>
    /// <param name="payload">At least <see cref="Overhead"/> bytes.</param>
    /// <param name="additionalData">What it was encrypted with.</param>
    /// <param name="plaintext">Exactly <see cref="Overhead"/> bytes shorter than the payload.</param>
    public static bool TryDecrypt(
        SecretBytes key, ReadOnlySpan<byte> payload, ReadOnlySpan<byte> additionalData, Span<byte> plaintext)
    {
        using SecretLease lease = key.Open();
        using AesGcm gcm = new(lease.Bytes, TagLength);
        try
        {
            gcm.Decrypt(payload[..NonceLength], payload[NonceLength..^TagLength], payload[^TagLength..], plaintext, additionalData);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            CryptographicOperations.ZeroMemory(plaintext);
            return false;
        }
    }

    private static Span<byte> Append(Span<byte> data, scoped ReadOnlySpan<byte> field)
    {
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)field.Length);
        field.CopyTo(data[sizeof(uint)..]);
        return data[(sizeof(uint) + field.Length)..];
    }
}
