using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>
/// Whether the token can hold keys of a type: each step from making one to every use is done once, with .NET as the judge,
/// and the first that fails is named by its mechanism.
/// </summary>
internal static class TokenKeySelfTest
{
    private const int KeyLength = 32;

    /// <summary>The mechanism that is missing or gives a wrong result, or null.</summary>
    /// <exception cref="Pkcs11Exception">The token doesn't answer, which says nothing of what it can do.</exception>
    public static string? FindMissing(Module module, ulong session, TokenKeyType type)
    {
        List<ulong> made = [];
        string step = TokenKeyObjects.GeneratorName(type);
        try
        {
            (ulong original, byte[]? publicKey) = TokenKeyObjects.Generate(module, session, type, made);
            step = TokenKeyObjects.WrapName(type);
            ulong key = WrapAndUnwrap(module, session, type, original, made);
            foreach ((string mechanism, Func<bool> works) in Uses(module, session, type, key, original, publicKey))
            {
                step = mechanism;
                if (!works())
                {
                    return step;
                }
            }

            return null;
        }
        catch (Pkcs11Exception exception) when (!IsAway((CKR)exception.ReturnValue))
        {
            return step;
        }
        catch (Exception exception) when (exception is SealedBlobException or InvalidDataException or CryptographicException
            or TokenException { Fault: TokenFault.Unsupported })
        {
            return step;
        }
        finally
        {
            foreach (ulong handle in made)
            {
                module.DestroyObject(session, handle);
            }
        }
    }

    private static ulong WrapAndUnwrap(Module module, ulong session, TokenKeyType type, ulong original, List<ulong> made)
    {
        using Template template = new();
        ulong wrapping = module.GenerateKey(
            session, CKM.CKM_AES_KEY_GEN,
            template.Add(CKA.CKA_TOKEN, false).Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_SENSITIVE, true)
                .Add(CKA.CKA_WRAP, true).Add(CKA.CKA_UNWRAP, true).Add(CKA.CKA_VALUE_LEN, KeyLength));
        made.Add(wrapping);
        byte[] blob = TokenKeyObjects.Wrap(module, session, wrapping, type, original);
        (ulong key, _) = TokenKeyObjects.Unwrap(module, session, wrapping, type, blob, TokenKeyObjects.WrapName(type), goodBlob: [], isExtractable: false);
        made.Add(key);
        return key;
    }

    private static IEnumerable<(string Mechanism, Func<bool> Works)> Uses(
        Module module, ulong session, TokenKeyType type, ulong key, ulong original, byte[]? publicKey)
    {
        byte[] digest = RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes);
        return type switch
        {
            TokenKeyType.Aes256 =>
            [
                (nameof(CKM.CKM_AES_GCM), () => OpensWhatTheOtherSealed(module, session, key, original, digest)),
                (nameof(CKM.CKM_AES_GCM), () => OpensWhatTheOtherSealed(module, session, key, original, [])),
            ],
            TokenKeyType.Rsa2048 =>
            [
                (nameof(CKM.CKM_RSA_X_509), () => DecryptsRaw(module, session, key, publicKey!, digest)),
                (nameof(CKM.CKM_RSA_PKCS_PSS), () => VerifiesRsa(
                    publicKey!, digest, TokenKeyOperations.SignPss(module, session, key, digest), RSASignaturePadding.Pss)),
                (nameof(CKM.CKM_RSA_PKCS), () => VerifiesRsa(
                    publicKey!, digest, TokenKeyOperations.SignPkcs1(module, session, key, digest), RSASignaturePadding.Pkcs1)),
            ],
            _ => [(nameof(CKM.CKM_ECDSA), () => VerifiesEcdsa(publicKey!, digest, TokenKeyOperations.SignEcdsa(module, session, key, digest)))],
        };
    }

    private static bool OpensWhatTheOtherSealed(Module module, ulong session, ulong key, ulong original, byte[] text)
    {
        using CallBuffer plaintext = new(text);
        byte[] payload = TokenKeyOperations.EncryptGcm(module, session, original, plaintext, "kmsd/self-test"u8);
        using CallBuffer opened = new(payload.Length);
        TokenKeyOperations.DecryptGcm(module, session, key, payload, "kmsd/self-test"u8, opened);
        return opened.Span[..text.Length].SequenceEqual(text);
    }

    /// <summary>A block that begins with zeros, so that a token which drops them shows.</summary>
    private static bool DecryptsRaw(Module module, ulong session, ulong key, byte[] publicKey, byte[] digest)
    {
        using var rsa = RSA.Create();
        rsa.ImportSubjectPublicKeyInfo(publicKey, out _);
        byte[] ciphertext = rsa.Encrypt(digest, RSAEncryptionPadding.Pkcs1);
        using CallBuffer block = new(TokenKeyOperations.RsaLength);
        TokenKeyOperations.DecryptRaw(module, session, key, ciphertext, block);
        return block.Span[..2].SequenceEqual<byte>([0, 2]) && block.Span[^digest.Length..].SequenceEqual(digest);
    }

    private static bool VerifiesRsa(byte[] publicKey, byte[] digest, byte[] signature, RSASignaturePadding padding)
    {
        using var rsa = RSA.Create();
        rsa.ImportSubjectPublicKeyInfo(publicKey, out _);
        return rsa.VerifyHash(digest, signature, HashAlgorithmName.SHA256, padding);
    }

    private static bool VerifiesEcdsa(byte[] publicKey, byte[] digest, byte[] signature)
    {
        using var ecdsa = ECDsa.Create();
        ecdsa.ImportSubjectPublicKeyInfo(publicKey, out _);
        return ecdsa.VerifyHash(digest, signature, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }

    private static bool IsAway(CKR result) => result is CKR.CKR_DEVICE_ERROR or CKR.CKR_DEVICE_MEMORY or CKR.CKR_DEVICE_REMOVED
        or CKR.CKR_TOKEN_NOT_PRESENT or CKR.CKR_SESSION_CLOSED or CKR.CKR_SESSION_HANDLE_INVALID or CKR.CKR_USER_NOT_LOGGED_IN
        or CKR.CKR_HOST_MEMORY or CKR.CKR_CRYPTOKI_NOT_INITIALIZED;
}
