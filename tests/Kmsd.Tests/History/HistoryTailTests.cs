using Kms.Client.Protocol;
using Kmsd.History;
using Kmsd.RootKeys;
using Microsoft.Extensions.Logging;

namespace Kmsd.Tests.History;

/// <summary>Uses that were answered, and stand beside the database until the next transaction.</summary>
public sealed class HistoryTailTests
{
    private const int Uses = 5;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_was_answered_is_taken_in_once_by_the_start_after_a_death()
    {
        await using Daemon daemon = await UsedAsync();
        daemon.Die();
        Assert.Equal(0L, CountUses(daemon));
        await daemon.ResumeAsync();
        Assert.Equal((Uses, (long)Uses), (daemon.History.TakenIn, CountUses(daemon)));
        (LogLevel level, string line, _) = Assert.Single(daemon.TakenInLog.Lines);
        Assert.Equal((LogLevel.Information, $"{Uses} entries of the history that the process before had written beside the database alone were taken in."), (level, line));
        Assert.Equal(Uses, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        Assert.True((await VerifyAsync(daemon)).Ok);

        daemon.Die();
        await daemon.ResumeAsync();
        Assert.Equal((0, (long)Uses), (daemon.History.TakenIn, CountUses(daemon)));
        Assert.Empty(daemon.TakenInLog.Lines);
        _ = await EncryptAsync(daemon);
        Assert.True((await VerifyAsync(daemon)).Ok);
    }

    [Fact]
    public async Task Of_a_record_that_was_cut_or_changed_nothing_is_taken_in_and_of_those_before_it_all()
    {
        await using Daemon daemon = await UsedAsync();
        byte[] tail = await File.ReadAllBytesAsync(TailOf(daemon), Cancellation);
        byte[] database = await File.ReadAllBytesAsync(daemon.Path, Cancellation);
        byte[] log = await File.ReadAllBytesAsync(daemon.Path + "-wal", Cancellation);
        int length = tail.Length / Uses; // They are alike.
        daemon.Die();
        for (int at = 0; at < tail.Length; at += 7)
        {
            byte[] changed = [.. tail];
            changed[at] ^= 0x40;
            foreach (byte[] left in new[] { tail[..at], changed })
            {
                await File.WriteAllBytesAsync(daemon.Path, database, Cancellation);
                await File.WriteAllBytesAsync(daemon.Path + "-wal", log, Cancellation);
                File.Delete(daemon.Path + "-shm");
                await File.WriteAllBytesAsync(TailOf(daemon), left, Cancellation);
                await daemon.ResumeAsync();
                Assert.Equal(at / length, daemon.History.TakenIn);
                Assert.True((await VerifyAsync(daemon)).Ok);
                daemon.Die();
            }
        }

        await daemon.ResumeAsync();
    }

    [Fact]
    public async Task What_the_database_has_already_and_what_another_wrote_is_not_taken_in()
    {
        await using Daemon daemon = await UsedAsync();
        await using Daemon other = await UsedAsync();
        byte[] tail = await File.ReadAllBytesAsync(TailOf(daemon), Cancellation);
        byte[] others = await File.ReadAllBytesAsync(TailOf(other), Cancellation);
        daemon.Die();
        await File.WriteAllBytesAsync(TailOf(daemon), others, Cancellation);
        await daemon.ResumeAsync();
        Assert.Equal(0, daemon.History.TakenIn);

        daemon.Die();
        await File.WriteAllBytesAsync(TailOf(daemon), tail, Cancellation);
        await daemon.ResumeAsync();
        Assert.Equal(Uses, daemon.History.TakenIn);
        daemon.Die();
        await File.WriteAllBytesAsync(TailOf(daemon), tail, Cancellation);
        await daemon.ResumeAsync();
        Assert.Equal(0, daemon.History.TakenIn);
        Assert.True((await VerifyAsync(daemon)).Ok);
    }

    [Fact]
    public async Task Who_reads_sees_what_was_answered()
    {
        await using Daemon daemon = await UsedAsync();
        HistoryResult page = await daemon.Operations.ListHistory.RunAsync(Daemon.Manager, new ListHistoryRequest { Key = "key-1" }, Cancellation);
        Assert.Equal(Uses, page.Entries.Count(entry => entry.Operation == "crypto.encrypt"));
        Assert.False(daemon.History.HasDeferred);
    }

    [Fact]
    public async Task So_many_wait_that_taking_them_in_is_short()
    {
        await using Daemon daemon = await UsedAsync();
        for (int use = Uses; use < 1000; use++)
        {
            _ = await EncryptAsync(daemon);
            Assert.InRange(daemon.History.Committed.Sequence - daemon.History.InDatabase.Sequence, 0, 256);
        }

        Assert.True(daemon.History.InDatabase.Sequence > 600);
    }

    [Fact]
    public async Task Where_the_file_cannot_be_written_uses_go_into_the_database_and_it_is_said()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = Directory.CreateDirectory(TailOf(daemon));
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = await EncryptAsync(daemon);
        _ = await EncryptAsync(daemon);
        Assert.False(daemon.History.HasDeferred);
        Assert.Equal(daemon.History.Committed.Sequence, daemon.History.InDatabase.Sequence);
        Assert.Equal(2, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        Directory.Delete(TailOf(daemon));
        long uses = 2;
        for (int turn = 0; turn < 200 && !daemon.History.HasDeferred; turn++, uses++)
        {
            await Task.Delay(50, Cancellation); // It is left alone for a second.
            _ = await EncryptAsync(daemon);
        }

        Assert.True(daemon.History.HasDeferred);
        Assert.Equal(uses, CountUses(daemon));
    }

    [Fact]
    public async Task What_was_answered_before_the_database_failed_is_there_when_it_is_back()
    {
        await using Daemon daemon = await UsedAsync();
        using (Microsoft.Data.Sqlite.SqliteConnection connection = new($"Data Source={daemon.Path};Pooling=False"))
        {
            connection.Open();
            Run(connection, "ALTER TABLE history RENAME TO history_gone");
            _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, () => daemon.CreateKeyAsync("key-2"));
            _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, () => daemon.EncryptAsync(Daemon.Uid(2000), "key-1"));
            Run(connection, "ALTER TABLE history_gone RENAME TO history");
        }

