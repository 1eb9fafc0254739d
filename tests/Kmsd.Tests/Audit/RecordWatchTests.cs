using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Tests.Audit;

/// <summary>The whole history proven in the background, in pieces, beside whatever goes on.</summary>
public sealed class RecordWatchTests
{
    private const string Unnamed = """
        UPDATE history SET salt = NULL, at = NULL, scope = NULL, store_id = NULL, tag = NULL, version = NULL, operation = NULL, principal = NULL,
            uid = NULL, pid = NULL, outcome = NULL, detail = NULL, items = NULL, context_digest = NULL,
            purged_by = (SELECT min(sequence) FROM history WHERE operation = 'history.purge')
        WHERE sequence =
        """;

    private static readonly Caller s_user = Daemon.Uid(2000);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_old_entry_that_was_changed_is_told_in_journal_and_status_and_everything_is_served()
    {
        await using Daemon daemon = await PopulatedAsync();
        await daemon.TamperAsync("UPDATE history SET uid = 0 WHERE sequence = 5");
        await daemon.ResumeAsync();
        Assert.Equal("ok", daemon.Operations.ReadStatus.Run(Daemon.Operator).Status);
        await daemon.RecordWatch.RunAsync(Cancellation);
        StatusResult status = daemon.Operations.ReadStatus.Run(Daemon.Operator);
        Assert.Equal(("degraded", "integrityFailure"), (status.Status, status.Database));
        Assert.Contains(status.Weaknesses!, weakness => weakness.StartsWith("history: entry 5 isn't as it was written", StringComparison.Ordinal));
        Assert.Equal("integrityFailure", daemon.Operations.ReadStatus.Run(Daemon.Stranger).Database);
        Assert.Contains(
            daemon.HistoryJournal.Lines, line => line.Level == LogLevel.Critical && line.Line.StartsWith("Entry 5 of the history", StringComparison.Ordinal));
        Assert.Null(daemon.ProveHistory.LastGood);
        _ = await daemon.EncryptAsync(s_user, "kept");
    }

    [Fact]
    public async Task It_is_proven_after_each_start_and_then_once_a_day()
    {
        await using Daemon daemon = await PopulatedAsync();
        await daemon.RecordWatch.RunAsync(Cancellation);
        DateTimeOffset first = daemon.Clock.GetUtcNow();
        Assert.Equal((first, daemon.History.Committed.Sequence), (daemon.ProveHistory.LastGood!.At, daemon.ProveHistory.LastGood.Verdict.Entries));
        Assert.Contains(daemon.HistoryJournal.Lines, line => line == (LogLevel.Information, $"The history is as it was written: {daemon.History.Committed.Sequence} entries.", null));

        daemon.Clock.Advance(TimeSpan.FromHours(23));
        await daemon.RecordWatch.RunAsync(Cancellation);
        Assert.Equal(first, daemon.ProveHistory.LastGood.At);

        Assert.Equal(1, daemon.Sql("UPDATE history SET uid = 0 WHERE sequence = 5"));
        daemon.Clock.Advance(TimeSpan.FromHours(1));
        await daemon.RecordWatch.RunAsync(Cancellation);
        Assert.Equal((first, 5), (daemon.ProveHistory.LastGood.At, daemon.ProveHistory.Last!.Verdict.FirstBad));

        Assert.Equal(1, daemon.Sql("UPDATE history SET uid = 2000 WHERE sequence = 5"));
        daemon.Clock.Advance(TimeSpan.FromDays(1));
        await daemon.RecordWatch.RunAsync(Cancellation);
        Assert.Equal("ok", daemon.Operations.ReadStatus.Run(Daemon.Operator).Status);
        await daemon.RestartAsync();
        await daemon.RecordWatch.RunAsync(Cancellation);
        Assert.NotNull(daemon.ProveHistory.LastGood);
    }

