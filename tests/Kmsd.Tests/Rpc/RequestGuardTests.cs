using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Rpc;
using Kmsd.Storage;

namespace Kmsd.Tests.Rpc;

public sealed class RequestGuardTests
{
    private static readonly Caller s_user = Daemon.Uid(2000);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Making an RSA key takes a tenth of a second: what was sent before it would wait for as long.</summary>
    [Theory]
    [InlineData("crypto.sign", KeyType.Rsa2048, true)]
    [InlineData("keys.rotate", KeyType.Rsa2048, true)]
    [InlineData("crypto.sign", KeyType.EcdsaP256, false)]
    public async Task What_came_together_with_something_long_is_answered_before_that_begins(string method, KeyType type, bool isLong)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = await daemon.Operations.CreateKey.RunAsync(Daemon.Manager, new CreateKeyRequest { Name = "key-2", Type = type }, Cancellation);
        _ = await daemon.EncryptAsync(s_user, "key-1"); // From here on its material is at hand: an encryption waits for its record alone.
        using SensitiveBytes text = new(new byte[3].AsSpan());
        Assert.Equal(isLong, IsAnsweredBefore(daemon, text, method));
    }

    /// <summary>On one thread from the burst's beginning to its end, as the requests of a connection.</summary>
    private static bool IsAnsweredBefore(Daemon daemon, SensitiveBytes text, string method)
    {
        RequestGuard guard = new(
            s_user, new CallerShares(4, 4, daemon.Clock).Join(s_user), new CostLimiter(0, 1, daemon.Clock), daemon.Catalogue, daemon.Refusals, daemon.Requests);
        EncryptRequest encryption = new() { Key = "key-1", Plaintext = text };
        Lines burst = new(daemon.Writer);
        burst.Open();
        Task encrypting = guard.RunAsync("crypto.encrypt", encryption, () => daemon.Operations.Encrypt.RunAsync(s_user, encryption, Cancellation));
        Assert.False(encrypting.IsCompleted);
        bool isAnswered = false;
        _ = guard.RunAsync(method, new KeyRequest { Key = "key-2" }, () => isAnswered = encrypting.IsCompletedSuccessfully);
        burst.Close();
        Assert.True(encrypting.IsCompletedSuccessfully);
        return isAnswered;
    }

    private sealed class Lines(Writer writer) : Burst(writer)
    {
        protected override void BeginAnswers()
        {
        }

        protected override void EndAnswers()
        {
        }
    }
}
