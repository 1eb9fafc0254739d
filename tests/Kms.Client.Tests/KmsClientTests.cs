using Kms.Client.Protocol;
using Kms.Client.Transport;

namespace Kms.Client.Tests;

public sealed class KmsClientTests
{
    private const string Key =
        """
        {"tag":"00112233445566778899aabbccddeeff","name":"mail","store":"default","type":"AES256-GCM96","protection":"software",
        "state":"enabled","memo":"","currentVersion":1,"createdAt":"2026-11-23T05:42:00.000Z","stateChangedAt":"2026-11-23T05:42:00.000Z",
        "rotationPeriodDays":90,"nextRotationAt":"2027-02-21T05:42:00.000Z","usageCount":3,"myRoles":["manager"],"new":{"later":[1]}}
        """;

    private const string Encrypted = """{"ciphertext":"kms:v1:AAAA","keyVersion":1}""";
    private const string Status = """{"status":"ok","version":"0.1.0","token":"ok","database":"ok"}""";

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static KeyRequest Mail => new() { Key = "mail" };

    private static GrantRequest Grant => new() { Key = "mail", Principal = "uid:1000", Role = KeyRole.Encryptor };

    [Fact]
    public async Task Requests_carry_exactly_their_members()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, Encrypted));
        await using var client = new KmsClient(daemon.Path);
        using var plaintext = new SensitiveBytes("secret+'\u00e4"u8);
        EncryptResult result = await client.EncryptAsync(new EncryptRequest { Key = "mail", Plaintext = plaintext }, Stop);
        Assert.Equal("kms:v1:AAAA", result.Ciphertext);
        FakeCall call = Assert.Single(daemon.Received);
        Assert.Equal("crypto.encrypt", call.Method);
        Assert.Equal(["key", "plaintext"], call.Params.EnumerateObject().Select(member => member.Name));
        Assert.Equal("secret+'\u00e4"u8, Convert.FromBase64String(call.Text("plaintext")));
    }

    [Fact]
    public async Task Every_method_has_its_name()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Error(call, """{"code":1,"message":"no","data":{"reason":"notFound"}}"""));
        await using var client = new KmsClient(daemon.Path);
        using var bytes = new SensitiveBytes(1);
        Func<Task>[] methods =
        [
            () => client.CreateKeyAsync(new CreateKeyRequest { Name = "mail", Type = KeyType.Aes256Gcm96 }, Stop),
            () => client.ListKeysAsync(new ListKeysRequest(), Stop),
            () => client.GetKeyAsync(Mail, Stop),
            () => client.EncryptAsync(new EncryptRequest { Key = "mail", Plaintext = bytes }, Stop),
            () => client.DecryptAsync(new DecryptRequest { Key = "mail", Ciphertext = "kms:v1:AAAA" }, Stop),
            () => client.CreateDataKeyAsync(new CreateDataKeyRequest { Key = "mail" }, Stop),
            () => client.DrawRandomAsync(new RandomRequest { Bytes = 1 }, Stop),
            () => client.ListGrantsAsync(Mail, Stop),
            () => client.AddGrantAsync(Grant, Stop),
            () => client.RemoveGrantAsync(Grant, Stop),
            () => client.ListMembersAsync(new ListMembersRequest { Store = "default" }, Stop),
            () => client.AddMemberAsync(new AddMemberRequest { Store = "default", Principal = "uid:1", Role = StoreRole.User }, Stop),
            () => client.RemoveMemberAsync(new RemoveMemberRequest { Store = "default", Principal = "uid:1" }, Stop),
            () => client.GetStatusAsync(Stop),
            () => client.WhoAmIAsync(Stop),
            () => client.DiscoverAsync(Stop),
            () => client.ReencryptAsync(new ReencryptRequest { Key = "mail", Ciphertext = "kms:v1:AAAA" }, Stop),
            () => client.SignAsync(new SignRequest { Key = "mail", Message = bytes }, Stop),
            () => client.VerifyAsync(new VerifyRequest { Key = "mail", Message = bytes, Signature = "kms:v1:AAAA" }, Stop),
            () => client.EncryptBatchAsync(new EncryptBatchRequest { Key = "mail", Items = [] }, Stop),
            () => client.DecryptBatchAsync(new DecryptBatchRequest { Key = "mail", Items = [] }, Stop),
            () => client.ReencryptBatchAsync(new ReencryptBatchRequest { Key = "mail", Items = [] }, Stop),
            () => client.UpdateKeyAsync(new UpdateKeyRequest { Key = "mail", Memo = "m" }, Stop),
            () => client.RotateKeyAsync(Mail, Stop),
            () => client.SetRotationPeriodAsync(new SetRotationPeriodRequest { Key = "mail", Days = 1 }, Stop),
            () => client.EnableKeyAsync(Mail, Stop),
            () => client.DisableKeyAsync(Mail, Stop),
            () => client.RequestDeletionAsync(new DeleteKeyRequest { Key = "mail" }, Stop),
            () => client.CancelDeletionAsync(Mail, Stop),
            () => client.DeleteNowAsync(new DeleteKeyRequest { Key = "mail" }, Stop),
            () => client.GetPublicKeyAsync(new GetPublicKeyRequest { Key = "mail" }, Stop),
            () => client.ListVersionsAsync(new ListVersionsRequest { Key = "mail" }, Stop),
            () => client.DisableVersionAsync(new VersionRequest { Key = "mail", Version = 1 }, Stop),
            () => client.EnableVersionAsync(new VersionRequest { Key = "mail", Version = 1 }, Stop),
            () => client.ListDeletedKeysAsync(new ListDeletedKeysRequest(), Stop),
            () => client.ReadDeletedKeyHistoryAsync(new DeletedKeyHistoryRequest { Tag = "t" }, Stop),
            () => client.PurgeDeletedKeyAsync(new PurgeDeletedKeyRequest { Tag = "t", Reason = "r" }, Stop),
            () => client.ReleaseDeletionsAsync(Stop),
        ];
        foreach (Func<Task> method in methods)
        {
            KmsException refusal = await Assert.ThrowsAsync<KmsException>(method);
            Assert.Equal(KmsErrorCode.NotFound, refusal.Code);
        }

        Assert.Equal(
            [
                "keys.create", "keys.list", "keys.get", "crypto.encrypt", "crypto.decrypt", "crypto.createDataKey", "crypto.random",
                "grants.list", "grants.add", "grants.remove", "members.list", "members.add", "members.remove", "system.status",
                "system.whoAmI", "rpc.discover",
                "crypto.reencrypt", "crypto.sign", "crypto.verify", "crypto.encryptBatch", "crypto.decryptBatch",
                "crypto.reencryptBatch", "keys.update", "keys.rotate", "keys.setRotationPeriod", "keys.enable", "keys.disable",
                "keys.requestDeletion", "keys.cancelDeletion", "keys.deleteNow", "keys.getPublicKey", "versions.list",
                "versions.disable", "versions.enable", "deletedKeys.list", "deletedKeys.history", "deletedKeys.purge",
                "deletions.release",
            ],
            daemon.Received.Select(call => call.Method));
        Assert.Equal(1, daemon.Connections);
    }

    [Fact]
    public async Task Each_item_of_a_batch_has_its_result_or_its_reason()
    {
        const string Items =
            """
            {"items":[{"plaintext":"AQI=","keyVersion":2},{"error":{"code":6,"message":"no","data":{"reason":"invalidCiphertext"}}},
            {"error":{"code":8,"message":"slower","data":{"reason":"limitExceeded","retryAfterMs":1500}}},{"error":{"code":3,"message":"m"}}]}
            """;
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, Items.ReplaceLineEndings(string.Empty)));
        await using var client = new KmsClient(daemon.Path);
        DecryptItem[] items = [new() { Ciphertext = "kms:v2:AAAA" }, new() { Ciphertext = "kms:v1:AAAA", Context = [1] }];
        using DecryptBatchResult result = await client.DecryptBatchAsync(new DecryptBatchRequest { Key = "mail", Items = items }, Stop);
        Assert.Equal(
            """[{"ciphertext":"kms:v2:AAAA"},{"ciphertext":"kms:v1:AAAA","context":"AQ=="}]""",
            Assert.Single(daemon.Received).Params.GetProperty("items").GetRawText());
        Assert.Equal((2, null), (result.Items[0].KeyVersion, result.Items[0].Error));
        Assert.Equal([1, 2], result.Items[0].Plaintext!.AsSpan().ToArray());
        Assert.Equal(
            [KmsErrorCode.InvalidCiphertext, KmsErrorCode.LimitExceeded, KmsErrorCode.InvalidState],
            result.Items[1..].Select(item => item.Error!.ToException().Code));
        Assert.Equal(TimeSpan.FromSeconds(1.5), result.Items[2].Error!.ToException().RetryAfter);
        result.Dispose();
        Assert.Throws<ObjectDisposedException>(() => result.Items[0].Plaintext!.AsSpan().Length);
    }

    [Fact]
    public async Task Of_a_signature_request_only_what_is_given_crosses_the_socket()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(
            call, """{"signature":"kms:v3:AAAA","keyVersion":3,"algorithm":"ECDSA_SHA_256"}"""));
        await using var client = new KmsClient(daemon.Path);
        SignResult result = await client.SignAsync(
            new SignRequest
            {
                Key = "mail",
                Digest = new byte[32],
                Algorithm = SignatureAlgorithm.EcdsaSha256,
                Encoding = SignatureEncoding.P1363,
            },
            Stop);
        Assert.Equal((3, SignatureAlgorithm.EcdsaSha256), (result.KeyVersion, result.Algorithm));
        FakeCall call = Assert.Single(daemon.Received);
        Assert.Equal(["key", "digest", "algorithm", "encoding"], call.Params.EnumerateObject().Select(member => member.Name));
        Assert.Equal(("ECDSA_SHA_256", "p1363"), (call.Text("algorithm"), call.Text("encoding")));
    }

    [Fact]
    public async Task What_a_newer_daemon_adds_to_an_answer_is_no_error()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, Key.ReplaceLineEndings(string.Empty)));
        await using var client = new KmsClient(daemon.Path);
        Assert.Equal("mail", (await client.GetKeyAsync(Mail, Stop)).Name);
    }

    [Theory]
    [InlineData("/nonexistent/kmsd.sock", "There is no socket")]
    [InlineData("/a-path-longer-than-108-bytes-a-path-longer-than-108-bytes-a-path-longer-than-108-bytes-a-path-longer-than-108", "too long")]
    public async Task A_path_that_leads_nowhere_is_named(string path, string sentence)
    {
        await using var client = new KmsClient(path);
        KmsUnreachableException exception = await Assert.ThrowsAsync<KmsUnreachableException>(() => client.GetStatusAsync(Stop));
        Assert.Contains(sentence, exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_of_a_foreign_account_gets_nothing()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, Status));
        await using var client = new KmsClient(daemon.Path, new ServerTrust(() => [4_000_000_000]));
        KmsUnreachableException exception = await Assert.ThrowsAsync<KmsUnreachableException>(() => client.GetStatusAsync(Stop));
        Assert.Contains($"uid {Libc.GetEffectiveUserId()}", exception.Message, StringComparison.Ordinal);
        Assert.Empty(daemon.Received);
    }

    [Theory]
    [InlineData("""{"code":1,"message":"m","data":{"reason":"notFound"}}""", KmsErrorCode.NotFound)]
    [InlineData("""{"code":12,"message":"m","data":{"reason":"unsupported"}}""", KmsErrorCode.Unsupported)]
    [InlineData("""{"code":2,"message":"m","data":{"reason":"notFound"}}""", KmsErrorCode.NotFound)]
    [InlineData("""{"code":2,"message":"m","data":{"reason":"news"}}""", KmsErrorCode.Forbidden)]
    [InlineData("""{"code":99,"message":"m","data":{"reason":"news"}}""", KmsErrorCode.Internal)]
    [InlineData("""{"code":-32602,"message":"m"}""", KmsErrorCode.InvalidParams)]
    [InlineData("""{"code":0,"message":"m"}""", KmsErrorCode.Internal)]
    [InlineData("""{"code":1,"message":"m","data":"text"}""", KmsErrorCode.Internal)]
    [InlineData("""{"code":1,"message":"m","data":null}""", KmsErrorCode.NotFound)]
    [InlineData("\"text\"", KmsErrorCode.Internal)]
    [InlineData("""{"code":1,"message":"\ud800","data":{"reason":"notFound"}}""", KmsErrorCode.Internal)]
    [InlineData("""{"code":4000000000,"message":"m","data":{"reason":"notFound"}}""", KmsErrorCode.Internal)]
    public async Task The_reason_decides_then_the_number(string error, KmsErrorCode code)
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Error(call, error));
        await using var client = new KmsClient(daemon.Path);
        Assert.Equal(code, (await Assert.ThrowsAsync<KmsException>(() => client.GetStatusAsync(Stop))).Code);
    }

    [Fact]
    public async Task The_daemon_may_say_when_to_try_again()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Error(
            call, """{"code":8,"message":"slower","data":{"reason":"limitExceeded","retryAfterMs":1500}}"""));
        await using var client = new KmsClient(daemon.Path);
        KmsException refusal = await Assert.ThrowsAsync<KmsException>(() => client.GetStatusAsync(Stop));
        Assert.Equal(("slower", TimeSpan.FromSeconds(1.5)), (refusal.Message, refusal.RetryAfter));
    }

    [Fact]
    public async Task Too_many_connections_are_a_refusal_not_a_lost_connection()
    {
        await using var daemon = new FakeDaemon(Silence)
        {
            Greeting = """{"jsonrpc":"2.0","id":null,"error":{"code":8,"message":"full","data":{"reason":"limitExceeded"}}}""",
        };
        await using var client = new KmsClient(daemon.Path);
        KmsException refusal = await Assert.ThrowsAsync<KmsException>(() => client.AddGrantAsync(Grant, Stop));
        Assert.Equal(KmsErrorCode.LimitExceeded, refusal.Code);
    }

    [Theory]
    [InlineData("""{"tag":1}""")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("""{"plaintext":"AAAA","keyVersion":1e400}""")]
    [InlineData("""{"plaintext":"AAA","keyVersion":1}""")]
    [InlineData("""{"plaintext":"AAB=","keyVersion":1}""")]
    [InlineData("""{"plaintext":"\ud800","keyVersion":1}""")]
    [InlineData("""{"plaintext":null,"keyVersion":1}""")]
    public async Task An_answer_of_another_form_fails_alone(string result)
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, call.Method == "crypto.decrypt" ? result : Status));
        await using var client = new KmsClient(daemon.Path);
        KmsException exception = await Assert.ThrowsAsync<KmsException>(
            () => client.DecryptAsync(new DecryptRequest { Key = "mail", Ciphertext = "kms:v1:AAAA" }, Stop));
        Assert.Equal(KmsErrorCode.Internal, exception.Code);
        _ = await client.GetStatusAsync(Stop);
        Assert.Equal(1, daemon.Connections);
    }

    [Fact]
    public async Task An_endless_answer_is_not_read_to_its_end()
    {
        string endless = new('x', 3 * 1024 * 1024);
        await using var daemon = new FakeDaemon(_ => endless);
        await using var client = new KmsClient(daemon.Path);
        _ = await Assert.ThrowsAsync<KmsUnreachableException>(() => client.GetStatusAsync(Stop));
    }

    [Fact]
    public async Task A_long_answer_arrives_whole()
    {
        string memo = new('x', 1_900_000);
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, $$"""{"openrpc":"{{memo}}"}"""));
        await using var client = new KmsClient(daemon.Path);
        Assert.Equal(memo, (await client.DiscoverAsync(Stop)).GetProperty("openrpc").GetString());
        Assert.Equal(memo, (await client.DiscoverAsync(Stop)).GetProperty("openrpc").GetString());
    }

    [Fact]
    public async Task What_is_too_long_to_send_is_refused_here_and_harms_nobody_else()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, Status));
        await using var client = new KmsClient(daemon.Path);
        using var plaintext = new SensitiveBytes(100_000);
        KmsException refusal = await Assert.ThrowsAsync<KmsException>(
            () => client.EncryptAsync(new EncryptRequest { Key = "mail", Plaintext = plaintext }, Stop));
        Assert.Equal(KmsErrorCode.TooLarge, refusal.Code);
        _ = await client.GetStatusAsync(Stop);
        _ = Assert.Single(daemon.Received);
    }

    private static string? Silence(FakeCall call) => null;
}