    [Fact]
    public async Task While_the_token_is_away_it_is_tried_again_and_what_was_found_stands()
    {
        await using Daemon daemon = await PopulatedAsync();
        await daemon.RecordWatch.RunAsync(Cancellation);
        HistoryVerdict found = daemon.ProveHistory.Last!.Verdict;
        daemon.Clock.Advance(TimeSpan.FromDays(1));
        daemon.Root.IsAway = true;
        await daemon.RecordWatch.RunAsync(Cancellation);
        Assert.Equal(found, daemon.ProveHistory.Last.Verdict);
        daemon.Root.IsAway = false;
        _ = await daemon.EncryptAsync(s_user, "kept");
        daemon.Clock.Advance(TimeSpan.FromMinutes(5));
        await daemon.RecordWatch.RunAsync(Cancellation);
        Assert.Equal(daemon.Clock.GetUtcNow(), daemon.ProveHistory.Last.At);
    }

    [Fact]
    public async Task What_verification_on_request_finds_is_told_as_well()
    {
        await using Daemon daemon = await PopulatedAsync();
        Assert.Equal(1, daemon.Sql("DELETE FROM history WHERE sequence = 4"));
        _ = await daemon.Operations.VerifyHistory.RunAsync(Daemon.Operator, Cancellation);
        Assert.Contains(daemon.Operations.ReadStatus.Run(Daemon.Operator).Weaknesses!, weakness => weakness.StartsWith("history: entry 4 ", StringComparison.Ordinal));
    }

    /// <summary>Whatever is read before the entries go, and whatever after.</summary>
    [Fact]
    public async Task Entries_that_are_erased_between_two_pieces_break_nothing()
    {
        for (int pages = 0; pages < 12; pages++)
        {
            await using Daemon daemon = await PopulatedAsync();
            HistoryVerdict verdict = await ReadAroundAsync(daemon, pages, () => PurgeAsync(daemon));
            Assert.True(verdict.IsGood, $"{verdict.FirstBad} after {pages} pages");
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(11)]
    public async Task Neither_do_retention_and_a_new_root_generation(int pages)
    {
        await using Daemon daemon = await PopulatedAsync();
        HistoryVerdict verdict = await ReadAroundAsync(daemon, pages, async () =>
        {
            _ = await daemon.EncryptAsync(s_user, "kept");
            await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, new RotateRootRequest { Reason = "yearly" });
            await daemon.RootWork.RunAsync(Cancellation);
            daemon.Clock.Advance(TimeSpan.FromDays(401));
            await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
            await daemon.Operations.RetireRoot.RunAsync(Daemon.Operator, new RetireRootRequest { Generation = 1, Reason = "old" }, Cancellation);
            _ = await daemon.EncryptAsync(s_user, "kept");
        });
        Assert.True(verdict.IsGood, $"{verdict.FirstBad}");
        Assert.True(daemon.Query("SELECT count(*) FROM history WHERE salt IS NULL") is 4L);
        Assert.True((await daemon.ProveHistory.RunAsync(3, rest: 0, Cancellation)).Verdict.IsGood);
    }

    [Fact]
    public async Task Whoever_hides_an_entry_behind_a_purge_of_that_moment_is_found()
    {
        for (int pages = 0; pages < 3; pages++)
        {
            await using Daemon daemon = await PopulatedAsync();
            HistoryVerdict verdict = await ReadAroundAsync(daemon, pages, async () =>
            {
                await PurgeAsync(daemon);
                Assert.Equal(1, daemon.Sql($"{Unnamed} 10"));
            });
            Assert.Equal(3, verdict.FirstBad); // Of those that point to the purge, the first.
            await using Daemon another = await PopulatedAsync();
            verdict = await ReadAroundAsync(another, pages, async () =>
            {
                await PurgeAsync(another);
                Assert.Equal(1, another.Sql("UPDATE history SET purged_by = purged_by + 1 WHERE sequence = 11"));
            });
            Assert.NotNull(verdict.FirstBad);
        }
    }

