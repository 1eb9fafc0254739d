using System.Security.Cryptography;
using Kms.Hsm.Native;

namespace Kms.Hsm;

/// <summary>
/// Shows that a key which was wrapped and unwrapped is the one that was made: before its blob is all that is left of it.
/// </summary>
internal sealed class TokenKeyProof(TokenKeyType type) : IDisposable
{
    private readonly CallBuffer _challenge = new(RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes));
    private byte[] _answer = [];

    public TokenKeyType Type => type;

    /// <summary>By the key that was made.</summary>
    public void Take(Module module, ulong session, ulong key, byte[]? publicKey) =>
        _answer = publicKey ?? TokenKeyOperations.EncryptGcm(module, session, key, _challenge, []);

    /// <summary>By the key that was unwrapped.</summary>
    /// <exception cref="TokenException">It is another.</exception>
    public void Check(TokenKey key)
    {
        byte[] digest = _challenge.Span.ToArray();
        bool isTheOne = type switch
        {
            TokenKeyType.Aes256 => Opens(key),
            TokenKeyType.Rsa2048 => VerifiesRsa(digest, key.SignPss(digest)),
            _ => VerifiesEcdsa(digest, key.SignEcdsa(digest)),
        };
        if (!isTheOne)
        {
            throw new TokenException(TokenFault.Unsupported, "The token unwraps another key than the one it wrapped.");
        }
    }

    public void Dispose() => _challenge.Dispose();

    private bool Opens(TokenKey key)
    {
        Span<byte> opened = stackalloc byte[SHA256.HashSizeInBytes];
        try
        {
            key.Decrypt(_answer, [], opened);
            return opened.SequenceEqual(_challenge.Span);
        }
        catch (SealedBlobException)
        {
            return false;
        }
    }

    private bool VerifiesRsa(byte[] digest, byte[] signature)
    {
        using var rsa = RSA.Create();
        rsa.ImportSubjectPublicKeyInfo(_answer, out _);
        return rsa.VerifyHash(digest, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pss);
    }

    private bool VerifiesEcdsa(byte[] digest, byte[] signature)
    {
        using var ecdsa = ECDsa.Create();
        ecdsa.ImportSubjectPublicKeyInfo(_answer, out _);
        return ecdsa.VerifyHash(digest, signature, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }
}
