using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Hosting;
using Kmsd.Notifications;

namespace Kmsd.Tests.Notifications;

public sealed class NotificationsTests
{
    private static readonly Caller s_first = Daemon.Uid(2000);
    private static readonly Caller s_second = Daemon.Uid(3000);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_grant_and_its_end_are_told_to_whom_they_concern_and_to_nobody_else()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        KeyDescription key = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor), ("uid:2000", KeyRole.Decryptor), ("uid:3000", KeyRole.Manager));
        _ = await daemon.AddGrantAsync(s_second, "key-1", "uid:2000", KeyRole.Reviewer);
        _ = await daemon.AddGrantAsync(s_second, "key-1", "uid:2000", KeyRole.Reviewer);
        _ = await daemon.RemoveGrantAsync(s_second, "key-1", "uid:2000", KeyRole.Encryptor);
        _ = await daemon.RemoveGrantAsync(s_second, "key-1", "uid:2000", KeyRole.Encryptor);
        _ = await daemon.RemoveMemberAsync(Daemon.Manager, "uid:2000");
        Assert.Equal(
            [
                "grant.added key-1 uid:1000 encryptor, decryptor", "grant.added key-1 uid:3000 reviewer",
                "grant.removed key-1 uid:3000 encryptor", "grant.removed key-1 uid:1000 decryptor, reviewer",
            ],
            await ListAsync(daemon, s_first));
        Assert.Equal(["grant.added key-1 uid:1000 manager"], await ListAsync(daemon, s_second));
        Assert.Empty(await ListAsync(daemon, Daemon.Manager));
        Assert.Empty(await ListAsync(daemon, Daemon.Operator));
        NotificationDescription first = (await RawAsync(daemon, s_first)).Notifications[0];
        Assert.Equal((key.Tag, "default"), (first.Key, first.Store));
    }

    [Fact]
    public async Task The_journal_says_who_was_told()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        KeyDescription key = await daemon.CreateKeyAsync("key-1", [.. Enumerable.Range(2000, 5).Select(uid => ($"uid:{uid}", KeyRole.Encryptor))]);
        _ = await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Encryptor);
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:3000", KeyRole.Reviewer);
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:4000", KeyRole.Reviewer);
        _ = await daemon.Operations.EnableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, new RotateRootRequest { Reason = "yearly" });
        string[] lines = [.. daemon.NoticedJournal.Lines.Select(told => told.Line)];
        string about = $": key {key.Tag} 'key-1' of store 'default', to";
        Assert.Equal(
            [
                $"Notice 6 grant.removed{about} uid:2000, by uid:1000. encryptor",
                $"Notice 7 grant.added{about} uid:3000, by uid:1000. reviewer",
                $"Notice 8 key.disabled{about} uid:2001, uid:2002, uid:2003, uid:2004, uid:3000, by uid:1000.",
                $"Notice 9 grant.added{about} uid:4000, by uid:1000. reviewer",
                $"Notice 10 key.enabled{about} uid:2001, uid:2002, uid:2003, uid:2004, uid:3000 and 1 more, by uid:1000.",
            ],
            lines[5..10]);
        Assert.StartsWith("Notice 11 root.rotated, to uid:0, by uid:0. ", lines[10], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Whoever_holds_a_grant_hears_what_becomes_of_the_key_to_its_end()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor), ("gid:34", KeyRole.Reviewer));
        Caller grouped = Daemon.Uid(4000, 34);
        KeyRequest key = new() { Key = "key-1" };
        _ = await daemon.Operations.RotateKey.RunAsync(Daemon.Manager, key, Cancellation);
        _ = await daemon.Operations.SetVersionState.DisableAsync(Daemon.Manager, new VersionRequest { Key = "key-1", Version = 1 }, Cancellation);
        _ = await daemon.Operations.SetVersionState.EnableAsync(Daemon.Manager, new VersionRequest { Key = "key-1", Version = 1 }, Cancellation);
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, key, Cancellation);
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, key, Cancellation);
        _ = await daemon.Operations.EnableKey.RunAsync(Daemon.Manager, key, Cancellation);
        DeleteKeyRequest deletion = new() { Key = "key-1", ConfirmName = "key-1" };
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, deletion, Cancellation);
        _ = await daemon.Operations.CancelDeletion.RunAsync(Daemon.Manager, key, Cancellation);
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, deletion, Cancellation);
        await DueAsync(daemon, TimeSpan.FromHours(47));
        await DueAsync(daemon, TimeSpan.FromHours(1));
        await DueAsync(daemon, TimeSpan.FromSeconds(1));
        await daemon.RestartAsync();
        await DueAsync(daemon, TimeSpan.FromSeconds(1));
        await daemon.LastSeen.ReleaseAsync(Cancellation);
        await DueAsync(daemon, TimeSpan.FromHours(24));
        string[] expected =
        [
            "key.rotated", "version.disabled", "version.enabled", "key.disabled", "key.enabled", "deletion.requested", "deletion.cancelled",
            "deletion.requested", "deletion.upcoming", "key.deleted",
        ];
        Assert.Equal(["grant.added", .. expected], (await RawAsync(daemon, s_first)).Notifications.Select(notice => notice.Kind));
        Assert.Equal(["grant.added", .. expected], (await RawAsync(daemon, grouped)).Notifications.Select(notice => notice.Kind));
        NotificationDescription rotated = (await RawAsync(daemon, s_first)).Notifications[1];
        Assert.Contains("Reencrypt", rotated.Detail, StringComparison.Ordinal);
        Assert.Null((await RawAsync(daemon, s_first)).Notifications[^1].By);
    }

    [Fact]
    public async Task An_automatic_rotation_is_told_too()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        daemon.Clock.Advance(TimeSpan.FromDays(90));
        await daemon.Rotation.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        NotificationDescription notice = (await RawAsync(daemon, s_first)).Notifications[^1];
        Assert.Equal(("key.rotated", null), (notice.Kind, notice.By));
    }

    [Fact]
    public async Task One_who_is_meant_twice_is_told_once()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor), ("gid:34", KeyRole.Decryptor));
        _ = await daemon.Operations.RotateKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        Assert.Equal(
            ["grant.added", "grant.added", "key.rotated"], (await RawAsync(daemon, Daemon.Uid(2000, 34))).Notifications.Select(notice => notice.Kind));
    }

    [Fact]
    public async Task What_was_acknowledged_is_not_listed_again_to_him_and_to_others_it_is()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("gid:34", KeyRole.Encryptor));
        _ = await daemon.CreateKeyAsync("key-2", ("gid:34", KeyRole.Encryptor));
        Caller one = Daemon.Uid(4000, 34);
        Caller other = Daemon.Uid(4001, 34);
        long first = (await RawAsync(daemon, one)).Notifications[0].Sequence;
        await AcknowledgeAsync(daemon, one, first);
        Assert.Equal(["key-2"], (await RawAsync(daemon, one)).Notifications.Select(notice => notice.KeyName));
        await AcknowledgeAsync(daemon, one, first - 1);
        await daemon.RestartAsync();
        Assert.Single((await RawAsync(daemon, one)).Notifications);
        Assert.Equal(2, (await RawAsync(daemon, other)).Notifications.Length);
        await AcknowledgeAsync(daemon, one, long.MaxValue);
        Assert.Empty((await RawAsync(daemon, one)).Notifications);
        _ = await daemon.CreateKeyAsync("key-3", ("gid:34", KeyRole.Encryptor));
        Assert.Single((await RawAsync(daemon, one)).Notifications);
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => AcknowledgeAsync(daemon, one, -1));
    }

    [Fact]
    public async Task After_90_days_a_notice_is_gone_and_its_number_is_not_used_again()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        long before = (await RawAsync(daemon, s_first)).Notifications[0].Sequence;
        daemon.Clock.Advance(TimeSpan.FromDays(90));
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        Assert.Single((await RawAsync(daemon, s_first)).Notifications);
        daemon.Clock.Advance(TimeSpan.FromDays(1));
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        Assert.Empty((await RawAsync(daemon, s_first)).Notifications);
        await daemon.RestartAsync();
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Decryptor);
        Assert.True((await RawAsync(daemon, s_first)).Notifications[0].Sequence > before);
    }

    [Fact]
    public async Task A_change_that_is_refused_tells_nothing()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = await Refusal.OfAsync(KmsErrorCode.AlreadyExists, () => daemon.CreateKeyAsync("KEY-1", ("uid:3000", KeyRole.Encryptor)));
        Assert.Empty(await ListAsync(daemon, s_second));
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:3000", KeyRole.Decryptor);
        Assert.Equal(1, (await RawAsync(daemon, s_first)).Notifications[0].Sequence);
        Assert.Equal(2, (await RawAsync(daemon, s_second)).Notifications[0].Sequence);
    }

    [Theory]
    [InlineData("UPDATE notifications SET kind = 'key.enabled'")]
    [InlineData("UPDATE notifications SET principal = 'uid:3000'")]
    [InlineData("UPDATE notifications SET detail = 'nothing to see'")]
    public async Task A_notice_that_was_changed_from_outside_is_not_shown(string sql)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        Assert.Equal(1, daemon.Sql(sql));
        Assert.Empty(await ListAsync(daemon, s_first));
        Assert.Empty(await ListAsync(daemon, s_second));
    }

    [Fact]
    public async Task A_cursor_that_was_moved_from_outside_hides_nothing()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = daemon.Sql("INSERT INTO notification_cursors VALUES ('uid:2000', 99, 1, 1, zeroblob(32))");
        Assert.Single(await ListAsync(daemon, s_first));
        await AcknowledgeAsync(daemon, s_first, 1);
        Assert.Empty(await ListAsync(daemon, s_first));
    }

    [Theory]
    [InlineData("UPDATE notification_days SET notices = notices - 1", "doesn't verify")]
    [InlineData("DELETE FROM notification_days", "doesn't hold the rows that it must")]
    [InlineData("DELETE FROM notification_cursors WHERE reader = 'uid:2000'", "doesn't hold the rows that it must")]
    public async Task What_vouches_for_them_stops_the_start(string sql, string sentence)
    {
        await using Daemon daemon = await TwiceToldAsync();
        await AcknowledgeAsync(daemon, s_first, 1);
        await daemon.TamperAsync(sql);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Contains(sentence, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("DELETE FROM notifications WHERE sequence = 2", "Notices of 2026-11-24", 0)]
    [InlineData("DELETE FROM notifications WHERE sequence = 1", "Notices of 2026-11-24", 1)]
    [InlineData("UPDATE notifications SET sequence = 3 WHERE sequence = 2", "Notice 3 for uid:2000", 0)]
    [InlineData("UPDATE notifications SET principal = 'uid:3000' WHERE sequence = 2", "Notice 2 for uid:3000", 0)]
    [InlineData("UPDATE notifications SET at = at - 864000000 WHERE sequence = 2", "Notice 2 for uid:2000", 0)]
    [InlineData("UPDATE notifications SET rowid = 9 WHERE sequence = 1", "Notices of 2026-11-24", 1)]
    [InlineData("INSERT INTO notifications SELECT 9, principal, at, kind, tag, key_name, store, by, detail, mac_generation, encoding_version, row_code FROM notifications WHERE sequence = 2", "Notice 9 for uid:2000", 1)]
    [InlineData("UPDATE notifications SET detail = 'nothing to see' WHERE sequence = 2", "Notice 2 for uid:2000", 0)]
    [InlineData("UPDATE notifications SET at = 9223372036854775807 WHERE sequence = 2", "Notice 2 for uid:2000", 0)]
    [InlineData("UPDATE notification_cursors SET sequence = 2 WHERE reader = 'uid:2000'", "What uid:2000 has acknowledged", 2)]
    [InlineData("UPDATE notification_cursors SET sequence = 9 WHERE reader = ''", "The row that keeps the last notification's number", 1)]
    public async Task None_is_taken_away_put_in_or_changed_unnoticed(string sql, string line, int shown)
    {
        await using Daemon daemon = await TwiceToldAsync();
        await AcknowledgeAsync(daemon, s_first, 1);
        await daemon.TamperAsync(sql);
        await daemon.ResumeAsync();
        await daemon.ProveNotices.RunAsync(rowsAtOnce: 1, rest: 0, Cancellation);
        Assert.Contains(daemon.NoticesJournal.Lines, told => told.Line.StartsWith(line, StringComparison.Ordinal));
        StatusResult status = daemon.Operations.ReadStatus.Run(Daemon.Operator);
        Assert.Equal(("degraded", "integrityFailure"), (status.Status, status.Database));
        Assert.Contains(status.Weaknesses!, weakness => weakness.StartsWith("notifications: ", StringComparison.Ordinal));

        // Whoever reads gets what is good, and of what he may have seen rather too much.
        Assert.Equal(shown, (await ListAsync(daemon, s_first)).Length);
    }

    [Fact]
    public async Task What_is_told_and_removed_between_two_pieces_breaks_nothing()
    {
        await using Daemon daemon = await TwiceToldAsync();
        for (int day = 0; day < 100; day++)
        {
            daemon.Clock.Advance(TimeSpan.FromDays(1));
            Task looking = daemon.ProveNotices.RunAsync(rowsAtOnce: 1, rest: 1, Cancellation);
            _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Reviewer);
            await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
            _ = await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Reviewer);
            await looking;
            Assert.True(daemon.ProveNotices.Bad == 0, string.Join('\n', daemon.NoticesJournal.Lines));
        }

        Assert.Equal(91L, daemon.Query("SELECT count(*) FROM notification_days"));
        Assert.Equal(182L, daemon.Query("SELECT count(*) FROM notifications"));
        await daemon.RestartAsync();
        await daemon.ProveNotices.RunAsync(rowsAtOnce: 7, rest: 0, Cancellation);
        Assert.Equal(0, daemon.ProveNotices.Bad);
    }

    [Fact]
    public async Task Old_ones_go_acknowledged_ones_stay_gone_and_every_start_finds_its_rows()
    {
        await using Daemon daemon = await TwiceToldAsync();
        await AcknowledgeAsync(daemon, s_first, 1);
        await daemon.RestartAsync();
        Assert.Single(await ListAsync(daemon, s_first));
        daemon.Clock.Advance(NoticeLog.Kept + TimeSpan.FromDays(1));
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Reviewer);
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        Assert.Equal(1L, daemon.Query("SELECT count(*) FROM notifications"));
        await daemon.RestartAsync();
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, new RotateRootRequest { Reason = "yearly" });
        await daemon.RootWork.RunAsync(Cancellation);
        daemon.Die();
        await daemon.ResumeAsync();
        await daemon.RecordWatch.RunAsync(Cancellation);
        Assert.Equal("ok", daemon.Operations.ReadStatus.Run(Daemon.Operator).Status);
        Assert.Single(await ListAsync(daemon, s_first));
    }

    /// <summary>A refusal that is told is no change: what it adds to the set goes with uses.</summary>
    [Fact]
    public async Task A_refused_use_that_is_told_survives_a_kill()
    {
        await using Daemon daemon = await TwiceToldAsync();
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        KmsException refusal = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => daemon.EncryptAsync(s_first, "key-1"));
        await daemon.Refusals.RecordAsync(s_first, "crypto.encrypt", new KeyRequest { Key = "key-1" }, isRecorded: true, refusal);
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.Equal("use.refused", (await RawAsync(daemon, s_first)).Notifications[^1].Kind);
        _ = await daemon.Operations.EnableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        await daemon.RestartAsync();
    }

    /// <summary>Two notices for one user.</summary>
    private static async Task<Daemon> TwiceToldAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Decryptor);
        return daemon;
    }

    [Fact]
    public async Task A_subscriber_hears_at_once_what_concerns_him_and_nothing_else()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        using NoticeSubscription mine = daemon.Hub.Subscribe(s_first);
        using NoticeSubscription others = daemon.Hub.Subscribe(Daemon.Stranger);
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        await using IAsyncEnumerator<NotificationDescription> heard = mine.ReadAllAsync(Cancellation).GetAsyncEnumerator(Cancellation);
        Assert.True(await heard.MoveNextAsync());
        Assert.Equal(("grant.added", 1), (heard.Current.Kind, heard.Current.Sequence));
        others.Dispose();
        await using IAsyncEnumerator<NotificationDescription> nothing = others.ReadAllAsync(Cancellation).GetAsyncEnumerator(Cancellation);
        Assert.False(await nothing.MoveNextAsync());
    }

    [Fact]
    public async Task A_subscriber_who_does_not_listen_loses_his_subscription_and_no_memory_is_spent()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        using NoticeSubscription slow = daemon.Hub.Subscribe(s_first);
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        for (int i = 0; i < 300; i++)
        {
            _ = i % 2 == 0
                ? await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Decryptor)
                : await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Decryptor);
        }

        int heard = 0;
        await foreach (NotificationDescription notice in slow.ReadAllAsync(Cancellation))
        {
            heard++;
        }

        Assert.Equal(256, heard);
    }

    [Fact]
    public async Task The_root_keys_date_is_told_to_operators_and_root_administrators_once_ahead_and_daily_after()
    {
        await using Daemon daemon = await Daemon.StartAsync(new Kmsd.Configuration.DaemonOptions { RootAdministrators = [Principal.User(7)] });
        await WatchAsync(daemon, TimeSpan.FromDays(334));
        Assert.Empty(await ListAsync(daemon, Daemon.Operator));
        await WatchAsync(daemon, TimeSpan.FromDays(1));
        await WatchAsync(daemon, TimeSpan.FromDays(10));
        await daemon.RestartAsync();
        await WatchAsync(daemon, TimeSpan.FromDays(10));
        Assert.Equal(["root.due"], (await RawAsync(daemon, Daemon.Operator)).Notifications.Select(notice => notice.Kind));
        await WatchAsync(daemon, TimeSpan.FromDays(10));
        await WatchAsync(daemon, TimeSpan.FromHours(23));
        await daemon.RestartAsync();
        await WatchAsync(daemon, TimeSpan.FromMinutes(59));
        await WatchAsync(daemon, TimeSpan.FromMinutes(1));
        Assert.Equal(
            ["root.due", "root.overdue", "root.overdue"], (await RawAsync(daemon, Daemon.Uid(7))).Notifications.Select(notice => notice.Kind));
    }

    private static async Task WatchAsync(Daemon daemon, TimeSpan time)
    {
        daemon.Clock.Advance(time);
        await daemon.RootWatch.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
    }

    private static async Task DueAsync(Daemon daemon, TimeSpan time)
    {
        daemon.Clock.Advance(time);
        await daemon.Deletion.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
    }

    private static Task<ListNotificationsResult> RawAsync(Daemon daemon, Caller caller) =>
        daemon.Operations.ListNotifications.RunAsync(caller, new ListNotificationsRequest(), Cancellation);

    private static async Task<string[]> ListAsync(Daemon daemon, Caller caller) =>
        [.. (await RawAsync(daemon, caller)).Notifications.Select(notice => $"{notice.Kind} {notice.KeyName} {notice.By} {notice.Detail}")];

    private static Task<EmptyResult> AcknowledgeAsync(Daemon daemon, Caller caller, long upTo) =>
        daemon.Operations.AcknowledgeNotifications.RunAsync(caller, new AcknowledgeNotificationsRequest { UpTo = upTo }, Cancellation);
}
