using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;
using Kmsd.Rpc;

namespace Kmsd.Tests.Audit;

/// <summary>What is refused, as requests meet it: through the guard of a connection.</summary>
public sealed class RefusalRecorderTests
{
    private static readonly Caller s_reviewer = Daemon.Uid(2000);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Of_one_with_some_right_there_every_refused_use_and_change_is_an_entry()
    {
        await using Daemon daemon = await StartAsync();
        await ForbiddenUseAsync(daemon, s_reviewer);
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => Guard(daemon, s_reviewer).RunAsync(
            "keys.disable", new KeyRequest { Key = "key-1" },
            () => daemon.Operations.DisableKey.RunAsync(s_reviewer, new KeyRequest { Key = "key-1" }, Cancellation)));
        Assert.Equal(
            ["keys.disable uid:2000 forbidden", "crypto.encrypt uid:2000 forbidden", "keys.create uid:1000 ok"], await LinesAsync(daemon));
        Assert.Equal(0, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        Assert.Equal(0, daemon.Strangers.Total);
        Assert.True((await daemon.Operations.VerifyHistory.RunAsync(Daemon.Operator, Cancellation)).Ok);
    }

    [Fact]
    public async Task What_was_carried_out_and_said_no_is_recorded_once()
    {
        await using Daemon daemon = await StartAsync();
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.EncryptorDecryptor);
        string ciphertext = await daemon.EncryptAsync(s_reviewer, "key-1");
        DecryptRequest wrong = new() { Key = "key-1", Ciphertext = ciphertext, Context = [1] };
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => Guard(daemon, s_reviewer).RunAsync(
            "crypto.decrypt", wrong, () => daemon.Operations.Decrypt.RunAsync(s_reviewer, wrong, Cancellation)));
        Assert.Equal(1L, daemon.Query("SELECT count(*) FROM history WHERE operation = 'crypto.decrypt' AND version = 1"));

        DecryptRequest malformed = new() { Key = "key-1", Ciphertext = "nonsense" };
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => Guard(daemon, s_reviewer).RunAsync(
            "crypto.decrypt", malformed, () => daemon.Operations.Decrypt.RunAsync(s_reviewer, malformed, Cancellation)));
        Assert.Equal(2L, daemon.Query("SELECT count(*) FROM history WHERE operation = 'crypto.decrypt' AND outcome = 'invalidCiphertext'"));

        // Counters count what names a version.
        Assert.Equal(
            daemon.Get(Daemon.Manager, "key-1").UsageCount, daemon.Query("SELECT count(*) FROM history WHERE operation LIKE 'crypto.%' AND version IS NOT NULL"));
    }

    [Fact]
    public async Task A_stranger_is_counted_by_the_minute_and_adds_nothing_to_the_chain()
    {
        await using Daemon daemon = await StartAsync();
        object? entries = daemon.Query("SELECT max(sequence) FROM history");
        for (int i = 0; i < 500; i++)
        {
            await NotFoundAsync(daemon, Daemon.Stranger);
        }

        await daemon.Strangers.WriteAsync(Cancellation);
        daemon.Clock.Advance(TimeSpan.FromMinutes(1));
        await NotFoundAsync(daemon, Daemon.Stranger);
        await daemon.Strangers.WriteAsync(Cancellation);
        await NotFoundAsync(daemon, Daemon.Stranger);
        await daemon.Strangers.WriteAsync(Cancellation);
        Assert.Equal(entries, daemon.Query("SELECT max(sequence) FROM history"));
        Assert.Equal(502, daemon.Strangers.Total);
        Assert.Equal("uid:6666 500 crypto.encrypt notFound,uid:6666 2 crypto.encrypt notFound", daemon.Query(
            "SELECT group_concat(format('%s %d %s %s', principal, count, operation, reason)) FROM (SELECT * FROM refusals ORDER BY minute)"));
    }

    [Fact]
    public async Task Many_strangers_are_counted_together_past_a_bound()
    {
        await using Daemon daemon = await StartAsync();
        for (uint uid = 10_000; uid < 11_100; uid++)
        {
            await NotFoundAsync(daemon, Daemon.Uid(uid));
        }

        await daemon.Strangers.WriteAsync(Cancellation);
        Assert.Equal(1025L, daemon.Query("SELECT count(*) FROM refusals"));
        Assert.Equal(76L, daemon.Query("SELECT count FROM refusals WHERE principal = '(others)'"));
    }

    [Fact]
    public async Task A_use_of_a_disabled_key_is_told_to_those_who_hold_grants_once_an_hour_and_in_each_state()
    {
        await using Daemon daemon = await StartAsync();
        Caller user = Daemon.Uid(3000);
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:3000", KeyRole.Encryptor);
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        await UseAsync(daemon, user, KmsErrorCode.InvalidState);
        await UseAsync(daemon, user, KmsErrorCode.InvalidState);
        await ForbiddenUseAsync(daemon, s_reviewer);
        daemon.Clock.Advance(TimeSpan.FromHours(1));
        await UseAsync(daemon, user, KmsErrorCode.InvalidState);
        ListNotificationsResult told = await daemon.Operations.ListNotifications.RunAsync(s_reviewer, new ListNotificationsRequest(), Cancellation);
        NotificationDescription[] refused = [.. told.Notifications.Where(notice => notice.Kind == "use.refused")];
        Assert.Equal(2, refused.Length);
        Assert.Equal(("uid:3000", "crypto.encrypt: the key is disabled"), (refused[0].By, refused[0].Detail));

        // What is to be destroyed is used still: whoever could cancel that must hear of it, whatever was told before.
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, new DeleteKeyRequest { Key = "key-1", ConfirmName = "key-1" }, Cancellation);
        await UseAsync(daemon, user, KmsErrorCode.InvalidState);
        await UseAsync(daemon, user, KmsErrorCode.InvalidState);
        told = await daemon.Operations.ListNotifications.RunAsync(s_reviewer, new ListNotificationsRequest(), Cancellation);
        refused = [.. told.Notifications.Where(notice => notice.Kind == "use.refused")];
        Assert.Equal((3, "crypto.encrypt: the key is pendingDeletion"), (refused.Length, refused[^1].Detail));
    }

    [Fact]
    public async Task Members_and_operators_who_are_refused_are_recorded_with_the_store_or_the_system()
    {
        await using Daemon daemon = await StartAsync();
        AddMemberRequest request = new() { Store = "default", Principal = "uid:9", Role = StoreRole.User };
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => Guard(daemon, s_reviewer).RunAsync(
            "members.add", request, () => daemon.Operations.AddMember.RunAsync(s_reviewer, request, Cancellation)));
        Assert.Equal("store forbidden", daemon.Query("SELECT scope || ' ' || outcome FROM history ORDER BY sequence DESC LIMIT 1"));
        CreateStoreRequest creation = new() { Name = "x", Manager = "uid:9" };
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => Guard(daemon, Daemon.Operator).RunAsync(
            "stores.create", creation, () => daemon.Operations.CreateStore.RunAsync(Daemon.Operator, creation, Cancellation)));
        Assert.Equal("system invalidParams", daemon.Query("SELECT scope || ' ' || outcome FROM history ORDER BY sequence DESC LIMIT 1"));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => Guard(daemon, s_reviewer).RunAsync(
            "stores.create", creation, () => daemon.Operations.CreateStore.RunAsync(s_reviewer, creation, Cancellation)));
        Assert.Equal(1, daemon.Strangers.Total);
    }

    [Theory]
    [InlineData("uid:3000", KmsErrorCode.Forbidden, "uid:3000 decryptor")]
    [InlineData("unit:nginx.service", KmsErrorCode.Forbidden, "unit:nginx.service decryptor")]
    [InlineData("uid:0065534", KmsErrorCode.Forbidden, "no principal decryptor")]
    [InlineData("somebody else's text", KmsErrorCode.Forbidden, "no principal decryptor")]
    [InlineData("user:root", KmsErrorCode.Forbidden, "a user by name decryptor")]
    [InlineData("group:root", KmsErrorCode.Forbidden, "a group by name decryptor")]
    [InlineData("uid:65534", KmsErrorCode.InvalidParams, "uid:65534 decryptor")]
    [InlineData("user:nobody-of-that-name", KmsErrorCode.InvalidParams, "a user by name decryptor")]
    [InlineData("user:root", KmsErrorCode.LimitExceeded, "uid:0 decryptor")]
    public async Task A_refused_change_of_rights_says_whose_they_were(string principal, KmsErrorCode code, string detail)
    {
        await using Daemon daemon = await Daemon.StartAsync(new DaemonOptions { GrantsPerKey = 1 });
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Reviewer));
        Caller caller = code == KmsErrorCode.Forbidden ? s_reviewer : Daemon.Manager;
        GrantRequest request = new() { Key = "key-1", Principal = principal, Role = KeyRole.Decryptor };
        _ = await Refusal.OfAsync(code, () => Guard(daemon, caller).RunAsync(
            "grants.add", request, () => daemon.Operations.AddGrant.RunAsync(caller, request, Cancellation)));
        Assert.Equal($"grants.add {detail}", daemon.Query("SELECT operation || ' ' || detail FROM history ORDER BY sequence DESC LIMIT 1"));
    }

    [Fact]
    public async Task A_refused_change_of_members_says_whose_membership_it_was()
    {
        await using Daemon daemon = await StartAsync();
        AddMemberRequest addition = new() { Store = "default", Principal = "uid:9", Role = StoreRole.Manager };
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => Guard(daemon, s_reviewer).RunAsync(
            "members.add", addition, () => daemon.Operations.AddMember.RunAsync(s_reviewer, addition, Cancellation)));
        RemoveMemberRequest removal = new() { Store = "default", Principal = "uid:1000" };
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => Guard(daemon, Daemon.Manager).RunAsync(
            "members.remove", removal, () => daemon.Operations.RemoveMember.RunAsync(Daemon.Manager, removal, Cancellation)));
        RemoveMemberRequest ofRole = new() { Store = "default", Principal = "uid:1000", Role = StoreRole.Manager };
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => Guard(daemon, Daemon.Manager).RunAsync(
            "members.remove", ofRole, () => daemon.Operations.RemoveMember.RunAsync(Daemon.Manager, ofRole, Cancellation)));
        Assert.Equal("uid:9 manager,uid:1000,uid:1000 manager", daemon.Query(
            "SELECT group_concat(detail) FROM (SELECT detail FROM history WHERE outcome = 'forbidden' ORDER BY sequence)"));
    }

    private static async Task<Daemon> StartAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Reviewer));
        return daemon;
    }

    private static RequestGuard Guard(Daemon daemon, Caller caller) =>
        new(caller, new CallerShares(4, 4, daemon.Clock).Join(caller), new CostLimiter(0, 1, daemon.Clock), daemon.Catalogue, daemon.Refusals, daemon.Requests);

    private static Task ForbiddenUseAsync(Daemon daemon, Caller caller) => UseAsync(daemon, caller, KmsErrorCode.Forbidden);

    private static Task NotFoundAsync(Daemon daemon, Caller caller) => UseAsync(daemon, caller, KmsErrorCode.NotFound);

    private static async Task UseAsync(Daemon daemon, Caller caller, KmsErrorCode code)
    {
        using SensitiveBytes text = new(new byte[3].AsSpan());
        EncryptRequest request = new() { Key = "key-1", Plaintext = text };
        _ = await Refusal.OfAsync(code, () => Guard(daemon, caller).RunAsync(
            "crypto.encrypt", request, () => daemon.Operations.Encrypt.RunAsync(caller, request, Cancellation)));
    }

    private static async Task<string[]> LinesAsync(Daemon daemon) =>
        [.. (await daemon.Operations.ListHistory.RunAsync(Daemon.Manager, new ListHistoryRequest { Key = "key-1" }, Cancellation)).Entries
            .Select(entry => $"{entry.Operation} {entry.Principal} {entry.Outcome}")];
}
