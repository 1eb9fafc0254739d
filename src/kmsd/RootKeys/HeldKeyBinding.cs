using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;

namespace Kmsd.RootKeys;

/// <summary>
/// Ties a key in the token to what it belongs to, since key wrap takes no additional data: the key itself vouches for the
/// fields. AES: the GCM nonce and tag of an empty text with the fields as additional data. RSA: PSS; ECDSA: r ‖ s; both over
/// the fields' SHA-256.
/// </summary>
internal static class HeldKeyBinding
{
    public static byte[] Make(TokenKey key, byte[] fields) =>
        key.Type == TokenKeyType.Aes256 ? key.Encrypt([], fields) : Sign(key, fields);

    /// <exception cref="SealedBlobException">The key that was unwrapped isn't the one that the fields and the public key belong to.</exception>
    public static void Check(TokenKey key, byte[]? binding, byte[]? publicKey, byte[] fields)
    {
        if (key.Type == TokenKeyType.Aes256)
        {
            key.Decrypt(binding ?? [], fields, []);
            return;
        }

        // The stored signature ties the public key to the fields; the fresh one ties the unwrapped key to the public key.
        if (binding is null || publicKey is null || !Verifies(key.Type, publicKey, fields, binding)
            || !Verifies(key.Type, publicKey, fields, Sign(key, fields)))
        {
            throw new SealedBlobException();
        }
    }

    public static TokenKeyType TypeOf(KeyType type) => type switch
    {
        KeyType.Aes256Gcm96 => TokenKeyType.Aes256,
        KeyType.Rsa2048 => TokenKeyType.Rsa2048,
        KeyType.EcdsaP256 => TokenKeyType.EcdsaP256,
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };

    private static byte[] Sign(TokenKey key, byte[] fields)
    {
        byte[] digest = SHA256.HashData(fields);
        return key.Type == TokenKeyType.Rsa2048 ? key.SignPss(digest) : key.SignEcdsa(digest);
    }

    private static bool Verifies(TokenKeyType type, byte[] publicKey, byte[] fields, byte[] signature)
    {
        if (type == TokenKeyType.Rsa2048)
        {
            using var rsa = RSA.Create();
            return TryImport(() => rsa.ImportSubjectPublicKeyInfo(publicKey, out _))
                && rsa.VerifyData(fields, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pss);
        }

        using var ecdsa = ECDsa.Create();
        return TryImport(() => ecdsa.ImportSubjectPublicKeyInfo(publicKey, out _))
            && ecdsa.VerifyData(fields, signature, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }

    /// <summary>A public key of another type belongs to another key.</summary>
    private static bool TryImport(Action import)
    {
        try
        {
            import();
            return true;
        }
        catch (CryptographicException)
        {
            return false;
        }
    }
}
