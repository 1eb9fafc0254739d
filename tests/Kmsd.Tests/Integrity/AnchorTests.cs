using Kms.Client.Protocol;
using Kmsd.Configuration;
using Kmsd.Hosting;
using Microsoft.Extensions.Logging;

namespace Kmsd.Tests.Integrity;

public sealed class AnchorTests
{
    [Fact]
    public async Task A_database_put_back_as_a_whole_is_refused_and_the_newest_one_is_served()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        await daemon.StopAsync();
        byte[] yesterday = await File.ReadAllBytesAsync(daemon.Path, TestContext.Current.CancellationToken);
        await daemon.ResumeAsync();
        _ = await daemon.CreateKeyAsync("key-1");
        await daemon.StopAsync();
        byte[] today = await File.ReadAllBytesAsync(daemon.Path, TestContext.Current.CancellationToken);

        await File.WriteAllBytesAsync(daemon.Path, yesterday, TestContext.Current.CancellationToken);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Equal(ExitCode.Configuration, refusal.ExitCode);
        Assert.Contains("older than what the token has seen", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("kmsd recover --accept-rollback", refusal.Message, StringComparison.Ordinal);

        await File.WriteAllBytesAsync(daemon.Path, today, TestContext.Current.CancellationToken);
        await daemon.ResumeAsync();
        _ = daemon.Get(Daemon.Manager, "key-1");
    }

    /// <summary>Between the two only uses happened: the rows are the same, the history isn't.</summary>
    [Fact]
    public async Task A_database_put_back_over_nothing_but_uses_is_refused_once_the_token_has_seen_them()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        await daemon.StopAsync();
        byte[] yesterday = await File.ReadAllBytesAsync(daemon.Path, TestContext.Current.CancellationToken);
        await daemon.ResumeAsync();
        _ = await daemon.DecryptAsync(Daemon.Uid(2000), "key-1", ciphertext);
        await daemon.StopAsync();
        await File.WriteAllBytesAsync(daemon.Path, yesterday, TestContext.Current.CancellationToken);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Contains("history", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_change_is_announced_before_its_commit_and_settled_before_its_answer()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        int before = daemon.Root.AnchorWrites;
        _ = await daemon.CreateKeyAsync("key-1");
        Assert.Equal(before + 2, daemon.Root.AnchorWrites);
        Assert.False(daemon.Installation.Anchor!.IsBehind);
    }

