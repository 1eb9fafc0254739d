using Kms.Client.Protocol;

namespace Kmsd.Tests.Keys;

/// <summary>A public key is used, and handed out, once it was seen to belong to its private key.</summary>
public sealed class PublicKeyProofTests
{
    private static readonly byte[] s_digest = new byte[32];

    [Theory]
    [InlineData(KeyType.Rsa2048, KeyProtection.Software)]
    [InlineData(KeyType.EcdsaP256, KeyProtection.Software)]
    [InlineData(KeyType.Rsa2048, KeyProtection.Hsm)]
    [InlineData(KeyType.EcdsaP256, KeyProtection.Hsm)]
    public async Task It_is_proven_once_after_a_start_and_then_needs_no_token(KeyType type, KeyProtection protection)
    {
        await using Daemon daemon = await MakeAsync(type, protection);
        string signature = await SignAsync(daemon);
        await daemon.RestartAsync();
        daemon.Root.IsAway = true;
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => GetPublicKeyAsync(daemon));
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => VerifyAsync(daemon, signature));
        daemon.Root.IsAway = false;
        string publicKey = await GetPublicKeyAsync(daemon);
        daemon.Root.IsAway = true;
        Assert.Equal(publicKey, await GetPublicKeyAsync(daemon));
        Assert.True(await VerifyAsync(daemon, signature));
    }

    [Theory]
    [InlineData(KeyProtection.Software)]
    [InlineData(KeyProtection.Hsm)]
    public async Task That_of_a_disabled_key_is_handed_out_and_nothing_stays_open(KeyProtection protection)
    {
        await using Daemon daemon = await MakeAsync(KeyType.EcdsaP256, protection);
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "pair" }, CancellationToken.None);
        await daemon.RestartAsync();
        _ = await GetPublicKeyAsync(daemon);
        Assert.Equal(0, daemon.Cache.Count);
        Assert.All(daemon.Root.Opened, opened => Assert.Throws<ObjectDisposedException>(() => opened.Open().Dispose()));
    }

    private static async Task<Daemon> MakeAsync(KeyType type, KeyProtection protection)
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync(Daemon.Manager, new CreateKeyRequest
        {
            Name = "pair",
            Type = type,
            Protection = protection,
            Grants = [new GrantInput { Principal = "uid:1000", Role = KeyRole.EncryptorDecryptor }],
        });
        return daemon;
    }

    private static async Task<string> GetPublicKeyAsync(Daemon daemon) => (await daemon.Operations.GetPublicKey.RunAsync(
        Daemon.Manager, new GetPublicKeyRequest { Key = "pair" }, CancellationToken.None)).PublicKey;

    private static async Task<string> SignAsync(Daemon daemon) => (await daemon.Operations.Sign.RunAsync(
        Daemon.Manager, new SignRequest { Key = "pair", Digest = s_digest }, CancellationToken.None)).Signature;

    private static async Task<bool> VerifyAsync(Daemon daemon, string signature) => (await daemon.Operations.Verify.RunAsync(
        Daemon.Manager, new VerifyRequest { Key = "pair", Digest = s_digest, Signature = signature }, CancellationToken.None)).Valid;
}
