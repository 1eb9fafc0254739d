using System.Security.Cryptography;

namespace Kms.Client.Tests.Cryptography;

/// <summary>A fake daemon with one real RSA key ("rsa") and one real ECDSA key ("ec"), which a test may rotate.</summary>
internal sealed class RealKeys : IAsyncDisposable
{
    public const string RsaTag = "000102030405060708090a0b0c0d0e0f";
    public const string EcTag = "f0e0d0c0b0a090807060504030201000";

    public RealKeys() => Daemon = new FakeDaemon(Answer);

    public FakeDaemon Daemon { get; }

    public RSA Rsa { get; } = RSA.Create(2048);

    public ECDsa Ec { get; } = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>The version that signs.</summary>
    public int Version { get; set; } = 7;

    public async ValueTask DisposeAsync()
    {
        await Daemon.DisposeAsync();
        Rsa.Dispose();
        Ec.Dispose();
    }

    private string? Answer(FakeCall call)
    {
        bool isRsa = call.Text("key") is "rsa" or RsaTag;
        return call.Method switch
        {
            "keys.get" => FakeDaemon.Result(call, Describe(isRsa)),
            "keys.getPublicKey" => FakeDaemon.Result(call, PublicKey(call, isRsa)),
            "crypto.sign" => FakeDaemon.Result(call, Sign(call, isRsa)),
            "crypto.decrypt" => Decrypt(call),
            _ => null,
        };
    }

    private string Describe(bool isRsa) =>
        $$"""
        {"tag":"{{(isRsa ? RsaTag : EcTag)}}","name":"k","store":"default","type":"{{(isRsa ? "RSA-2048" : "ECDSA-P256")}}",
        "protection":"software","state":"enabled","memo":"","currentVersion":{{Version}},"createdAt":"2026-11-23T05:42:00.000Z",
        "stateChangedAt":"2026-11-23T05:42:00.000Z","rotationPeriodDays":90,"nextRotationAt":"2027-02-21T05:42:00.000Z",
        "usageCount":3,"myRoles":["encryptor"]}
        """.ReplaceLineEndings(string.Empty);

    private string PublicKey(FakeCall call, bool isRsa)
    {
        string pem = isRsa ? Rsa.ExportSubjectPublicKeyInfoPem() : Ec.ExportSubjectPublicKeyInfoPem();
        long version = call.Params.TryGetProperty("version", out System.Text.Json.JsonElement asked) ? asked.GetInt64() : Version;
        return $$"""{"publicKey":"{{pem.Replace("\n", "\\n", StringComparison.Ordinal)}}\n","keyVersion":{{version}}}""";
    }

    private string Sign(FakeCall call, bool isRsa)
    {
        byte[] digest = Convert.FromBase64String(call.Text("digest"));
        string algorithm = call.Text("algorithm");
        byte[] signature = isRsa
            ? Rsa.SignHash(
                digest, HashAlgorithmName.SHA256,
                algorithm == "RSA_PSS_SHA_256" ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1)
            : Ec.SignHash(
                digest,
                call.Text("encoding") == "der" ? DSASignatureFormat.Rfc3279DerSequence : DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        return $$"""
            {"signature":"kms:v{{Version}}:{{Convert.ToBase64String(signature)}}","keyVersion":{{Version}},"algorithm":"{{algorithm}}"}
            """;
    }

    private string Decrypt(FakeCall call)
    {
        string[] parts = call.Text("ciphertext").Split(':');
        try
        {
            byte[] plaintext = Rsa.Decrypt(Convert.FromBase64String(parts[2]), RSAEncryptionPadding.OaepSHA256);
            return FakeDaemon.Result(
                call, $$"""{"plaintext":"{{Convert.ToBase64String(plaintext)}}","keyVersion":{{parts[1][1..]}}}""");
        }
        catch (CryptographicException)
        {
            return FakeDaemon.Error(call, """{"code":6,"message":"It doesn't decrypt.","data":{"reason":"invalidCiphertext"}}""");
        }
    }
}
