using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>
/// Material under the seal key: 12-byte nonce ‖ ciphertext ‖ 16-byte tag (AES-256-GCM, NIST SP 800-38D; the nonce from the
/// kernel's generator).
/// </summary>
internal static class SealedBlob
{
    public const string MechanismName = nameof(CKM.CKM_AES_GCM);

    private const int Overhead = Mechanism.GcmNonceLength + Mechanism.GcmTagLength;

    public static byte[] Seal(Module module, ulong session, ulong key, byte[] material, ReadOnlySpan<byte> additionalData)
    {
        byte[] blob = new byte[material.Length + Overhead];
        Span<byte> nonce = blob.AsSpan(0, Mechanism.GcmNonceLength);
        RandomNumberGenerator.Fill(nonce);
        using var mechanism = Mechanism.AesGcm(nonce, additionalData);
        byte[] ciphertext = module.Encrypt(session, mechanism, key, material, Mechanism.GcmTagLength);
        return ciphertext.Length == blob.Length - Mechanism.GcmNonceLength
            ? [.. nonce, .. ciphertext]
            : throw new TokenException(TokenFault.Unsupported, "The token's AES-GCM gives a result of a wrong length.");
    }

    public static SecretBytes Open(Module module, ulong session, ulong key, ReadOnlySpan<byte> blob, ReadOnlySpan<byte> additionalData)
    {
        if (blob.Length <= Overhead)
        {
            throw new SealedBlobException();
        }

        using var mechanism = Mechanism.AesGcm(blob[..Mechanism.GcmNonceLength], additionalData);
        byte[] plaintext;
        int length;
        try
        {
            plaintext = module.Decrypt(session, mechanism, key, blob[Mechanism.GcmNonceLength..].ToArray(), out length);
        }
        catch (Pkcs11Exception exception) when (exception.Function == "C_Decrypt" && MayMeanBadTag((CKR)exception.ReturnValue))
        {
            throw new SealedBlobException(exception);
        }

        try
        {
            return new SecretBytes(plaintext.AsSpan(0, length));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plaintext);
        }
    }

    /// <summary>SoftHSM says CKR_GENERAL_ERROR of a bad tag; so the operation classifies, not the code alone.</summary>
    public static bool MayMeanBadTag(CKR result) => result is CKR.CKR_ENCRYPTED_DATA_INVALID or CKR.CKR_ENCRYPTED_DATA_LEN_RANGE
        or CKR.CKR_GENERAL_ERROR or CKR.CKR_FUNCTION_FAILED or CKR.CKR_SIGNATURE_INVALID;
}