        _ = await EncryptAsync(daemon);
        Assert.Equal(Uses + 1L, CountUses(daemon));
        Assert.Equal(Uses + 1, daemon.Get(Daemon.Manager, "key-1").UsageCount);

        static void Run(Microsoft.Data.Sqlite.SqliteConnection connection, string sql)
        {
            using Microsoft.Data.Sqlite.SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // A constant of this test.
            command.CommandText = sql;
#pragma warning restore CA2100
            _ = command.ExecuteNonQuery();
        }
    }

    [Fact]
    public async Task Of_what_was_erased_the_file_keeps_nothing()
    {
        await using Daemon daemon = await UsedAsync();
        byte[] tag = KeyTag.Parse(daemon.Get(Daemon.Manager, "key-1").Tag).ToBytes();
        Assert.True((await File.ReadAllBytesAsync(TailOf(daemon), Cancellation)).AsSpan().IndexOf(tag) > 0);
        _ = await daemon.Writer.ChangeAsync(
            () =>
            {
                daemon.History.Erase([daemon.History.StagedSequence], "a use", null, daemon.Clock.GetUtcNow());
                return true;
            },
            Cancellation, erases: true);
        Assert.Equal(-1, (await File.ReadAllBytesAsync(TailOf(daemon), Cancellation)).AsSpan().IndexOf(tag));
        Assert.True((await VerifyAsync(daemon)).Ok);
    }

    [Fact]
    public async Task What_a_death_left_there_is_gone_with_the_first_transaction()
    {
        await using Daemon daemon = await UsedAsync();
        byte[] tag = KeyTag.Parse(daemon.Get(Daemon.Manager, "key-1").Tag).ToBytes();
        daemon.Die();
        Assert.True((await File.ReadAllBytesAsync(TailOf(daemon), Cancellation)).AsSpan().IndexOf(tag) > 0);
        await daemon.ResumeAsync();
        _ = await daemon.Writer.ChangeAsync(() => true, Cancellation);
        Assert.Empty(await File.ReadAllBytesAsync(TailOf(daemon), Cancellation));
        await daemon.StopAsync();
        Assert.False(File.Exists(TailOf(daemon)));
        await daemon.ResumeAsync();
    }

    /// <summary>The look of every second may share a batch with a change that the token can't be told of.</summary>
    [Fact]
    public async Task What_waits_goes_in_though_the_token_is_away()
    {
        await using Daemon daemon = await UsedAsync();
        daemon.Root.IsAway = true;
        Task<KmsException> change = Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => daemon.Operations.UpdateKey.RunAsync(
            Daemon.Manager, new UpdateKeyRequest { Key = "key-1", Memo = "not to be" }, Cancellation));
        await daemon.Writer.SettleAsync(Cancellation);
        _ = await change;
        await daemon.Writer.SettleAsync(Cancellation);
        Assert.False(daemon.History.HasDeferred);
        Assert.Equal((long)Uses, CountUses(daemon));
        daemon.Root.IsAway = false;
    }

    [Theory]
    [InlineData("made")]
    [InlineData("refused")]
    [InlineData("lost")]
    public async Task A_use_that_passes_a_change_stands_whatever_becomes_of_that(string outcome)
    {
        await using Daemon daemon = await UsedAsync();
        bool hasPassed = false;
        Task<bool> change = ChangeAsync(daemon, () =>
        {
            Task<string> use = UseAndWait(daemon);
            daemon.Writer.LetUsesPass();
            hasPassed = IsDone(use, TimeSpan.FromSeconds(10));
            return outcome switch
            {
                "made" => true,
                "refused" => throw new KmsException(KmsErrorCode.Forbidden, "No."),
                _ => throw new Microsoft.Data.Sqlite.SqliteException("The disk is gone.", 10), // SQLITE_IOERR
            };
        });
        if (outcome == "made")
        {
            Assert.True(await change);
        }
        else
        {
            _ = await Refusal.OfAsync(outcome == "lost" ? KmsErrorCode.StorageUnavailable : KmsErrorCode.Forbidden, () => change);
        }

        Assert.True(hasPassed);
        Assert.Equal(outcome == "lost", daemon.History.HasDeferred);
        await daemon.Writer.SettleAsync(Cancellation);
        Assert.Equal(Uses + 1L, CountUses(daemon));
        Assert.Equal(Uses + 1, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        _ = await daemon.Writer.ChangeAsync(() => true, Cancellation); // The counters go with it.
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.Equal((0, Uses + 1L), (daemon.History.TakenIn, CountUses(daemon)));
        Assert.Equal(Uses + 1, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        Assert.True((await VerifyAsync(daemon)).Ok);
    }

    [Fact]
    public async Task Of_a_use_that_passed_a_change_nothing_is_lost_when_the_process_dies_before_that_is_committed()
    {
        await using Daemon daemon = await UsedAsync();
        byte[]? tail = null;
        byte[]? log = null;
        _ = await ChangeAsync(daemon, () =>
        {
            Task<string> use = UseAndWait(daemon);
            daemon.Writer.LetUsesPass();
            Assert.True(IsDone(use, TimeSpan.FromSeconds(10)));
            tail = File.ReadAllBytes(TailOf(daemon));
            log = File.ReadAllBytes(daemon.Path + "-wal");
            return true;
        });
        daemon.Die();
        await File.WriteAllBytesAsync(TailOf(daemon), tail!, Cancellation);
        await File.WriteAllBytesAsync(daemon.Path + "-wal", log!, Cancellation);
        File.Delete(daemon.Path + "-shm");
        await daemon.ResumeAsync();
        Assert.Equal((Uses + 1, Uses + 1L), (daemon.History.TakenIn, CountUses(daemon)));
        Assert.Equal(Uses + 1, daemon.Get(Daemon.Manager, "key-1").UsageCount);
        Assert.True((await VerifyAsync(daemon)).Ok);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_use_waits_for_a_change_that_said_something_and_where_it_cannot_be_kept_beside_the_database(bool isSaid)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        if (!isSaid)
        {
            _ = Directory.CreateDirectory(TailOf(daemon));
        }

        Task<string>? use = null;
        bool hasPassed = true;
        _ = await ChangeAsync(daemon, () =>
        {
            if (isSaid)
            {
                _ = daemon.History.Append(new HistoryEntry
                {
                    At = daemon.Clock.GetUtcNow(),
                    Scope = HistoryScope.System,
                    Operation = "said",
                    Outcome = "ok",
                });
            }

            use = UseAndWait(daemon);
            daemon.Writer.LetUsesPass();
            hasPassed = IsDone(use, TimeSpan.FromMilliseconds(200));
            return true;
        });
        Assert.False(hasPassed);
        _ = await use!;
        Assert.Equal(1L, CountUses(daemon));
        Assert.True((await VerifyAsync(daemon)).Ok);
    }

    /// <summary>The mark of the counters covers the link of the last use; it must be in the database before the mark is coded.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_start_after_a_use_that_passed_versions_being_carried_over(bool dies)
    {
        await using Daemon daemon = await UsedAsync();
        Task<string>? use = null;
        _ = await ChangeAsync(daemon, () =>
        {
            use = UseAndWait(daemon);
            daemon.Catalogue.Rewrap(daemon.Catalogue.Staged.Keys.Values.Single(), new Dictionary<long, (SealedMaterial, SealedMaterial)>());
            daemon.Writer.LetUsesPass();
            return true;
        });
        _ = await use!;
        if (dies)
        {
            daemon.Die();
            await daemon.ResumeAsync();
        }
        else
        {
            await daemon.RestartAsync();
        }

        Assert.Equal(Uses + 1, daemon.Get(Daemon.Manager, "key-1").UsageCount);
    }

    [Fact]
    public async Task The_file_is_there_only_while_something_may_stand_in_it()
    {
        await using Daemon daemon = await UsedAsync();
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(TailOf(daemon)));
        await daemon.StopAsync();
        Assert.False(File.Exists(TailOf(daemon)));
        Assert.Equal((long)Uses, CountUses(daemon));
        await daemon.ResumeAsync();
    }

    private static string TailOf(Daemon daemon) => daemon.Path + HistoryTail.Suffix;

    private static async Task<Daemon> UsedAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        for (int use = 0; use < Uses; use++)
        {
            _ = await EncryptAsync(daemon);
        }

        Assert.True(daemon.History.HasDeferred);
        return daemon;
    }

    private static Task<bool> ChangeAsync(Daemon daemon, Func<bool> apply) => daemon.Writer.ChangeAsync(apply, Cancellation, isQuiet: true);

    // The writer's thread can't await.
    private static bool IsDone(Task use, TimeSpan atMost) => SpinWait.SpinUntil(() => use.IsCompleted, atMost);

    /// <summary>A use that has come as far as the writer's queue.</summary>
    private static Task<string> UseAndWait(Daemon daemon)
    {
        Task<string> use = Task.Run(() => EncryptAsync(daemon));
        Assert.True(SpinWait.SpinUntil(() => daemon.Writer.QueueLength > 0, TimeSpan.FromSeconds(10)));
        return use;
    }

    private static Task<string> EncryptAsync(Daemon daemon) => daemon.EncryptAsync(Daemon.Uid(2000), "key-1");

    private static object? CountUses(Daemon daemon) => daemon.Query("SELECT count(*) FROM history WHERE operation = 'crypto.encrypt'");

    private static Task<VerifyHistoryResult> VerifyAsync(Daemon daemon) => daemon.Operations.VerifyHistory.RunAsync(Daemon.Operator, Cancellation);
}
