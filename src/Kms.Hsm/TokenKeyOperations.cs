using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>What is done with keys in the token. Digests are of SHA-256: no token here hashes for itself.</summary>
internal static class TokenKeyOperations
{
    /// <summary>nonce ‖ ciphertext ‖ tag.</summary>
    public const int GcmOverhead = Mechanism.GcmNonceLength + Mechanism.GcmTagLength;

    public const int RsaLength = 256;
    public const int EcdsaLength = 64;

    // DigestInfo of SHA-256 up to the digest (RFC 8017, section 9.2, note 1).
    private static ReadOnlySpan<byte> DigestInfo =>
        [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

    public static byte[] EncryptGcm(Module module, ulong session, ulong key, CallBuffer plaintext, ReadOnlySpan<byte> additionalData)
    {
        byte[] payload = new byte[plaintext.Length + GcmOverhead];
        Span<byte> nonce = payload.AsSpan(0, Mechanism.GcmNonceLength);
        RandomNumberGenerator.Fill(nonce);
        using var mechanism = Mechanism.AesGcm(nonce, additionalData);
        using CallBuffer output = new(plaintext.Length + Mechanism.GcmTagLength);
        Expect(module.Encrypt(session, mechanism, key, plaintext, output), output.Length, nameof(CKM.CKM_AES_GCM));
        output.Span.CopyTo(payload.AsSpan(Mechanism.GcmNonceLength));
        return payload;
    }

    /// <summary>The buffer takes the plaintext, but has room for the tag as well: SoftHSM asks for it.</summary>
    /// <exception cref="Pkcs11Exception">Of C_Decrypt, where the tag is wrong.</exception>
    public static void DecryptGcm(
        Module module, ulong session, ulong key, ReadOnlySpan<byte> payload, ReadOnlySpan<byte> additionalData, CallBuffer output)
    {
        using var mechanism = Mechanism.AesGcm(payload[..Mechanism.GcmNonceLength], additionalData);
        using CallBuffer ciphertext = new(payload[Mechanism.GcmNonceLength..]);
        int expected = payload.Length - GcmOverhead;
        Expect(module.Decrypt(session, mechanism, key, ciphertext, output), expected, nameof(CKM.CKM_AES_GCM));
    }

    /// <summary>Whatever the token leaves out in front comes back as zeros.</summary>
    public static void DecryptRaw(Module module, ulong session, ulong key, ReadOnlySpan<byte> ciphertext, CallBuffer encoded)
    {
        using Mechanism mechanism = new(CKM.CKM_RSA_X_509);
        using CallBuffer input = new(ciphertext);
        int length = module.Decrypt(session, mechanism, key, input, encoded);
        encoded.Span[..length].CopyTo(encoded.Span[^length..]);
        encoded.Span[..^length].Clear();
    }

    public static byte[] SignPss(Module module, ulong session, ulong key, byte[] digest)
    {
        using var mechanism = Mechanism.RsaPssSha256();
        return module.Sign(session, mechanism, key, digest, RsaLength);
    }

    public static byte[] SignPkcs1(Module module, ulong session, ulong key, byte[] digest) =>
        module.Sign(session, CKM.CKM_RSA_PKCS, key, [.. DigestInfo, .. digest], RsaLength);

    public static byte[] SignEcdsa(Module module, ulong session, ulong key, byte[] digest) =>
        module.Sign(session, CKM.CKM_ECDSA, key, digest, EcdsaLength);

    private static void Expect(int length, int expected, string mechanism)
    {
        if (length != expected)
        {
            throw new TokenException(TokenFault.Unsupported, $"The token's {mechanism} gives {length} bytes, not {expected}.");
        }
    }
}
