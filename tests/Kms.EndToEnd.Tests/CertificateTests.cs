using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Kms.Client;
using Kms.Client.Cryptography;
using Kms.Client.Tests.Cryptography;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Certificates and TLS with keys that stay in the daemon, or in its token: .NET on this side, the openssl command on the other.</summary>
public sealed class CertificateTests(ServingFixture serving) : IClassFixture<ServingFixture>
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("software")]
    [InlineData("hsm")]
    public async Task An_ECDSA_key_signs_a_certificate_and_a_request_that_NET_and_openssl_verify(string protection)
    {
        await using KmsClient client = new(serving.Host.Socket);
        using KmsECDsa ec = await KmsECDsa.OpenAsync(client, await MakeAsync("ECDSA-P256", protection), cancellationToken: Stop);
        CertificateRequest request = new("CN=kms.test", ec, HashAlgorithmName.SHA256);
        var generator = X509SignatureGenerator.CreateForECDsa(ec);
        using X509Certificate2 certificate = Certificates.SelfSign(request, generator);
        Certificates.AssertSelfSigned(certificate);
        await Certificates.AssertOpenSslVerifiesAsync(certificate, Stop);
        await AssertOpenSslVerifiesAsync(new CertificateRequest(request.SubjectName, request.PublicKey, HashAlgorithmName.SHA256), generator);
    }

    [Theory]
    [InlineData("software", "Pss")]
    [InlineData("software", "Pkcs1")]
    [InlineData("hsm", "Pss")]
    [InlineData("hsm", "Pkcs1")]
    public async Task An_RSA_key_signs_a_certificate_and_a_request_that_NET_and_openssl_verify(string protection, string scheme)
    {
        RSASignaturePadding padding = scheme == "Pss" ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1;
        await using KmsClient client = new(serving.Host.Socket);
        using KmsRsa rsa = await KmsRsa.OpenAsync(client, await MakeAsync("RSA-2048", protection), cancellationToken: Stop);
        CertificateRequest request = new("CN=kms.test", rsa, HashAlgorithmName.SHA256, padding);
        var generator = X509SignatureGenerator.CreateForRSA(rsa, padding);
        using X509Certificate2 certificate = Certificates.SelfSign(request, generator);
        Certificates.AssertSelfSigned(certificate);
        await Certificates.AssertOpenSslVerifiesAsync(certificate, Stop);
        await AssertOpenSslVerifiesAsync(new CertificateRequest(request.SubjectName, request.PublicKey, HashAlgorithmName.SHA256, padding), generator);
    }

    [Theory]
    [InlineData("software", SslProtocols.Tls12)]
    [InlineData("software", SslProtocols.Tls13)]
    [InlineData("hsm", SslProtocols.Tls12)]
    [InlineData("hsm", SslProtocols.Tls13)]
    public async Task A_TLS_server_signs_each_handshake_in_the_daemon(string protection, SslProtocols protocol)
    {
        string name = await MakeAsync("ECDSA-P256", protection);
        await using KmsClient client = new(serving.Host.Socket);
        using KmsECDsa ec = await KmsECDsa.OpenAsync(client, name, cancellationToken: Stop);
        using X509Certificate2 certificate = SelfSign(ec);
        using X509Certificate2 bound = ec.BindTo(certificate);
        long before = await UsesAsync(name);
        Assert.Equal("hello", await Tls.TalkAsync(bound, certificate, protocol, Stop));
        Assert.Equal(before + 1, await UsesAsync(name));
        Assert.Equal("hello", await Tls.TalkAsync(bound, certificate, protocol, Stop));
        Assert.Equal(before + 2, await UsesAsync(name));

        // A key that is disabled ends the handshakes, and no longer than it is.
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.ResultAsync("keys.disable", $$"""{"key":"{{name}}"}""");
        await Assert.ThrowsAnyAsync<Exception>(() => Tls.TalkAsync(bound, certificate, protocol, Stop));
        _ = await wire.ResultAsync("keys.enable", $$"""{"key":"{{name}}"}""");
        Assert.Equal("hello", await Tls.TalkAsync(bound, certificate, protocol, Stop));
    }

    [Theory]
    [InlineData("software", "-tls1_2")]
    [InlineData("software", "-tls1_3")]
    [InlineData("hsm", "-tls1_2")]
    [InlineData("hsm", "-tls1_3")]
    public async Task The_openssl_command_shakes_hands_with_it(string protection, string protocol)
    {
        string name = await MakeAsync("ECDSA-P256", protection);
        await using KmsClient client = new(serving.Host.Socket);
        using KmsECDsa ec = await KmsECDsa.OpenAsync(client, name, cancellationToken: Stop);
        using X509Certificate2 certificate = SelfSign(ec);
        using X509Certificate2 bound = ec.BindTo(certificate);
        string trusted = Path.Combine(serving.Host.Path, name + ".pem");
        await File.WriteAllTextAsync(trusted, certificate.ExportCertificatePem(), Stop);
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        Task serve = ServeOnceAsync(listener, bound);
        string port = ((IPEndPoint)listener.LocalEndpoint).Port.ToString(CultureInfo.InvariantCulture);
        Finished finished = await Shell.RunAsync(
            "openssl", ["s_client", "-connect", "127.0.0.1:" + port, "-servername", "kms.test", "-CAfile", trusted, "-verify_return_error", protocol, "-quiet"], []);
        await serve;
        Assert.True(finished.ExitCode == 0 && finished.Output.Contains("hello", StringComparison.Ordinal), finished.Output + finished.Error);
    }

    private static async Task ServeOnceAsync(TcpListener listener, X509Certificate2 certificate)
    {
        using TcpClient called = await listener.AcceptTcpClientAsync(Stop);
        await using SslStream stream = new(called.GetStream());
        await stream.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = certificate }, Stop);
        await stream.WriteAsync("hello"u8.ToArray(), Stop);
        await stream.ShutdownAsync();
    }

    /// <summary>A certificate request (PKCS#10), which is signed by the key that it is for.</summary>
    private async Task AssertOpenSslVerifiesAsync(CertificateRequest request, X509SignatureGenerator generator)
    {
        string path = Path.Combine(serving.Host.Path, Guid.NewGuid().ToString("N"));
        byte[] made = request.CreateSigningRequest(generator);
        File.WriteAllText(path, PemEncoding.WriteString("CERTIFICATE REQUEST", made));

        // Whose exit code says nothing of the signature before OpenSSL 3.4.
        Finished good = await Shell.RunAsync("openssl", "req", "-in", path, "-verify", "-noout");
        Assert.Contains("verify OK", good.Output + good.Error, StringComparison.Ordinal);
        made[^1] ^= 1;
        File.WriteAllText(path, PemEncoding.WriteString("CERTIFICATE REQUEST", made));
        Finished bad = await Shell.RunAsync("openssl", "req", "-in", path, "-verify", "-noout");
        Assert.DoesNotContain("verify OK", bad.Output + bad.Error, StringComparison.Ordinal);
    }

    private static X509Certificate2 SelfSign(KmsECDsa ec) => Certificates.SelfSign(
        new CertificateRequest("CN=kms.test", ec, HashAlgorithmName.SHA256), X509SignatureGenerator.CreateForECDsa(ec));

    private async Task<string> MakeAsync(string type, string protection)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string name = "k" + Guid.NewGuid().ToString("N");
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        _ = await wire.ResultAsync(
            "keys.create", $$$"""{"name":"{{{name}}}","type":"{{{type}}}","protection":"{{{protection}}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
        return name;
    }

    private async Task<long> UsesAsync(string name)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        JsonElement key = await wire.ResultAsync("keys.get", $$"""{"key":"{{name}}"}""");
        return key.GetProperty("usageCount").GetInt64();
    }
}
