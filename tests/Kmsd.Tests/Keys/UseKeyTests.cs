using System.Text;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Tests.Keys;

/// <summary>Encrypt, decrypt, data keys and random.</summary>
public sealed class UseKeyTests
{
    private static readonly byte[] s_text = "a text"u8.ToArray();

    [Theory]
    [InlineData(KeyRole.Manager, true, true)]
    [InlineData(KeyRole.Encryptor, true, false)]
    [InlineData(KeyRole.Decryptor, false, true)]
    [InlineData(KeyRole.EncryptorDecryptor, true, true)]
    [InlineData(KeyRole.Reviewer, false, false)]
    public async Task A_role_uses_the_key_as_the_matrix_says(KeyRole role, bool mayEncrypt, bool mayDecrypt)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", role), ("uid:3000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(Daemon.Uid(3000), "key-1");
        await MayAsync(mayEncrypt, () => daemon.EncryptAsync(Daemon.Uid(2000), "key-1"));
        await MayAsync(mayEncrypt, () => DataKeyAsync(daemon, Daemon.Uid(2000), "key-1"));
        await MayAsync(mayDecrypt, () => daemon.DecryptAsync(Daemon.Uid(2000), "key-1", ciphertext));
    }

    [Fact]
    public async Task Roles_add_up_over_uid_gid_and_supplementary_groups()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("gid:34", KeyRole.Encryptor), ("uid:2000", KeyRole.Decryptor));
        string ciphertext = await daemon.EncryptAsync(Daemon.Uid(2000, 33, 34), "key-1");
        Assert.Equal(s_text, await daemon.DecryptAsync(Daemon.Uid(2000, 33, 34), "key-1", ciphertext));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.EncryptAsync(Daemon.Uid(2000, 33), "key-1"));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.DecryptAsync(Daemon.Uid(34, 34), "key-1", ciphertext));
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.EncryptAsync(Daemon.Uid(34), "key-1"));
    }

    [Fact]
    public async Task To_one_without_any_right_a_key_is_not_there()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        KeyDescription key = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:3000", StoreRole.User);
        string ciphertext = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        KmsException ofNothing = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.EncryptAsync(Daemon.Uid(2000), "key-2"));
        foreach (Caller caller in new[] { Daemon.Operator, Daemon.Stranger, Daemon.Uid(3000), Daemon.Uid(65534) })
        {
            Func<Task>[] uses =
            [
                () => daemon.EncryptAsync(caller, "key-1"),
                () => daemon.EncryptAsync(caller, key.Tag),
                () => DataKeyAsync(daemon, caller, "default/key-1"),
                () => daemon.DecryptAsync(caller, "key-1", ciphertext),
                () => daemon.DecryptAsync(caller, "key-1", "nonsense"),
                () => Task.FromResult(daemon.Get(caller, "key-1")),
                () => Task.FromResult(daemon.Operations.ListGrants.Run(caller, new KeyRequest { Key = "key-1" })),
                () => daemon.AddGrantAsync(caller, "key-1", "uid:3000", KeyRole.Manager),
                () => daemon.RemoveGrantAsync(caller, "key-1", "uid:2000", KeyRole.EncryptorDecryptor),
            ];
            foreach (Func<Task> use in uses)
            {
                KmsException refusal = await Refusal.OfAsync(KmsErrorCode.NotFound, async () => await use());
                Assert.Equal(ofNothing.Message, refusal.Message);
            }
        }
    }

    [Fact]
    public async Task A_ciphertext_opens_under_its_own_key_and_context_alone_and_all_refusals_read_alike()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        Caller user = Daemon.Uid(2000);
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        _ = await daemon.CreateKeyAsync("key-2", ("uid:2000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(user, "key-1", s_text, "ctx"u8.ToArray());
        Assert.Equal(s_text, await daemon.DecryptAsync(user, "key-1", ciphertext, "ctx"u8.ToArray()));

        byte[] payload = Convert.FromBase64String(ciphertext["kms:v1:".Length..]);
        payload[^1] ^= 1;
        Func<Task>[] wrong =
        [
            () => daemon.DecryptAsync(user, "key-1", ciphertext),
            () => daemon.DecryptAsync(user, "key-1", ciphertext, "ctY"u8.ToArray()),
            () => daemon.DecryptAsync(user, "key-2", ciphertext, "ctx"u8.ToArray()),
            () => daemon.DecryptAsync(user, "key-1", "kms:v1:" + Convert.ToBase64String(payload), "ctx"u8.ToArray()),
            () => daemon.DecryptAsync(user, "key-1", "kms:v2:" + ciphertext["kms:v1:".Length..], "ctx"u8.ToArray()),
            () => daemon.DecryptAsync(user, "key-1", "kms:v1:" + Convert.ToBase64String(payload[..27]), "ctx"u8.ToArray()),
            () => daemon.DecryptAsync(user, "key-1", "kms:v1:", "ctx"u8.ToArray()),
            () => daemon.DecryptAsync(user, "key-1", "", "ctx"u8.ToArray()),
        ];
        List<string> messages = [];
        foreach (Func<Task> attempt in wrong)
        {
            messages.Add((await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, async () => await attempt())).Message);
        }

        Assert.Single(messages.Distinct());
    }

    [Fact]
    public async Task No_context_and_an_empty_one_are_the_same()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1", s_text, []);
        Assert.Equal(s_text, await daemon.DecryptAsync(Daemon.Uid(2000), "key-1", ciphertext));
    }

    [Fact]
    public async Task Plaintext_and_context_work_at_their_limits_and_are_too_large_one_over()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        Caller user = Daemon.Uid(2000);
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(user, "key-1", new byte[32 * 1024], new byte[1024]);
        Assert.Equal(32 * 1024, (await daemon.DecryptAsync(user, "key-1", ciphertext, new byte[1024])).Length);
        Assert.Empty(await daemon.DecryptAsync(user, "key-1", await daemon.EncryptAsync(user, "key-1", [])));

        KmsException refusal = await Refusal.OfAsync(
            KmsErrorCode.TooLarge, () => daemon.EncryptAsync(user, "key-1", new byte[(32 * 1024) + 1]));
        Assert.Contains("32768", refusal.Message, StringComparison.Ordinal);
        _ = await Refusal.OfAsync(KmsErrorCode.TooLarge, () => daemon.EncryptAsync(user, "key-1", s_text, new byte[1025]));
        _ = await Refusal.OfAsync(KmsErrorCode.TooLarge, () => daemon.DecryptAsync(user, "key-1", ciphertext, new byte[1025]));
        _ = await Refusal.OfAsync(KmsErrorCode.TooLarge, () => DataKeyAsync(daemon, user, "key-1", context: new byte[1025]));
    }

    [Fact]
    public async Task What_was_carried_out_counts_and_what_was_refused_before_does_not()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        Caller user = Daemon.Uid(2000);
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor), ("uid:3000", KeyRole.Reviewer));
        string ciphertext = await daemon.EncryptAsync(user, "key-1");
        _ = await daemon.DecryptAsync(user, "key-1", ciphertext);
        await DataKeyAsync(daemon, user, "key-1");
        daemon.Clock.Advance(TimeSpan.FromMinutes(5));
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => daemon.DecryptAsync(user, "key-1", ciphertext, [1]));
        DateTimeOffset last = daemon.Clock.GetUtcNow();
        daemon.Clock.Advance(TimeSpan.FromMinutes(5));

        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => daemon.DecryptAsync(user, "key-1", "nonsense"));
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => daemon.DecryptAsync(user, "key-1", "kms:v2:" + ciphertext[7..]));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.EncryptAsync(Daemon.Uid(3000), "key-1"));
        _ = await Refusal.OfAsync(KmsErrorCode.TooLarge, () => daemon.EncryptAsync(user, "key-1", new byte[40_000]));
        Assert.Equal((4, last), (daemon.Get(user, "key-1").UsageCount, daemon.Get(user, "key-1").LastUsedAt));

        await daemon.RestartAsync();
        Assert.Equal((4, last), (daemon.Get(user, "key-1").UsageCount, daemon.Get(user, "key-1").LastUsedAt));
        Assert.Equal(4L, daemon.Query("SELECT usage_count FROM versions"));

        // Items are what the cipher's limit counts: encryptions.
        Assert.Equal(2L, daemon.Query("SELECT item_count FROM versions"));
    }

    [Fact]
    public async Task Counters_are_exact_under_many_uses_at_once()
    {
        const int Count = 400;
        await using Daemon daemon = await Daemon.StartAsync();
        Caller user = Daemon.Uid(2000);
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string[] ciphertexts = await Task.WhenAll(Enumerable.Range(0, Count).Select(
            number => Task.Run(() => daemon.EncryptAsync(user, "key-1", $"text {number}"), TestContext.Current.CancellationToken)));
        byte[][] texts = await Task.WhenAll(ciphertexts.Select(
            ciphertext => Task.Run(() => daemon.DecryptAsync(user, "key-1", ciphertext), TestContext.Current.CancellationToken)));
        Assert.Equal(Enumerable.Range(0, Count).Select(number => $"text {number}"), texts.Select(Encoding.UTF8.GetString));
        await daemon.RestartAsync();
        Assert.Equal(2 * Count, daemon.Get(user, "key-1").UsageCount);
        Assert.Equal(2L * Count, daemon.Query("SELECT count(*) FROM history WHERE operation LIKE 'crypto.%'"));
    }

    [Theory]
    [InlineData(null, 32)]
    [InlineData(128, 16)]
    [InlineData(256, 32)]
    [InlineData(512, 64)]
    public async Task A_data_key_has_the_bits_asked_for_and_is_what_its_ciphertext_holds(int? bits, int length)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        CreateDataKeyRequest request = new() { Key = "key-1", Bits = bits, IncludePlaintext = true, Context = "ctx"u8.ToArray() };
        using CreateDataKeyResult result = await daemon.Operations.CreateDataKey.RunAsync(
            Daemon.Uid(2000), request, TestContext.Current.CancellationToken);
        using CreateDataKeyResult another = await daemon.Operations.CreateDataKey.RunAsync(
            Daemon.Uid(2000), request, TestContext.Current.CancellationToken);
        byte[] dataKey = result.Plaintext!.AsSpan().ToArray();
        Assert.Equal(length, dataKey.Length);
        Assert.NotEqual(dataKey, another.Plaintext!.AsSpan().ToArray());
        Assert.Equal(dataKey, await daemon.DecryptAsync(Daemon.Uid(2000), "key-1", result.Ciphertext, "ctx"u8.ToArray()));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(false)]
    public async Task A_data_key_is_shown_only_when_asked_for(bool? include)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        using CreateDataKeyResult result = await daemon.Operations.CreateDataKey.RunAsync(
            Daemon.Uid(2000), new CreateDataKeyRequest { Key = "key-1", IncludePlaintext = include }, TestContext.Current.CancellationToken);
        Assert.Null(result.Plaintext);
        Assert.Equal(32, (await daemon.DecryptAsync(Daemon.Uid(2000), "key-1", result.Ciphertext)).Length);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(127)]
    [InlineData(192)]
    [InlineData(1024)]
    public async Task A_data_key_of_other_bits_is_refused(int bits)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => DataKeyAsync(daemon, Daemon.Uid(2000), "key-1", bits));
    }

    [Theory]
    [InlineData(1, true)]
    [InlineData(1024, true)]
    [InlineData(0, false)]
    [InlineData(1025, false)]
    [InlineData(-1, false)]
    public async Task Random_is_one_to_a_thousand_and_twenty_four_bytes_for_anybody(int bytes, bool isValid)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        async Task<int> DrawAsync()
        {
            using RandomResult result = await daemon.Operations.DrawRandom.RunAsync(
                new RandomRequest { Bytes = bytes }, TestContext.Current.CancellationToken);
            return result.Random.Length;
        }

        if (isValid)
        {
            Assert.Equal(bytes, await DrawAsync());
        }
        else
        {
            _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, DrawAsync);
        }
    }

    [Theory]
    [InlineData("grant", KmsErrorCode.NotFound)]
    [InlineData("role", KmsErrorCode.Forbidden)]
    [InlineData("member", KmsErrorCode.NotFound)]
    public async Task No_use_follows_its_revocation_even_if_it_began_before(string revoked, KmsErrorCode code)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        Caller user = Daemon.Uid(2000);
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        if (revoked == "role")
        {
            _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Reviewer);
        }

        TaskCompletionSource opening = new(TaskCreationOptions.RunContinuationsAsynchronously);
        daemon.Root.OpeningWaitsFor = opening.Task;
        Task<string> use = daemon.EncryptAsync(user, "key-1");
        _ = revoked == "member"
            ? (object)await daemon.RemoveMemberAsync(Daemon.Manager, "uid:2000")
            : await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Encryptor);
        opening.SetResult();
        _ = await Refusal.OfAsync(code, async () => await use);
        Assert.Equal(0, daemon.Get(Daemon.Manager, "key-1").UsageCount);
    }

    [Fact]
    public async Task A_use_that_cannot_be_recorded_is_refused_and_not_counted()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        Caller user = Daemon.Uid(2000);
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = daemon.Sql("ALTER TABLE history RENAME TO history_gone");
        _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, () => daemon.CreateKeyAsync("key-2"));
        _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, () => daemon.EncryptAsync(user, "key-1"));
        Assert.Equal(("degraded", "unavailable"), Status(daemon));
        _ = daemon.Sql("ALTER TABLE history_gone RENAME TO history");
        _ = await daemon.EncryptAsync(user, "key-1");
        Assert.Equal(("ok", "ok"), Status(daemon));
        Assert.Equal(1, daemon.Get(user, "key-1").UsageCount);
        Assert.Single(daemon.Catalogue.Current.Keys);
    }

    private static (string Status, string Database) Status(Daemon daemon)
    {
        StatusResult status = daemon.Operations.ReadStatus.Run(Daemon.Stranger);
        return (status.Status, status.Database);
    }

    private static async Task DataKeyAsync(Daemon daemon, Caller caller, string key, int? bits = null, byte[]? context = null)
    {
        using CreateDataKeyResult result = await daemon.Operations.CreateDataKey.RunAsync(
            caller, new CreateDataKeyRequest { Key = key, Bits = bits, Context = context }, TestContext.Current.CancellationToken);
    }

    private static async Task MayAsync(bool may, Func<Task> use)
    {
        if (may)
        {
            await use();
        }
        else
        {
            _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, use);
        }
    }
}
