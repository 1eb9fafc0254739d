using Kms.Client.Protocol;
using Kms.Hsm;

namespace Kmsd.RootKeys;

/// <summary>A key in a PKCS#11 token, used through the root key's calls: bounded in number and in time.</summary>
/// <param name="root">Whose calls it uses.</param>
/// <param name="key">Taken over.</param>
internal sealed class HsmHeldKey(HsmRootKey root, TokenKey key) : HeldKey
{
    public override bool IsLost => key.IsLost;

    public override Task<byte[]> EncryptAsync(SensitiveBytes plaintext, byte[] additionalData, CancellationToken cancellationToken) =>
        root.CallAsync(TokenCall.Encrypt, () => key.Encrypt(plaintext.AsSpan(), additionalData), cancellationToken);

    public override Task<SensitiveBytes?> DecryptAsync(byte[] payload, byte[] additionalData, CancellationToken cancellationToken) =>
        root.CallAsync(TokenCall.Decrypt, () => Decrypt(payload, additionalData), cancellationToken);

    public override Task<SensitiveBytes?> DecryptRawAsync(byte[] payload, CancellationToken cancellationToken) =>
        root.CallAsync(TokenCall.Decrypt, () => DecryptRaw(payload), cancellationToken);

    public override Task<byte[]> SignAsync(byte[] digest, SignatureAlgorithm algorithm, CancellationToken cancellationToken) =>
        root.CallAsync(TokenCall.Sign, () => Sign(key, digest, algorithm), cancellationToken);

    /// <summary>Inside a call already.</summary>
    public static byte[] Sign(TokenKey key, ReadOnlySpan<byte> digest, SignatureAlgorithm algorithm) => algorithm switch
    {
        SignatureAlgorithm.RsaPssSha256 => key.SignPss(digest),
        SignatureAlgorithm.RsaPkcs1Sha256 => key.SignPkcs1(digest),
        SignatureAlgorithm.EcdsaSha256 => key.SignEcdsa(digest),
        _ => throw new ArgumentOutOfRangeException(nameof(algorithm)),
    };

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
#pragma warning disable IDISP007 // The constructor takes it over.
            key.Dispose();
#pragma warning restore IDISP007
        }
    }

    private SensitiveBytes? Decrypt(byte[] payload, byte[] additionalData) =>
        Open(payload.Length - MaterialBinding.GcmOverhead, plaintext => key.Decrypt(payload, additionalData, plaintext));

    private SensitiveBytes? DecryptRaw(byte[] payload) => Open(payload.Length, encoded => key.DecryptRaw(payload, encoded));

    /// <summary>Null where the token finds that the text isn't this key's.</summary>
    private static SensitiveBytes? Open(int length, Action<Span<byte>> open)
    {
        SensitiveBytes opened = new(length);
        try
        {
            open(opened.AsSpan());
            return opened;
        }
        catch (SealedBlobException)
        {
            opened.Dispose();
            return null;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }
}
