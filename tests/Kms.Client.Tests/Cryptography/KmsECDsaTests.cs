using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kms.Client.Cryptography;

namespace Kms.Client.Tests.Cryptography;

public sealed class KmsECDsaTests : IAsyncDisposable
{
    private readonly RealKeys _keys = new();
    private readonly KmsClient _client;

    public KmsECDsaTests() => _client = new KmsClient(_keys.Daemon.Path);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _client.DisposeAsync();
        await _keys.DisposeAsync();
    }

    [Theory]
    [InlineData(DSASignatureFormat.IeeeP1363FixedFieldConcatenation)]
    [InlineData(DSASignatureFormat.Rfc3279DerSequence)]
    public async Task Anyone_verifies_what_it_signs(DSASignatureFormat format)
    {
        using KmsECDsa ec = await OpenAsync();
        byte[] signature = ec.SignData("message"u8.ToArray(), HashAlgorithmName.SHA256, format);
        Assert.True(_keys.Ec.VerifyData("message"u8, signature, HashAlgorithmName.SHA256, format));
        Assert.True(ec.VerifyData("message"u8, signature, HashAlgorithmName.SHA256, format));
        Assert.False(ec.VerifyData("massage"u8, signature, HashAlgorithmName.SHA256, format));
        Assert.Equal(RealKeys.EcTag, _keys.Daemon.Received.Last().Text("key"));
    }

    [Fact]
    public async Task What_the_daemon_does_not_offer_is_refused_without_asking_it()
    {
        using KmsECDsa ec = await OpenAsync();
        int asked = _keys.Daemon.Received.Count;
        Assert.Throws<CryptographicException>(() => ec.SignData([1], HashAlgorithmName.SHA384));
        Assert.Throws<CryptographicException>(() => ec.ExportParameters(true));
        Assert.Throws<CryptographicException>(() => ec.ExportExplicitParameters(true));
        Assert.Throws<CryptographicException>(ec.ExportPkcs8PrivateKey);
        Assert.Throws<NotSupportedException>(() => ec.ImportParameters(default));
        Assert.Throws<NotSupportedException>(() => ec.GenerateKey(ECCurve.NamedCurves.nistP256));
        Assert.Equal(asked, _keys.Daemon.Received.Count);
    }

    [Fact]
    public async Task A_key_of_another_type_does_not_open() =>
        await Assert.ThrowsAsync<ArgumentException>(() => KmsECDsa.OpenAsync(_client, "rsa", cancellationToken: Stop));

    [Fact]
    public async Task It_signs_a_certificate_that_NET_and_openssl_verify()
    {
        using KmsECDsa ec = await OpenAsync();
        using X509Certificate2 certificate = SelfSign(ec);
        Certificates.AssertSelfSigned(certificate);
        await Certificates.AssertOpenSslVerifiesAsync(certificate, Stop);
    }

    [Fact]
    public async Task A_certificate_of_another_key_is_not_bound()
    {
        using KmsECDsa ec = await OpenAsync();
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=kms.test", other, HashAlgorithmName.SHA256);
        using X509Certificate2 certificate = Certificates.SelfSign(request, X509SignatureGenerator.CreateForECDsa(other));
        Assert.Throws<ArgumentException>(() => ec.BindTo(certificate));
    }

    [Theory]
    [InlineData(SslProtocols.Tls12)]
    [InlineData(SslProtocols.Tls13)]
    public async Task A_TLS_server_signs_its_handshake_with_it(SslProtocols protocol)
    {
        using KmsECDsa ec = await OpenAsync();
        using X509Certificate2 certificate = SelfSign(ec);
        using X509Certificate2 bound = ec.BindTo(certificate);
        Assert.True(bound.HasPrivateKey);
        _keys.Daemon.Received.Clear();
        Assert.Equal("hello", await Tls.TalkAsync(bound, certificate, protocol, Stop));
        FakeCall sign = Assert.Single(_keys.Daemon.Received, call => call.Method == "crypto.sign");
        Assert.Equal("der", sign.Text("encoding"));
    }

    [Fact]
    public async Task The_bound_certificate_outlives_the_key_object_but_not_its_version()
    {
        KmsECDsa ec = await OpenAsync();
        using X509Certificate2 certificate = SelfSign(ec);
        using X509Certificate2 bound = ec.BindTo(certificate);
        ec.Dispose();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.Equal("hello", await Tls.TalkAsync(bound, certificate, SslProtocols.Tls13, Stop));
        _keys.Version++;
        await Assert.ThrowsAnyAsync<Exception>(() => Tls.TalkAsync(bound, certificate, SslProtocols.Tls13, Stop));
    }

    private Task<KmsECDsa> OpenAsync() => KmsECDsa.OpenAsync(_client, "ec", cancellationToken: Stop);

    private static X509Certificate2 SelfSign(KmsECDsa ec)
    {
        var request = new CertificateRequest("CN=kms.test", ec, HashAlgorithmName.SHA256);
        return Certificates.SelfSign(request, X509SignatureGenerator.CreateForECDsa(ec));
    }
}