    [Fact]
    public async Task Many_proofs_in_small_pieces_beside_uses_purges_and_rotations_are_all_good()
    {
        await using Daemon daemon = await PopulatedAsync();
        var busy = Task.Run(() => LiveAsync(daemon), Cancellation);
        int proofs = 0;
        while (!busy.IsCompleted || proofs < 3)
        {
            (HistoryVerdict verdict, _) = await daemon.ProveHistory.RunAsync(1 + (proofs % 7), rest: 9, Cancellation);
            Assert.True(verdict.IsGood, $"{verdict.FirstBad} of {verdict.Entries}");
            proofs++;
        }

        await busy;
        Assert.True(daemon.Query("SELECT count(DISTINCT purged_by) FROM history") is > 10L);
    }

    private static async Task LiveAsync(Daemon daemon)
    {
        for (int round = 0; round < 12; round++)
        {
            KeyDescription key = await daemon.CreateKeyAsync("passing", ("uid:2000", KeyRole.EncryptorDecryptor));
            for (int use = 0; use < 20; use++)
            {
                _ = await daemon.EncryptAsync(s_user, use % 2 == 0 ? "kept" : "passing");
            }

            await DeleteAsync(daemon, "passing");
            await PurgeAsync(daemon, key.Tag);
            if (round % 4 == 3)
            {
                await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, new RotateRootRequest { Reason = "yearly" });
                await daemon.RootWork.RunAsync(CancellationToken.None);
            }
        }
    }

    /// <summary>Some pages, then what happens meanwhile, then the rest.</summary>
    private static async Task<HistoryVerdict> ReadAroundAsync(Daemon daemon, int pages, Func<Task> meanwhile)
    {
        HistoryHead last = daemon.History.Committed;
        IReadOnlyList<HistorySegment> segments = daemon.History.Segments;
        using GenerationKeys keys = await daemon.Root.DeriveKeysAsync(TokenAccess.HistoryKeyLabel, segments.Select(segment => segment.Generation), Cancellation);
        using HistoryVerifier verifier = new(keys, segments, daemon.InstanceId);
        using IDisposable membership = daemon.History.Erasure.Join((purge, sequences) => verifier.Erased(purge, sequences, last.Sequence));
        for (int page = 0; page < pages; page++)
        {
            _ = await ReadPageAsync();
        }

        await meanwhile();
        while (await ReadPageAsync())
        {
        }

        return verifier.Finish(last);

        Task<bool> ReadPageAsync() => daemon.Installation.Reader.ReadAsync(from => verifier.ReadPage(from, last.Sequence, length: 1), Cancellation);
    }

    /// <summary>Twelve entries: 3, 5, 7, 9, 11 and 12 are of a key that is deleted.</summary>
    private static async Task<Daemon> PopulatedAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("doomed", ("uid:2000", KeyRole.EncryptorDecryptor));
        _ = await daemon.CreateKeyAsync("kept", ("uid:2000", KeyRole.EncryptorDecryptor));
        for (int use = 0; use < 3; use++)
        {
            _ = await daemon.EncryptAsync(s_user, "doomed");
            _ = await daemon.EncryptAsync(s_user, "kept");
        }

        await DeleteAsync(daemon, "doomed");
        return daemon;
    }

    private static async Task DeleteAsync(Daemon daemon, string key)
    {
        DeleteKeyRequest request = new() { Key = key, ConfirmName = key };
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, request, Cancellation);
        _ = await daemon.Operations.DeleteKey.RunAsync(Daemon.Manager, request, Cancellation);
    }

    private static Task<EmptyResult> PurgeAsync(Daemon daemon) => PurgeAsync(daemon, daemon.Catalogue.Current.Deleted.Keys.Single().Text);

    private static Task<EmptyResult> PurgeAsync(Daemon daemon, string tag) => daemon.Operations.PurgeDeletedKey.RunAsync(
        Daemon.Operator, new PurgeDeletedKeyRequest { Tag = tag, Reason = "asked for" }, Cancellation);
}
