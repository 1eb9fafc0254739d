using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;

namespace Kmsd.Tests.Audit;

/// <summary>The history read back, proven, erased and exported.</summary>
public sealed class HistoryTests
{
    private static readonly Caller s_user = Daemon.Uid(2000);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_key_shows_its_own_entries_newest_first_a_page_at_a_time_and_by_filter()
    {
        await using Daemon daemon = await PopulatedAsync();
        HistoryEntryDescription[] all = (await ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Key = "key-1" })).Entries;
        Assert.Equal(
            ["crypto.decrypt", "crypto.encrypt", "crypto.encrypt", "keys.create"], all.Select(entry => entry.Operation));
        Assert.Equal("invalidCiphertext", all[0].Outcome);
        Assert.Equal(("uid:2000", 2000, 4711, 1, 1), (all[1].Principal, all[1].Uid, all[1].Pid, all[1].KeyVersion, all[1].Count));

        HistoryEntryDescription[] page = (await ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Key = "key-1", Limit = 2, Before = all[0].Sequence })).Entries;
        Assert.Equal(all[1..3].Select(entry => entry.Sequence), page.Select(entry => entry.Sequence));
        Assert.Equal(2, (await ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Key = "key-1", Operation = "crypto.encrypt" })).Entries.Length);
        Assert.Single((await ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Key = "key-1", Principal = "uid:1000" })).Entries);
        Assert.Empty((await ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Key = "key-1", Principal = "uid:65534" })).Entries);
    }

    [Fact]
    public async Task A_store_shows_its_keys_too_and_the_scopes_what_belongs_to_no_store()
    {
        await using Daemon daemon = await PopulatedAsync();
        HistoryEntryDescription[] store = (await ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Store = "default" })).Entries;
        Assert.Contains(store, entry => entry.Operation == "members.add" && entry.Key is null);
        Assert.Contains(store, entry => entry.Operation == "crypto.encrypt" && entry.Key is not null);
        Assert.Equal("init", Assert.Single((await ListAsync(daemon, Daemon.Operator, new ListHistoryRequest { Scope = "system" })).Entries).Operation);
        Assert.Empty((await ListAsync(daemon, Daemon.Operator, new ListHistoryRequest { Scope = "root" })).Entries);
    }

    [Fact]
    public async Task Whoever_may_not_read_it_is_refused()
    {
        await using Daemon daemon = await PopulatedAsync();
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:3000", KeyRole.Reviewer);
        Assert.NotEmpty((await ListAsync(daemon, Daemon.Uid(3000), new ListHistoryRequest { Key = "key-1" })).Entries);
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => ListAsync(daemon, s_user, new ListHistoryRequest { Key = "key-1" }));
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => ListAsync(daemon, Daemon.Operator, new ListHistoryRequest { Key = "key-1" }));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => ListAsync(daemon, Daemon.Uid(3000), new ListHistoryRequest { Store = "default" }));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => ListAsync(daemon, Daemon.Operator, new ListHistoryRequest { Store = "default" }));
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => ListAsync(daemon, Daemon.Stranger, new ListHistoryRequest { Store = "default" }));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Scope = "system" }));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Scope = "root" }));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.Operations.VerifyHistory.RunAsync(Daemon.Manager, Cancellation));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.Operations.ExportHistory.RunAsync(Daemon.Manager, new ExportHistoryRequest(), Cancellation));
        foreach (ListHistoryRequest request in new[]
        {
            new ListHistoryRequest(), new ListHistoryRequest { Key = "key-1", Store = "default" }, new ListHistoryRequest { Scope = "key" },
            new ListHistoryRequest { Key = "key-1", Limit = 0 }, new ListHistoryRequest { Key = "key-1", Limit = 1001 },
            new ListHistoryRequest { Key = "key-1", Principal = "nobody" },
        })
        {
            _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => ListAsync(daemon, Daemon.Manager, request));
        }
    }

    [Fact]
    public async Task A_root_administrator_who_is_no_operator_reads_the_root_scope_alone()
    {
        await using Daemon daemon = await Daemon.StartAsync(new DaemonOptions { RootAdministrators = [Principal.User(7)] });
        Assert.Empty((await ListAsync(daemon, Daemon.Uid(7), new ListHistoryRequest { Scope = "root" })).Entries);
        Assert.Equal(1, daemon.Operations.ReadRootStatus.Run(Daemon.Uid(7)).Generation);
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => ListAsync(daemon, Daemon.Uid(7), new ListHistoryRequest { Scope = "system" }));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => ListAsync(daemon, Daemon.Operator, new ListHistoryRequest { Scope = "root" }));
        _ = Refusal.Of(KmsErrorCode.Forbidden, () => daemon.Operations.ReadRootStatus.Run(Daemon.Operator));
    }

    [Fact]
    public async Task The_whole_chain_verifies_while_others_write_and_after_a_restart()
    {
        await using Daemon daemon = await PopulatedAsync();
        Task<string>[] uses = [.. Enumerable.Range(0, 2500).Select(_ => daemon.EncryptAsync(s_user, "key-1"))];
        VerifyHistoryResult during = await VerifyAsync(daemon);
        Assert.True(during.Ok, $"{during.FirstBad}");
        _ = await Task.WhenAll(uses);
        await daemon.RestartAsync();
        VerifyHistoryResult after = await VerifyAsync(daemon);
        Assert.Equal((true, 2506, null), (after.Ok, after.Entries, after.FirstBad));
    }

    [Theory]
    [InlineData("UPDATE history SET outcome = 'ok' WHERE sequence = 6", 6)]
    [InlineData("UPDATE history SET uid = 2001 WHERE sequence = 4", 4)]
    [InlineData("UPDATE history SET principal = NULL WHERE sequence = 4", 4)]
    [InlineData("UPDATE history SET detail = 'x' WHERE sequence = 1", 1)]
    [InlineData("UPDATE history SET at = at + 1 WHERE sequence = 3", 3)]
    [InlineData("UPDATE history SET at = 9223372036854775807 WHERE sequence = 3", 3)]
    [InlineData("UPDATE history SET operation = NULL WHERE sequence = 3", 3)]
    [InlineData("UPDATE history SET digest = zeroblob(32) WHERE sequence = 5", 5)]
    [InlineData("UPDATE history SET digest = zeroblob(3) WHERE sequence = 5", 5)]
    [InlineData("UPDATE history SET link = zeroblob(32) WHERE sequence = 5", 5)]
    [InlineData("UPDATE history SET salt = zeroblob(16) WHERE sequence = 5", 5)]
    [InlineData("UPDATE history SET purged_by = 6 WHERE sequence = 5", 5)]
    [InlineData("DELETE FROM history WHERE sequence = 4", 4)]
    [InlineData("DELETE FROM history WHERE sequence = 1", 1)]
    [InlineData("INSERT INTO history (sequence, digest, link) VALUES (0, zeroblob(32), zeroblob(32))", 0)]
    [InlineData("UPDATE history SET salt = NULL, at = NULL, scope = NULL, store_id = NULL, tag = NULL, version = NULL, operation = NULL, principal = NULL, uid = NULL, pid = NULL, outcome = NULL, detail = NULL, items = NULL, context_digest = NULL WHERE sequence = 4", 4)]
    [InlineData("UPDATE history SET purged_by = 6, salt = NULL, at = NULL, scope = NULL, store_id = NULL, tag = NULL, version = NULL, operation = NULL, principal = NULL, uid = NULL, pid = NULL, outcome = NULL, detail = NULL, items = NULL, context_digest = NULL WHERE sequence = 4", 4)]
    public async Task What_was_changed_is_found_and_the_first_is_named(string sql, long firstBad)
    {
        await using Daemon daemon = await PopulatedAsync();
        Assert.True((await VerifyAsync(daemon)).Ok);
        Assert.Equal(1, daemon.Sql(sql));
        VerifyHistoryResult result = await VerifyAsync(daemon);
        Assert.Equal((false, firstBad), (result.Ok, result.FirstBad));
    }

    [Fact]
    public async Task An_entry_that_was_changed_is_not_shown()
    {
        await using Daemon daemon = await PopulatedAsync();
        Assert.Equal(1, daemon.Sql("UPDATE history SET uid = 0 WHERE sequence = 5"));
        KmsException refusal = await Refusal.OfAsync(
            KmsErrorCode.IntegrityFailure, () => ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Key = "key-1" }));
        Assert.Contains("Entry 5", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_purged_key_leaves_no_content_and_a_history_that_verifies()
    {
        await using Daemon daemon = await PopulatedAsync();
        string tag = daemon.Get(Daemon.Manager, "key-1").Tag;
        await DeleteAsync(daemon, "key-1");
        HistoryResult before = await daemon.Operations.ReadDeletedKeyHistory.RunAsync(Daemon.Operator, new DeletedKeyHistoryRequest { Tag = tag }, Cancellation);
        Assert.Equal(6, before.Entries.Length);
        HistoryEntryDescription[] read = (await ListAsync(daemon, Daemon.Operator, new ListHistoryRequest { Scope = "system", Operation = "deletedKeys.history" })).Entries;
        Assert.Equal(tag, Assert.Single(read).Detail);

        _ = await daemon.Operations.PurgeDeletedKey.RunAsync(
            Daemon.Operator, new PurgeDeletedKeyRequest { Tag = tag, Reason = "asked for" }, Cancellation);
        Assert.Equal(0L, daemon.Query($"SELECT count(*) FROM history WHERE lower(hex(tag)) = '{tag}'"));
        Assert.Equal(6L, daemon.Query("SELECT count(*) FROM history WHERE salt IS NULL AND at IS NULL AND uid IS NULL AND operation IS NULL"));
        Assert.True((await VerifyAsync(daemon)).Ok);
        await daemon.RestartAsync();
        Assert.True((await VerifyAsync(daemon)).Ok);
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.Operations.ReadDeletedKeyHistory.RunAsync(
            Daemon.Operator, new DeletedKeyHistoryRequest { Tag = tag }, Cancellation));
    }

    [Theory]
    [InlineData("UPDATE history SET purged_by = NULL WHERE sequence = 5", 5)]
    [InlineData("UPDATE history SET purged_by = purged_by + 1 WHERE sequence = 5", 3)]
    [InlineData("UPDATE history SET detail = 'x' WHERE operation = 'history.purge'", 9)]
    [InlineData("UPDATE history SET outcome = 'ok' WHERE sequence = 5", 5)]
    public async Task A_purge_names_exactly_what_it_erased(string sql, long firstBad)
    {
        await using Daemon daemon = await PopulatedAsync();
        string tag = daemon.Get(Daemon.Manager, "key-1").Tag;
        await DeleteAsync(daemon, "key-1");
        _ = await daemon.Operations.PurgeDeletedKey.RunAsync(
            Daemon.Operator, new PurgeDeletedKeyRequest { Tag = tag, Reason = "asked for" }, Cancellation);
        Assert.Equal(1, daemon.Sql(sql));
        VerifyHistoryResult result = await VerifyAsync(daemon);
        Assert.Equal((false, firstBad), (result.Ok, result.FirstBad));
    }

    [Fact]
    public async Task Old_uses_are_erased_changes_and_deleted_keys_stay()
    {
        await using Daemon daemon = await PopulatedAsync();
        _ = await daemon.CreateKeyAsync("key-2", ("uid:2000", KeyRole.EncryptorDecryptor));
        _ = await daemon.EncryptAsync(s_user, "key-2");
        daemon.Clock.Advance(TimeSpan.FromDays(390));
        _ = await daemon.EncryptAsync(s_user, "key-1");
        await DeleteAsync(daemon, "key-2");
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        Assert.Equal(0L, daemon.Query("SELECT count(*) FROM history WHERE salt IS NULL"));

        daemon.Clock.Advance(TimeSpan.FromDays(8));
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        Assert.Equal(3L, daemon.Query("SELECT count(*) FROM history WHERE salt IS NULL"));
        Assert.Equal(
            ["crypto.encrypt", "keys.create"],
            (await ListAsync(daemon, Daemon.Manager, new ListHistoryRequest { Key = "key-1" })).Entries.Select(entry => entry.Operation));
        Assert.Equal(2L, daemon.Query("SELECT count(*) FROM history WHERE operation LIKE 'crypto.%'")); // The deleted key's, and the younger one.
        Assert.True((await VerifyAsync(daemon)).Ok);

        // Once a day, and only what has become old since.
        object? entries = daemon.Query("SELECT max(sequence) FROM history");
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        daemon.Clock.Advance(TimeSpan.FromDays(1));
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        Assert.Equal(entries, daemon.Query("SELECT max(sequence) FROM history"));
    }

    [Fact]
    public async Task The_export_holds_every_entry_with_what_proves_it()
    {
        await using Daemon daemon = await PopulatedAsync();
        List<ExportedHistoryEntry> all = [];
        long? next = 0;
        while (next is not null)
        {
            ExportHistoryResult page = await daemon.Operations.ExportHistory.RunAsync(
                Daemon.Operator, new ExportHistoryRequest { After = next, Limit = 4 }, Cancellation);
            all.AddRange(page.Entries);
            next = page.Next;
        }

        Assert.Equal(Enumerable.Range(1, 6).Select(number => (long)number), all.Select(entry => entry.Sequence));
        Assert.All(all, entry => Assert.Equal((16, 32, 32), (entry.Salt!.Length, entry.Digest.Length, entry.Link.Length)));
        Assert.Equal(("key", "crypto.encrypt", "uid:2000"), (all[3].Scope, all[3].Operation, all[3].Principal));
    }

    [Fact]
    public async Task The_usage_report_tells_days_in_each_state_and_calls()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(s_user, "key-1");
        daemon.Clock.Advance(TimeSpan.FromDays(3));
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        daemon.Clock.Advance(TimeSpan.FromDays(5)); // 2 December, 12:00
        _ = await daemon.Operations.EnableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        _ = await daemon.DecryptAsync(s_user, "key-1", ciphertext);
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => daemon.DecryptAsync(s_user, "key-1", ciphertext, [1]));
        _ = await daemon.CreateKeyAsync("key-2");

        KeyUsageReport november = Assert.Single((await ReportAsync(daemon, "2026-11")).Keys);
        Assert.Equal((3, 3.5, 0, 6.5, 1), (november.EnabledDays, november.DisabledDays, november.PendingDeletionDays, november.BillableDays, november.Calls));
        daemon.Clock.Advance(TimeSpan.FromDays(1));
        await DeleteAsync(daemon, "key-1");
        daemon.Clock.Advance(TimeSpan.FromDays(60));
        KeyUsageReport[] december = (await ReportAsync(daemon, "2026-12")).Keys;
        Assert.Equal(("key-1", 1, 1.5, 3, 5.5, 2), (
            december[0].Name, december[0].EnabledDays, december[0].DisabledDays, december[0].PendingDeletionDays, december[0].BillableDays, december[0].Calls));
        Assert.Equal(("key-2", 29.5, 0), (december[1].Name, december[1].BillableDays, december[1].Calls));
        Assert.Empty((await ReportAsync(daemon, "2026-10")).Keys);
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => ReportAsync(daemon, "2026-13"));
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => ReportAsync(daemon, "9999-12"));
        Assert.Empty((await ReportAsync(daemon, "9999-11")).Keys);
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => ReportAsync(daemon, "26-1"));
    }

    private static async Task<Daemon> PopulatedAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(s_user, "key-1");
        _ = await daemon.EncryptAsync(s_user, "key-1", [1], [2]);
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => daemon.DecryptAsync(s_user, "key-1", ciphertext, [3]));
        return daemon;
    }

    /// <summary>With its window gone by.</summary>
    private static async Task DeleteAsync(Daemon daemon, string key)
    {
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, new DeleteKeyRequest { Key = key, ConfirmName = key }, Cancellation);
        daemon.Clock.Advance(TimeSpan.FromHours(72));
        _ = await daemon.Operations.DeleteKey.RunAsync(Daemon.Manager, new DeleteKeyRequest { Key = key, ConfirmName = key }, Cancellation);
    }

    private static Task<HistoryResult> ListAsync(Daemon daemon, Caller caller, ListHistoryRequest request) =>
        daemon.Operations.ListHistory.RunAsync(caller, request, Cancellation);

    private static Task<VerifyHistoryResult> VerifyAsync(Daemon daemon) => daemon.Operations.VerifyHistory.RunAsync(Daemon.Operator, Cancellation);

    private static Task<UsageReportResult> ReportAsync(Daemon daemon, string month) => daemon.Operations.ReportUsage.RunAsync(
        Daemon.Manager, new UsageReportRequest { Store = "default", Month = month }, Cancellation);
}
