namespace Kms.Hsm;

/// <summary>What a key in the token is for.</summary>
public enum TokenKeyType
{
    /// <summary>None; never made.</summary>
    None = 0,

    /// <summary>AES-256-GCM: encrypts and decrypts.</summary>
    Aes256,

    /// <summary>RSA with 2048 bits: decrypts (raw) and signs.</summary>
    Rsa2048,

    /// <summary>ECDSA on P-256: signs.</summary>
    EcdsaP256,
}

/// <summary>A key as it is kept outside the token. Nothing in it is secret.</summary>
/// <param name="Blob">The key under the wrap key.</param>
/// <param name="Mechanism">How it was wrapped; without it the blob can't be opened.</param>
/// <param name="PublicKey">SubjectPublicKeyInfo DER; null for a secret key.</param>
public sealed record WrappedKey(byte[] Blob, string Mechanism, byte[]? PublicKey);
