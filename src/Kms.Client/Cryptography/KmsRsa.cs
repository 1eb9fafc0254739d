using System.Security.Cryptography;
using Kms.Client.Protocol;

namespace Kms.Client.Cryptography;

/// <summary>
/// An <c>RSA-2048</c> key of the daemon as .NET's <see cref="RSA"/>: certificate requests, CMS and JWT code signs and decrypts
/// with it without knowing where it is. The private key never leaves the daemon; encryption and verification happen here. Where
/// .NET would copy a private key, as <c>CertificateRequest.CreateSelfSigned</c> does, use <c>CertificateRequest.Create</c> with
/// <c>X509SignatureGenerator.CreateForRSA</c>.
/// </summary>
/// <remarks>
/// <para>SHA-256 with PSS or PKCS #1 signatures, and OAEP with SHA-256: what the daemon offers, and nothing else.</para>
/// <para>It stands for one version of the key. The daemon signs with the newest version only: after a rotation
/// <see cref="SignHash"/> throws until the key is opened again, rather than give a signature that the public key here
/// doesn't verify. Decryption and verification go on.</para>
/// <para>Not for <see cref="System.Net.Security.SslStream"/> on Linux, which takes OpenSSL's own keys only, and signs with RSA
/// by an operation on whole blocks that the daemon doesn't offer: for TLS use an ECDSA key (<see cref="KmsECDsa.BindTo"/>).</para>
/// <para>The methods block while the daemon works; failures are <see cref="CryptographicException"/>s with the client's
/// exception inside. Disposing it doesn't dispose the client.</para>
/// </remarks>
public sealed class KmsRsa : RSA
{
    private const int Bits = 2048;

    private readonly RemoteKey _remote;
    private readonly RSA _public;

    private KmsRsa(RemoteKey remote, string publicKey)
    {
        _remote = remote;
        KeySizeValue = Bits;
        LegalKeySizesValue = [new KeySizes(Bits, Bits, 0)];
        _public = RSA.Create();
        _public.ImportFromPem(publicKey);
    }

    /// <summary>The key's tag.</summary>
    public KeyTag Tag => _remote.Tag;

    /// <summary>The version that it stands for.</summary>
    public long KeyVersion => _remote.Version;

    /// <summary>Opens a key: reads its public key.</summary>
    /// <param name="client">The daemon's client; it must live as long as the result.</param>
    /// <param name="key">A tag, <c>store/name</c>, or the name of a key in the store <c>default</c>.</param>
    /// <param name="version">Default: the newest, which signs; an older one decrypts and verifies only.</param>
    /// <param name="timeout">How long a blocking method waits for the daemon; default 30 seconds.</param>
    /// <param name="cancellationToken">Ends it early.</param>
    /// <exception cref="ArgumentException">The key isn't an RSA key.</exception>
    /// <exception cref="CryptographicException">The daemon's public key can't be read.</exception>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    public static async Task<KmsRsa> OpenAsync(
        KmsClient client, string key, long? version = null, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        (RemoteKey remote, string publicKey) = await RemoteKey.FindAsync(
            client, key, KeyType.Rsa2048, version, timeout, cancellationToken).ConfigureAwait(false);
        return new KmsRsa(remote, publicKey);
    }

    /// <inheritdoc/>
    /// <exception cref="CryptographicException">Another hash than SHA-256, the key has rotated, or the daemon refused.</exception>
    public override byte[] SignHash(byte[] hash, HashAlgorithmName hashAlgorithm, RSASignaturePadding padding)
    {
        ArgumentNullException.ThrowIfNull(hash);
        ArgumentNullException.ThrowIfNull(padding);
        if (hashAlgorithm != HashAlgorithmName.SHA256)
        {
            throw new CryptographicException($"kmsd signs with SHA-256, not with {hashAlgorithm}.");
        }

        return _remote.Sign(
            hash,
            padding == RSASignaturePadding.Pss ? Protocol.SignatureAlgorithm.RsaPssSha256 : Protocol.SignatureAlgorithm.RsaPkcs1Sha256,
            null);
    }

    /// <inheritdoc/>
    public override bool VerifyHash(byte[] hash, byte[] signature, HashAlgorithmName hashAlgorithm, RSASignaturePadding padding) =>
        _public.VerifyHash(hash, signature, hashAlgorithm, padding);

    /// <inheritdoc/>
    /// <exception cref="CryptographicException">Another padding than OAEP with SHA-256, it doesn't decrypt, or the daemon refused.</exception>
    public override byte[] Decrypt(byte[] data, RSAEncryptionPadding padding)
    {
        ArgumentNullException.ThrowIfNull(data);
        CheckPadding(padding);
        return _remote.Decrypt(data);
    }

    /// <inheritdoc/>
    /// <exception cref="CryptographicException">Another padding than OAEP with SHA-256, or more than 190 bytes.</exception>
    public override byte[] Encrypt(byte[] data, RSAEncryptionPadding padding)
    {
        CheckPadding(padding);
        return _public.Encrypt(data, padding);
    }

    /// <inheritdoc/>
    /// <exception cref="CryptographicException">The private key was asked for: it never leaves the daemon.</exception>
    public override RSAParameters ExportParameters(bool includePrivateParameters) =>
        includePrivateParameters
            ? throw new CryptographicException("The private key never leaves kmsd.")
            : _public.ExportParameters(false);

    /// <summary>Not possible: the daemon makes its keys itself.</summary>
    /// <exception cref="NotSupportedException">Always.</exception>
    public override void ImportParameters(RSAParameters parameters) =>
        throw new NotSupportedException("Keys can't be imported into kmsd.");

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _public.Dispose();
        }

        base.Dispose(disposing);
    }

    private static void CheckPadding(RSAEncryptionPadding padding)
    {
        ArgumentNullException.ThrowIfNull(padding);
        if (padding != RSAEncryptionPadding.OaepSHA256)
        {
            throw new CryptographicException($"kmsd decrypts OAEP with SHA-256, not {padding}.");
        }
    }
}
