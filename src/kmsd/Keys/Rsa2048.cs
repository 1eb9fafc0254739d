using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;

namespace Kmsd.Keys;

/// <summary>
/// RSA with a modulus of 2048 bits, in software: RSAES-OAEP with SHA-256 and an empty label, RSASSA-PSS with a salt of 32
/// bytes, RSASSA-PKCS1-v1_5 (RFC 8017). The material is the private key as PKCS#8 DER, the public key SubjectPublicKeyInfo DER.
/// </summary>
internal static class Rsa2048
{
    public const int KeySizeInBits = 2048;

    /// <summary>Of a ciphertext and of a signature.</summary>
    public const int PayloadLength = KeySizeInBits / 8;

    /// <summary>RFC 8017, section 7.1.1: k − 2·hLen − 2.</summary>
    public const int MostPlaintextBytes = Oaep.MostMessageBytes;

    // 1,214 to 1,219 bytes are needed: RFC 8017, appendix A.1.2, in RFC 5208's PrivateKeyInfo.
    private const int MostMaterialBytes = 2048;

    /// <summary>A fresh key; the caller owns the material.</summary>
    public static SecretBytes NewMaterial(out byte[] publicKey)
    {
        using var rsa = RSA.Create(KeySizeInBits);
        publicKey = rsa.ExportSubjectPublicKeyInfo();
        byte[] buffer = GC.AllocateUninitializedArray<byte>(MostMaterialBytes, pinned: true);
        try
        {
            return rsa.TryExportPkcs8PrivateKey(buffer, out int length)
                ? new SecretBytes(buffer.AsSpan(0, length))
                : throw new InvalidOperationException($"An RSA key of {KeySizeInBits} bits needs more than {MostMaterialBytes} bytes.");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(buffer);
        }
    }

    /// <summary>Whether the public key belongs to the private one.</summary>
    /// <param name="key">PKCS#8 DER.</param>
    /// <param name="publicKey">As it was made with the key.</param>
    public static bool IsPair(SecretBytes key, ReadOnlySpan<byte> publicKey)
    {
        using RSA rsa = Private(key);
        return rsa.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(publicKey);
    }

    /// <exception cref="ArgumentOutOfRangeException">The plaintext is longer than 190 bytes.</exception>
    public static byte[] Encrypt(ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> plaintext)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(plaintext.Length, MostPlaintextBytes);
        using RSA rsa = Public(publicKey);
        return rsa.Encrypt(plaintext, RSAEncryptionPadding.OaepSHA256);
    }

    /// <summary>False if the payload doesn't decrypt, whatever is wrong with it.</summary>
    /// <param name="key">PKCS#8 DER.</param>
    /// <param name="payload">256 bytes; any other length doesn't decrypt.</param>
    /// <param name="plaintext">At least 190 bytes, of which the first 190 are always written: the plaintext, then zeros.</param>
    /// <param name="length">Of the plaintext, 0 to 190.</param>
    public static bool TryDecrypt(SecretBytes key, ReadOnlySpan<byte> payload, Span<byte> plaintext, out int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(plaintext.Length, MostPlaintextBytes);
        CryptographicOperations.ZeroMemory(plaintext[..MostPlaintextBytes]);
        length = 0;
        if (payload.Length != PayloadLength)
        {
            return false;
        }

        // On the stack, where no collection moves it; with less room .NET would rent an array.
        Span<byte> opened = stackalloc byte[PayloadLength];
        using RSA rsa = Private(key);
        try
        {
            length = rsa.Decrypt(payload, opened, RSAEncryptionPadding.OaepSHA256);
            opened[..length].CopyTo(plaintext);
            return true;
        }
        catch (CryptographicException)
        {
            return false;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(opened);
        }
    }

    /// <param name="key">PKCS#8 DER.</param>
    /// <param name="digest">SHA-256 of the message.</param>
    /// <param name="algorithm">One of RSA's.</param>
    public static byte[] Sign(SecretBytes key, ReadOnlySpan<byte> digest, SignatureAlgorithm algorithm)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(digest.Length, SHA256.HashSizeInBytes);
        RSASignaturePadding padding = Padding(algorithm);
        using RSA rsa = Private(key);
        byte[] signature = new byte[PayloadLength];
        return rsa.TrySignHash(digest, signature, HashAlgorithmName.SHA256, padding, out int length) && length == PayloadLength
            ? signature
            : throw new InvalidOperationException("An RSA signature isn't as long as the modulus.");
    }

    public static bool Verify(
        ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> digest, ReadOnlySpan<byte> signature, SignatureAlgorithm algorithm)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(digest.Length, SHA256.HashSizeInBytes);
        RSASignaturePadding padding = Padding(algorithm);
        using RSA rsa = Public(publicKey);
        return signature.Length == PayloadLength && rsa.VerifyHash(digest, signature, HashAlgorithmName.SHA256, padding);
    }

    private static RSASignaturePadding Padding(SignatureAlgorithm algorithm) => algorithm switch
    {
        // .NET's Pss takes a salt as long as the digest, and accepts no other when it verifies.
        SignatureAlgorithm.RsaPssSha256 => RSASignaturePadding.Pss,
        SignatureAlgorithm.RsaPkcs1Sha256 => RSASignaturePadding.Pkcs1,
        _ => throw new ArgumentOutOfRangeException(nameof(algorithm), algorithm, "RSA doesn't sign by this."),
    };

    private static RSA Private(SecretBytes key)
    {
        var rsa = RSA.Create();
        try
        {
            using SecretLease lease = key.Open();
            rsa.ImportPkcs8PrivateKey(lease.Bytes, out _);
            return rsa;
        }
        catch
        {
            rsa.Dispose();
            throw;
        }
    }

    private static RSA Public(ReadOnlySpan<byte> publicKey)
    {
        var rsa = RSA.Create();
        try
        {
            rsa.ImportSubjectPublicKeyInfo(publicKey, out _);
            return rsa;
        }
        catch
        {
            rsa.Dispose();
            throw;
        }
    }
}
