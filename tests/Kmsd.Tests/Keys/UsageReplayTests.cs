using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Hosting;

namespace Kmsd.Tests.Keys;

/// <summary>Counters that were not written yet when the daemon died, and counters that somebody put back.</summary>
public sealed class UsageReplayTests
{
    private const string Rows = """
        SELECT 'UPDATE keys SET usage_count = ' || usage_count || ', last_used_at = ' || last_used_at || ', usage_code = x''' || hex(usage_code) || '''' FROM keys
        """;

    private const string Versions = """
        SELECT group_concat('UPDATE versions SET usage_count = ' || usage_count || ', item_count = ' || item_count || ', last_used_at = ' || last_used_at
            || ', usage_code = x''' || hex(usage_code) || ''' WHERE version = ' || version, '; ') FROM versions
        """;

    private const string Mark = """
        SELECT 'UPDATE usage_mark SET sequence = ' || sequence || ', calls = ' || calls || ', items = ' || items || ', row_code = x''' || hex(row_code) || '''' FROM usage_mark
        """;

    private static readonly Caller s_user = Daemon.Uid(2000);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Uses_that_the_counters_on_the_disk_lack_are_counted_again_from_the_history()
    {
        await using Daemon daemon = await UsedAsync();
        KeyDescription before = daemon.Get(Daemon.Manager, "key-1");
        VersionDescription[] versions = Describe(daemon);
        Assert.Equal(1L, daemon.Query("SELECT usage_count FROM keys"));
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.Equal((6, before.LastUsedAt), (daemon.Get(Daemon.Manager, "key-1").UsageCount, daemon.Get(Daemon.Manager, "key-1").LastUsedAt));
        Assert.Equal(
            versions.Select(version => (version.UsageCount, version.ItemCount, version.LastUsedAt)),
            Describe(daemon).Select(version => (version.UsageCount, version.ItemCount, version.LastUsedAt)));
        Assert.Equal([(2, 2), (5, 1)], Describe(daemon).Select(version => (version.UsageCount, version.ItemCount)));
        _ = await daemon.EncryptAsync(s_user, "key-1");
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.Equal(7, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        await daemon.RestartAsync();
        Assert.Equal(7L, daemon.Query("SELECT usage_count FROM keys"));
        Assert.Equal(7, daemon.Get(Daemon.Manager, "key-1").UsageCount);
    }

    [Fact]
    public async Task After_so_many_uses_they_are_written_without_a_change()
    {
        await using Daemon daemon = await UsedAsync();
        for (int i = 0; i < 4200; i += 100)
        {
            _ = await Task.WhenAll(Enumerable.Range(0, 100).Select(_ => daemon.EncryptAsync(s_user, "key-1")));
        }

        Assert.InRange((long)daemon.Query("SELECT usage_count FROM keys")!, 4000, 4206);
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.Equal(4206, daemon.Get(Daemon.Manager, "key-1").UsageCount);
    }

    [Theory]
    [InlineData("UPDATE history SET version = 9 WHERE operation = 'crypto.reencrypt'")]
    [InlineData("UPDATE history SET items = 0 WHERE operation = 'crypto.reencrypt'")]
    [InlineData("DELETE FROM history WHERE sequence = (SELECT max(sequence) - 1 FROM history)")]
    [InlineData("UPDATE history SET link = zeroblob(32) WHERE sequence = (SELECT max(sequence) - 1 FROM history)")]
    public async Task What_they_are_counted_from_must_be_as_it_was_written(string sql)
    {
        await using Daemon daemon = await UsedAsync();
        await daemon.Writer.SettleAsync(Cancellation);
        daemon.Die();
        Assert.Equal(1, daemon.Sql(sql));
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Equal(ExitCode.Configuration, refusal.ExitCode);
        Assert.Contains("history", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_older_row_of_a_counter_shows_in_the_sum_and_older_rows_with_their_mark_are_only_counted_again()
    {
        await using Daemon daemon = await UsedAsync();
        await daemon.RestartAsync();
        string key = (string)daemon.Query(Rows)!;
        string mark = (string)daemon.Query(Mark)!;
        string versions = (string)daemon.Query(Versions)!;
        _ = await daemon.EncryptAsync(s_user, "key-1");
        await daemon.TamperAsync(key);
        await daemon.ResumeAsync();
        Assert.True(daemon.Catalogue.Current.HasQuarantine);
        Assert.Contains(daemon.LoaderLog.Lines, line => line.Line.Contains("don't add up", StringComparison.Ordinal));

        // No key can be named: it is said where to look.
        StatusResult status = daemon.Operations.ReadStatus.Run(Daemon.Operator);
        Assert.Null(status.Quarantine);
        Assert.Contains(
            status.Weaknesses!, one => one.Contains("3003, 3004", StringComparison.Ordinal) && one.Contains("kmsd restore", StringComparison.Ordinal));

        await daemon.TamperAsync($"{key}; {mark}; {versions}", rows: 4);
        await daemon.ResumeAsync();
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        Assert.Equal(7, daemon.Get(Daemon.Manager, "key-1").UsageCount);
    }

    /// <summary>What was erased can't be counted again: counters of before are found by that.</summary>
    [Fact]
    public async Task Older_rows_with_their_mark_are_refused_once_uses_after_them_were_erased()
    {
        await using Daemon daemon = await UsedAsync();
        await daemon.RestartAsync();
        string older = $"{daemon.Query(Rows)}; {daemon.Query(Mark)}; {daemon.Query(Versions)}";
        _ = await daemon.EncryptAsync(s_user, "key-1");
        daemon.Clock.Advance(TimeSpan.FromDays(401));
        _ = await daemon.EncryptAsync(s_user, "key-1");
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        await daemon.RestartAsync();
        Assert.Equal(8, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        await daemon.TamperAsync(older, rows: 4);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Contains("was erased, and the counters are from before that", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("UPDATE usage_mark SET sequence = sequence + 1")]
    [InlineData("DELETE FROM usage_mark")]
    public async Task A_mark_that_was_changed_stops_the_start(string sql)
    {
        await using Daemon daemon = await UsedAsync();
        await daemon.TamperAsync(sql);
        Assert.Equal(ExitCode.Configuration, (await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync())).ExitCode);
    }

    /// <summary>Six uses over two versions, of which only the first is in the counters on the disk.</summary>
    private static async Task<Daemon> UsedAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string old = await daemon.EncryptAsync(s_user, "key-1");
        _ = await daemon.Operations.RotateKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        daemon.Clock.Advance(TimeSpan.FromMinutes(1));
        _ = await daemon.EncryptAsync(s_user, "key-1");
        _ = await daemon.DecryptAsync(s_user, "key-1", old);
        DecryptBatchRequest batch = new() { Key = "key-1", Items = [new DecryptItem { Ciphertext = old }, new DecryptItem { Ciphertext = old }] };
        _ = await daemon.Operations.Batches.DecryptAsync(s_user, batch, Cancellation);
        _ = await daemon.Operations.Reencrypt.RunAsync(s_user, new ReencryptRequest { Key = "key-1", Ciphertext = old }, Cancellation);
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => daemon.DecryptAsync(s_user, "key-1", old, [1]));
        return daemon;
    }

    private static VersionDescription[] Describe(Daemon daemon) =>
        daemon.Operations.ListVersions.Run(Daemon.Manager, new ListVersionsRequest { Key = "key-1" }).Versions;
}
