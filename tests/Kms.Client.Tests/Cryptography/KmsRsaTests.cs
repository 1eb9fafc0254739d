using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kms.Client.Cryptography;
using Kms.Client.Protocol;

namespace Kms.Client.Tests.Cryptography;

public sealed class KmsRsaTests : IAsyncDisposable
{
    private readonly RealKeys _keys = new();
    private readonly KmsClient _client;

    public KmsRsaTests() => _client = new KmsClient(_keys.Daemon.Path);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private Task<KmsRsa> OpenAsync() => KmsRsa.OpenAsync(_client, "rsa", cancellationToken: Stop);

    public async ValueTask DisposeAsync()
    {
        await _client.DisposeAsync();
        await _keys.DisposeAsync();
    }

    public static TheoryData<RSASignaturePadding> Paddings => [RSASignaturePadding.Pss, RSASignaturePadding.Pkcs1];

    [Theory]
    [MemberData(nameof(Paddings))]
    public async Task Anyone_verifies_what_it_signs(RSASignaturePadding padding)
    {
        using KmsRsa rsa = await OpenAsync();
        byte[] signature = rsa.SignData("message"u8.ToArray(), HashAlgorithmName.SHA256, padding);
        Assert.True(_keys.Rsa.VerifyData("message"u8, signature, HashAlgorithmName.SHA256, padding));
        Assert.True(rsa.VerifyData("message"u8, signature, HashAlgorithmName.SHA256, padding));
        Assert.False(rsa.VerifyData("massage"u8, signature, HashAlgorithmName.SHA256, padding));
        FakeCall sign = Assert.Single(_keys.Daemon.Received, call => call.Method == "crypto.sign");
        Assert.Equal(RealKeys.RsaTag, sign.Text("key"));
        Assert.False(sign.Params.TryGetProperty("encoding", out _));
    }

    [Fact]
    public async Task What_is_encrypted_here_the_daemon_decrypts()
    {
        using KmsRsa rsa = await OpenAsync();
        byte[] sealedHere = rsa.Encrypt(new byte[Limits.RsaPlaintextBytes], RSAEncryptionPadding.OaepSHA256);
        Assert.Equal(new byte[Limits.RsaPlaintextBytes], rsa.Decrypt(sealedHere, RSAEncryptionPadding.OaepSHA256));
        Assert.StartsWith("kms:v7:", _keys.Daemon.Received.Last().Text("ciphertext"), StringComparison.Ordinal);
        Assert.ThrowsAny<CryptographicException>(
            () => rsa.Encrypt(new byte[Limits.RsaPlaintextBytes + 1], RSAEncryptionPadding.OaepSHA256));
    }

    [Fact]
    public async Task A_refusal_is_a_CryptographicException_with_its_cause()
    {
        using KmsRsa rsa = await OpenAsync();
        CryptographicException refusal = Assert.Throws<CryptographicException>(
            () => rsa.Decrypt(new byte[256], RSAEncryptionPadding.OaepSHA256));
        Assert.Equal(KmsErrorCode.InvalidCiphertext, Assert.IsType<KmsException>(refusal.InnerException).Code);
    }

    [Fact]
    public async Task After_a_rotation_it_decrypts_but_signs_nothing_that_its_public_key_would_not_verify()
    {
        using KmsRsa rsa = await OpenAsync();
        byte[] before = rsa.Encrypt([1, 2], RSAEncryptionPadding.OaepSHA256);
        _keys.Version = 8;
        CryptographicException refusal = Assert.Throws<CryptographicException>(
            () => rsa.SignData([1], HashAlgorithmName.SHA256, RSASignaturePadding.Pss));
        Assert.Contains("rotated", refusal.Message, StringComparison.Ordinal);
        Assert.Equal([1, 2], rsa.Decrypt(before, RSAEncryptionPadding.OaepSHA256));
        using KmsRsa again = await OpenAsync();
        Assert.Equal(8, again.KeyVersion);
        Assert.Equal(256, again.SignData([1], HashAlgorithmName.SHA256, RSASignaturePadding.Pss).Length);
    }

    [Fact]
    public async Task What_the_daemon_does_not_offer_is_refused_without_asking_it()
    {
        using KmsRsa rsa = await OpenAsync();
        int asked = _keys.Daemon.Received.Count;
        Assert.Throws<CryptographicException>(() => rsa.SignData([1], HashAlgorithmName.SHA512, RSASignaturePadding.Pss));
        Assert.Throws<CryptographicException>(() => rsa.SignHash(new byte[31], HashAlgorithmName.SHA256, RSASignaturePadding.Pss));
        Assert.Throws<CryptographicException>(() => rsa.Decrypt(new byte[256], RSAEncryptionPadding.Pkcs1));
        Assert.Throws<CryptographicException>(() => rsa.Encrypt(new byte[1], RSAEncryptionPadding.OaepSHA1));
        Assert.Throws<CryptographicException>(() => rsa.ExportParameters(true));
        Assert.Throws<CryptographicException>(rsa.ExportPkcs8PrivateKey);
        Assert.Throws<NotSupportedException>(() => rsa.ImportParameters(default));
        Assert.Throws<NotSupportedException>(() => rsa.ImportFromPem(_keys.Rsa.ExportSubjectPublicKeyInfoPem()));
        Assert.Equal(asked, _keys.Daemon.Received.Count);
    }

    [Fact]
    public async Task A_key_of_another_type_does_not_open() =>
        await Assert.ThrowsAsync<ArgumentException>(() => KmsRsa.OpenAsync(_client, "ec", cancellationToken: Stop));

    [Theory]
    [MemberData(nameof(Paddings))]
    public async Task It_signs_a_certificate_that_NET_and_openssl_verify(RSASignaturePadding padding)
    {
        using KmsRsa rsa = await OpenAsync();
        var request = new CertificateRequest("CN=kms.test", rsa, HashAlgorithmName.SHA256, padding);
        using X509Certificate2 certificate = Certificates.SelfSign(request, X509SignatureGenerator.CreateForRSA(rsa, padding));
        Certificates.AssertSelfSigned(certificate);
        await Certificates.AssertOpenSslVerifiesAsync(certificate, Stop);
    }

    [Fact]
    public async Task A_caller_with_a_context_of_one_thread_does_not_hang()
    {
        using KmsRsa rsa = await OpenAsync();
        SynchronizationContext? before = SynchronizationContext.Current;
        try
        {
            SynchronizationContext.SetSynchronizationContext(new NeverRuns());
            Assert.Equal(256, rsa.SignData([1], HashAlgorithmName.SHA256, RSASignaturePadding.Pss).Length);
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(before);
        }
    }

    [Fact]
    public async Task A_daemon_that_says_nothing_is_given_up()
    {
        await using var silent = new FakeDaemon(async call =>
        {
            if (call.Method == "crypto.sign")
            {
                await Task.Delay(Timeout.Infinite, Stop);
            }

            return await _keys.Daemon.Answer(call);
        });
        await using var client = new KmsClient(silent.Path);
        using KmsRsa rsa = await KmsRsa.OpenAsync(client, "rsa", timeout: TimeSpan.FromMilliseconds(300), cancellationToken: Stop);
        CryptographicException exception = Assert.Throws<CryptographicException>(
            () => rsa.SignData([1], HashAlgorithmName.SHA256, RSASignaturePadding.Pss));
        Assert.IsAssignableFrom<OperationCanceledException>(exception.InnerException);
    }

    /// <summary>The context of a user interface whose only thread is blocked.</summary>
    private sealed class NeverRuns : SynchronizationContext
    {
        public override void Post(SendOrPostCallback d, object? state)
        {
        }
    }
}
