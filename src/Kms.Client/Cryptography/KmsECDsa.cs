using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kms.Client.Protocol;

namespace Kms.Client.Cryptography;

/// <summary>
/// An <c>ECDSA-P256</c> key of the daemon as .NET's <see cref="ECDsa"/>: certificate requests, CMS, JWT and TLS code signs with
/// it without knowing where it is. The private key never leaves the daemon; verification happens here. Where .NET would copy a
/// private key, as <c>CertificateRequest.CreateSelfSigned</c> does, use <c>CertificateRequest.Create</c> with
/// <c>X509SignatureGenerator.CreateForECDsa</c>, and <see cref="BindTo"/> for TLS.
/// </summary>
/// <remarks>
/// <para>SHA-256 digests only. It stands for one version of the key. The daemon signs with the newest version only: after a
/// rotation <see cref="SignHash"/> throws until the key is opened again, rather than give a signature that the public key here
/// doesn't verify. So a certificate has to be renewed before its key rotates.</para>
/// <para>The methods block while the daemon works; failures are <see cref="CryptographicException"/>s with the client's
/// exception inside. Disposing it doesn't dispose the client.</para>
/// </remarks>
public sealed class KmsECDsa : ECDsa
{
    private const int Bits = 256;

    private readonly RemoteKey _remote;
    private readonly ECDsa _public;

    private KmsECDsa(RemoteKey remote, string publicKey)
    {
        _remote = remote;
        KeySizeValue = Bits;
        LegalKeySizesValue = [new KeySizes(Bits, Bits, 0)];
        _public = ECDsa.Create();
        _public.ImportFromPem(publicKey);
    }

    /// <summary>The key's tag.</summary>
    public KeyTag Tag => _remote.Tag;

    /// <summary>The version that it stands for.</summary>
    public long KeyVersion => _remote.Version;

    /// <summary>Opens a key: reads its public key.</summary>
    /// <param name="client">The daemon's client; it must live as long as the result and the certificates bound to it.</param>
    /// <param name="key">A tag, <c>store/name</c>, or the name of a key in the store <c>default</c>.</param>
    /// <param name="version">Default: the newest, which signs; an older one verifies only.</param>
    /// <param name="timeout">How long a blocking method waits for the daemon; default 30 seconds.</param>
    /// <param name="cancellationToken">Ends it early.</param>
    /// <exception cref="ArgumentException">The key isn't an ECDSA key.</exception>
    /// <exception cref="CryptographicException">The daemon's public key can't be read.</exception>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    public static async Task<KmsECDsa> OpenAsync(
        KmsClient client, string key, long? version = null, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        (RemoteKey remote, string publicKey) = await RemoteKey.FindAsync(
            client, key, KeyType.EcdsaP256, version, timeout, cancellationToken).ConfigureAwait(false);
        return new KmsECDsa(remote, publicKey);
    }

    /// <summary>Signs a SHA-256 digest; the signature is in the form of IEEE P1363.</summary>
    /// <param name="hash">32 bytes.</param>
    /// <exception cref="CryptographicException">Another hash's digest, the key has rotated, or the daemon refused.</exception>
    public override byte[] SignHash(byte[] hash)
    {
        ArgumentNullException.ThrowIfNull(hash);
        return _remote.Sign(hash, Protocol.SignatureAlgorithm.EcdsaSha256, SignatureEncoding.P1363);
    }

    /// <inheritdoc/>
    public override bool VerifyHash(byte[] hash, byte[] signature) => _public.VerifyHash(hash, signature);

    /// <inheritdoc/>
    /// <exception cref="CryptographicException">The private key was asked for: it never leaves the daemon.</exception>
    public override ECParameters ExportParameters(bool includePrivateParameters) =>
        includePrivateParameters ? throw NoPrivateKey() : _public.ExportParameters(false);

    /// <inheritdoc/>
    /// <exception cref="CryptographicException">The private key was asked for: it never leaves the daemon.</exception>
    public override ECParameters ExportExplicitParameters(bool includePrivateParameters) =>
        includePrivateParameters ? throw NoPrivateKey() : _public.ExportExplicitParameters(false);

    /// <summary>Not possible: the daemon makes its keys itself.</summary>
    /// <exception cref="NotSupportedException">Always.</exception>
    public override void ImportParameters(ECParameters parameters) =>
        throw new NotSupportedException("Keys can't be imported into kmsd.");

    /// <summary>Not possible: the daemon makes its keys itself.</summary>
    /// <exception cref="NotSupportedException">Always.</exception>
    public override void GenerateKey(ECCurve curve) =>
        throw new NotSupportedException("kmsd makes keys itself: use keys.create.");

    /// <summary>
    /// A copy of a certificate that signs with this key where .NET wants a private key of OpenSSL's own, as
    /// <see cref="System.Net.Security.SslStream"/> does (<c>CopyWithPrivateKey</c> would ask for the private key itself).
    /// </summary>
    /// <param name="certificate">A certificate of this key.</param>
    /// <returns>The copy; the caller disposes of it.</returns>
    /// <exception cref="ArgumentException">The certificate is another key's.</exception>
    /// <exception cref="CryptographicException">OpenSSL refused.</exception>
    /// <exception cref="PlatformNotSupportedException">.NET uses another OpenSSL here than version 3.</exception>
    public X509Certificate2 BindTo(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        using SafeEvpPKeyHandle handle = OpenSslKey.Make(_remote, _public.ExportSubjectPublicKeyInfo());
        using var key = new ECDsaOpenSsl(handle);
        return certificate.CopyWithPrivateKey(key);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _public.Dispose();
        }

        base.Dispose(disposing);
    }

    private static CryptographicException NoPrivateKey() => new("The private key never leaves kmsd.");
}