    [Fact]
    public async Task A_use_writes_no_anchor_and_many_uses_write_one_when_it_is_due()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        int before = daemon.Root.AnchorWrites;
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        Assert.Equal(before, daemon.Root.AnchorWrites);
        Assert.False(daemon.Installation.Anchor!.IsDue());
        daemon.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.True(daemon.Installation.Anchor.IsDue());
        _ = await daemon.Writer.ChangeAsync(() => true, TestContext.Current.CancellationToken);
        Assert.Equal(before + 1, daemon.Root.AnchorWrites);
        Assert.False(daemon.Installation.Anchor.IsDue());
    }

    [Fact]
    public async Task While_the_token_is_away_no_change_is_made_and_uses_go_on()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        daemon.Root.IsAway = true;
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2001", KeyRole.Encryptor));
        _ = Assert.Single(daemon.Operations.ListGrants.Run(Daemon.Manager, new KeyRequest { Key = "key-1" }).Grants);
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        daemon.Root.IsAway = false;
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2001", KeyRole.Encryptor);
        await daemon.RestartAsync();
        _ = await daemon.EncryptAsync(Daemon.Uid(2001), "key-1");
    }

    [Fact]
    public async Task A_change_and_a_use_in_one_batch_part_where_the_token_refuses_the_anchor()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        daemon.Root.OnAnchorWrite = () => throw new KmsException(KmsErrorCode.TokenUnavailable, "Not now.");
        Task<GrantsResult>[] changes = [.. Enumerable.Range(0, 20).Select(i => daemon.AddGrantAsync(Daemon.Manager, "key-1", $"uid:{3000 + i}", KeyRole.Encryptor))];
        Task<string>[] uses = [.. Enumerable.Range(0, 200).Select(_ => daemon.EncryptAsync(Daemon.Uid(2000), "key-1"))];
        foreach (Task<GrantsResult> change in changes)
        {
            _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => change);
        }

        _ = await Task.WhenAll(uses);
        daemon.Root.OnAnchorWrite = null;
        await daemon.RestartAsync();
        Assert.Equal(201, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        Assert.Equal(201L, daemon.Query("SELECT count(*) FROM history WHERE operation = 'crypto.encrypt'"));
        Assert.Equal(1L, daemon.Query("SELECT count(*) FROM grants"));
    }

    /// <summary>The commit happened and the token wasn't told: whoever asked hears so, and a start settles it.</summary>
    [Fact]
    public async Task A_change_that_could_not_be_settled_stands_and_is_settled_later()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1");
        FailOnWrite(daemon, 2);
        KmsException told = await Refusal.OfAsync(
            KmsErrorCode.TokenUnavailable, () => daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Encryptor));
        Assert.Contains("was made", told.Message, StringComparison.Ordinal);
        Assert.True(daemon.Installation.Anchor!.IsBehind);
        Assert.Equal("degraded", daemon.Operations.ReadStatus.Run(Daemon.Operator).Status);
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");

        daemon.Die();
        await daemon.ResumeAsync();
        Assert.False(daemon.Installation.Anchor!.IsBehind);
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        Assert.Empty(daemon.AnchorLog.Lines);
    }

    /// <summary>A change makes two writes: killed before the first, before the second or after it, a start needs nobody.</summary>
    [Theory]
    [InlineData(1, false)]
    [InlineData(2, true)]
    [InlineData(3, true)]
    public async Task Killed_around_each_write_of_the_anchor_a_start_goes_on(int write, bool isMade)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1");
        byte[]? left = null;
        byte[][]? anchors = null;
        int writes = 0;
        daemon.Root.OnAnchorWrite = () =>
        {
            if (++writes == write)
            {
                left = Copy(daemon.Path);
                anchors = [.. daemon.Root.Anchors];
            }
        };
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Encryptor);
        if (left is null)
        {
            left = Copy(daemon.Path);
            anchors = [.. daemon.Root.Anchors];
        }

        daemon.Root.OnAnchorWrite = null;
        daemon.Die();
        PutBack(daemon.Path, left);
        daemon.Root.Anchors.Clear();
        daemon.Root.Anchors.AddRange(anchors!);
        await daemon.ResumeAsync();
        bool isThere = daemon.Installation.Catalogue.Current.Keys.Values.Single().Grants.Length == 1;
        Assert.Equal(isMade, isThere);
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2001", KeyRole.Encryptor);
        await daemon.RestartAsync();
    }

    [Fact]
    public async Task Of_two_records_the_newer_counts_and_half_of_one_is_nothing()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        byte[] older = daemon.Root.Anchors[0];
        _ = await daemon.CreateKeyAsync("key-1");
        await daemon.StopAsync();
        byte[] newer = daemon.Root.Anchors[0];
        daemon.Root.Anchors.InsertRange(0, [older, newer[..40], []]);
        await daemon.ResumeAsync();
        _ = await daemon.CreateKeyAsync("key-2");
        _ = Assert.Single(daemon.Root.Anchors);
        await daemon.StopAsync();
        daemon.Root.Anchors.Clear();
        daemon.Root.Anchors.Add(newer[..40]);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Contains("no anchor", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_token_that_lost_its_last_writes_is_told_again_and_the_history_says_so()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        byte[] older = daemon.Root.Anchors[0];
        _ = await daemon.CreateKeyAsync("key-1");
        await daemon.StopAsync();
        daemon.Root.Anchors[0] = older;
        await daemon.ResumeAsync();
        Assert.Contains(daemon.AnchorLog.Lines, line => line.Level == LogLevel.Warning && line.Line.Contains("power cut", StringComparison.Ordinal));
        Assert.Equal(1L, daemon.Query("SELECT count(*) FROM history WHERE operation = 'anchor.lostWrites'"));
        await daemon.RestartAsync();
        Assert.Empty(daemon.AnchorLog.Lines);
        _ = daemon.Get(Daemon.Manager, "key-1");
    }

    [Fact]
    public async Task Without_an_anchor_the_status_names_the_weakness_and_it_can_be_switched_on_and_off()
    {
        DaemonOptions options = new() { Anchor = AnchorMode.Off };
        await using Daemon daemon = await Daemon.StartAsync(options);
        Assert.Empty(daemon.Root.Anchors);
        Assert.Contains(Weaknesses(), text => text.StartsWith("anchor: off", StringComparison.Ordinal));
        options.Anchor = AnchorMode.Required;
        await daemon.RestartAsync();
        _ = Assert.Single(daemon.Root.Anchors);
        Assert.DoesNotContain(Weaknesses(), text => text.StartsWith("anchor", StringComparison.Ordinal));
        await daemon.RestartAsync();
        options.Anchor = AnchorMode.Off;
        await daemon.RestartAsync();
        Assert.Empty(daemon.Root.Anchors);
        options.Anchor = AnchorMode.Required;
        await daemon.RestartAsync();
        Assert.Equal(3L, daemon.Query("SELECT count(*) FROM history WHERE operation = 'anchor'"));

        // Once it is there, it can't be lost without a word.
        await daemon.StopAsync();
        daemon.Root.Anchors.Clear();
        _ = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());

        string[] Weaknesses() => daemon.Operations.ReadStatus.Run(Daemon.Operator).Weaknesses!;
    }

    private static void FailOnWrite(Daemon daemon, int number)
    {
        int writes = 0;
        daemon.Root.OnAnchorWrite = () =>
        {
            if (++writes == number)
            {
                throw new KmsException(KmsErrorCode.TokenUnavailable, "Not now.");
            }
        };
    }

    /// <summary>The database as a crash at this moment would leave it: the file, and its log.</summary>
    private static byte[] Copy(string path)
    {
        using MemoryStream both = new();
        byte[] file = File.ReadAllBytes(path);
        both.Write(BitConverter.GetBytes(file.Length));
        both.Write(file);
        both.Write(File.ReadAllBytes(path + "-wal"));
        return both.ToArray();
    }

    private static void PutBack(string path, byte[] copy)
    {
        int length = BitConverter.ToInt32(copy);
        File.WriteAllBytes(path, copy[4..(4 + length)]);
        File.WriteAllBytes(path + "-wal", copy[(4 + length)..]);
        File.Delete(path + "-shm");
    }
}
