using Kms.Client.Protocol;
using Kmsd.Commands;
using Kmsd.Configuration;
using Kmsd.Hosting;
using Kmsd.Recovery;
using Kmsd.RootKeys;
using Kmsd.Tests.RootKeys;

namespace Kmsd.Tests.Recovery;

/// <summary><c>kmsd restore</c>: what is said of the file, of the token, and across a rotation of the root key.</summary>
public sealed class RestoreTests
{
    private static readonly RotateRootRequest s_rotate = new() { Reason = "yearly" };

    /// <summary>Whoever holds a damaged file needs no token to be told so.</summary>
    [Theory]
    [InlineData("short")]
    [InlineData("half")]
    [InlineData("text")]
    [InlineData("index")]
    [InlineData("hole")]
    public async Task What_is_wrong_with_the_file_is_said_whatever_the_token_does(string fault)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("kept");
        string backup = await BackUpAsync(daemon);
        await daemon.StopAsync();
        byte[] good = await File.ReadAllBytesAsync(backup, TestContext.Current.CancellationToken);
        byte[] bad = fault switch
        {
            "short" => good[..50],
            "half" => good[..(good.Length / 2)],
            "text" => "no database"u8.ToArray(),
            "index" => good,
            _ => [.. good[..8192], .. new byte[4096], .. good[12288..]],
        };
        await File.WriteAllBytesAsync(backup, bad, TestContext.Current.CancellationToken);
        if (fault == "index")
        {
            _ = Sqlite(backup, "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'WHERE tag IS NOT NULL', 'WHERE tag IS NOT NULL AND sequence < 0') WHERE name = 'history_by_key'; PRAGMA writable_schema = RESET; REINDEX history_by_key; PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, ' AND sequence < 0', '') WHERE name = 'history_by_key'");
        }

        StartupException refusal = await Assert.ThrowsAsync<StartupException>(
            () => RestoreAsync(daemon, backup, _ => throw new InvalidOperationException("The token was asked.")));
        Assert.Equal(ExitCode.DataDoesNotVerify, refusal.ExitCode);
        Assert.EndsWith("Nothing was changed.", refusal.Message, StringComparison.Ordinal);
    }

    /// <summary>The two bytes by which SQLite takes a file for read-only: nothing that a right of a user cures.</summary>
    [Theory]
    [InlineData(18, 0)]
    [InlineData(18, 2)]
    [InlineData(18, 3)]
    [InlineData(19, 0)]
    [InlineData(19, 2)]
    [InlineData(19, 255)]
    public async Task A_backup_whose_format_version_was_changed_doesnt_verify(int at, byte value)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string backup = await BackUpAsync(daemon);
        await daemon.StopAsync();
        byte[] file = await File.ReadAllBytesAsync(backup, TestContext.Current.CancellationToken);
        file[at] = value;
        await File.WriteAllBytesAsync(backup, file, TestContext.Current.CancellationToken);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => RestoreAsync(daemon, backup));
        Assert.Equal((ExitCode.DataDoesNotVerify, "The backup doesn't verify: its header was changed. Nothing was changed."), (refusal.ExitCode, refusal.Message));
    }

    /// <summary>It may be sound and newer than the backup: only its owner knows.</summary>
    [Fact]
    public async Task A_database_that_this_user_may_not_read_isnt_taken_for_lost()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string backup = await BackUpAsync(daemon);
        await daemon.StopAsync();
        byte[] before = await File.ReadAllBytesAsync(daemon.Path, TestContext.Current.CancellationToken);
        UnixFileMode mode = File.GetUnixFileMode(daemon.Path);
        File.SetUnixFileMode(daemon.Path, UnixFileMode.None);
        Task<string>? restoring = null;
        Assert.Null(BoundByRights.Run(() => restoring = RestoreAsync(daemon, backup)));
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => restoring!);
        Assert.Equal(ExitCode.CannotCreate, refusal.ExitCode);
        Assert.StartsWith($"The database {daemon.Path} can't be opened for writing.", refusal.Message, StringComparison.Ordinal);
        File.SetUnixFileMode(daemon.Path, mode);
        Assert.Equal(before, await File.ReadAllBytesAsync(daemon.Path, TestContext.Current.CancellationToken));
        Assert.DoesNotContain(Directory.GetFiles(Path.GetDirectoryName(daemon.Path)!), file => file.StartsWith(daemon.Path + ".", StringComparison.Ordinal));
        _ = await RestoreAsync(daemon, backup);
        await daemon.ResumeAsync();
    }

    [Fact]
    public async Task A_backup_or_a_list_that_this_user_may_not_read_is_said_to_be_so()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string backup = await BackUpAsync(daemon);
        await daemon.StopAsync();
        File.SetUnixFileMode(backup, UnixFileMode.None);
        Task<string>? restoring = null;
        Assert.Null(BoundByRights.Run(() => restoring = RestoreAsync(daemon, backup)));
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => restoring!);
        Assert.Equal(
            (ExitCode.CannotCreate, $"The backup {backup} can't be read: the user that runs kmsd must be allowed to. Nothing was changed."), (refusal.ExitCode, refusal.Message));
        refusal = Assert.IsType<StartupException>(BoundByRights.Run(() => new DeletionList().AddFile(backup, daemon.Clock.GetUtcNow())));
        Assert.StartsWith($"The list of deleted keys {backup} can't be read: it must be a file", refusal.Message, StringComparison.Ordinal);
        refusal = Assert.Throws<StartupException>(() => new DeletionList().AddFile(Path.GetDirectoryName(backup)!, daemon.Clock.GetUtcNow()));
        Assert.Equal($"The list of deleted keys {Path.GetDirectoryName(backup)} isn't there, or is no file. Nothing was changed.", refusal.Message);
    }

    [Fact]
    public async Task A_folder_is_no_backup_and_another_list_no_list_of_deleted_keys()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string backup = await BackUpAsync(daemon);
        string folder = Path.GetDirectoryName(backup)!;
        await daemon.StopAsync();
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => RestoreAsync(daemon, folder));
        Assert.Equal((ExitCode.DataDoesNotVerify, $"{folder} is a folder: name a backup in it. Nothing was changed."), (refusal.ExitCode, refusal.Message));
        string list = Path.Combine(folder, "list.json");
        foreach ((string json, string what) in new[] { ("[]", "see line 1, byte 2."), ("{}", "see line 1, byte 3."), ("null", "It is null."), ("""{"keys":""", "see line 1, byte 9.") })
        {
            await File.WriteAllTextAsync(list, json, TestContext.Current.CancellationToken);
            refusal = Assert.Throws<StartupException>(() => new DeletionList().AddFile(list, daemon.Clock.GetUtcNow()));
            Assert.Equal(ExitCode.DataDoesNotVerify, refusal.ExitCode);
            Assert.Equal($"{list} isn't what 'kmsctl deleted list --json' prints: {what} Nothing was changed.", refusal.Message);
        }
    }

    [Theory]
    [InlineData(ExitCode.TokenAbsent)]
    [InlineData(ExitCode.PinRefused)]
    [InlineData(ExitCode.Configuration)]
    public async Task What_the_token_refuses_keeps_its_exit(int exitCode)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string backup = await BackUpAsync(daemon);
        await daemon.StopAsync();
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(
            () => RestoreAsync(daemon, backup, _ => throw new StartupException(exitCode, "It says no.")));
        Assert.Equal((exitCode, "It says no."), (refusal.ExitCode, refusal.Message));
    }

    [Fact]
    public async Task A_token_that_goes_away_is_absent_and_the_backup_isnt_blamed()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string backup = await BackUpAsync(daemon);
        await daemon.StopAsync();
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => RestoreAsync(
            daemon, backup, generations =>
            {
                MemoryRootKey root = daemon.OpenRoot(generations);
                root.IsAway = true;
                return root;
            }));
        Assert.Equal(ExitCode.TokenAbsent, refusal.ExitCode);
        Assert.DoesNotContain("backup", refusal.Message, StringComparison.OrdinalIgnoreCase);
        daemon.Root.IsAway = false;
        _ = await RestoreAsync(daemon, backup);
        await daemon.ResumeAsync();
    }

    /// <summary>A fault of ours is one of ours: neither the file nor the token did it.</summary>
    [Fact]
    public async Task A_fault_in_opening_the_token_isnt_called_a_damaged_backup()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string backup = await BackUpAsync(daemon);
        await daemon.StopAsync();
        InvalidOperationException fault = await Assert.ThrowsAsync<InvalidOperationException>(
            () => RestoreAsync(daemon, backup, _ => throw new InvalidOperationException("A fault of ours.")));
        Assert.Equal("A fault of ours.", fault.Message);
    }

    [Theory]
    [InlineData(KmsErrorCode.TokenUnavailable, ExitCode.TokenAbsent)]
    [InlineData(KmsErrorCode.StorageUnavailable, ExitCode.CannotCreate)]
    [InlineData(KmsErrorCode.IntegrityFailure, ExitCode.Configuration)]
    [InlineData(KmsErrorCode.InvalidState, ExitCode.Configuration)]
    [InlineData(KmsErrorCode.Unsupported, ExitCode.Configuration)]
    public async Task What_a_caller_would_hear_has_its_exit(KmsErrorCode code, int exitCode)
    {
        StartupException exit = await Assert.ThrowsAsync<StartupException>(
            () => Exits.TryAsync<bool>(() => throw new KmsException(code, "A sentence.")));
        Assert.Equal((exitCode, "A sentence."), (exit.ExitCode, exit.Message));
    }

    /// <summary>The database in its place is read by the generations that it names, which the backup doesn't.</summary>
    [Fact]
    public async Task Across_a_rotation_what_is_newer_is_told_and_the_anchor_of_the_later_generation_superseded()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("kept");
        string backup = await BackUpAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        _ = await daemon.CreateKeyAsync("since");
        await daemon.StopAsync();
        string told = await RestoreAsync(daemon, backup);
        Assert.Contains("key default/since", told, StringComparison.Ordinal);
        Assert.Contains("The root generation of this state is 1", told, StringComparison.Ordinal);
        await daemon.ResumeAsync();
        Assert.DoesNotContain("the token knew nothing", (string)daemon.Query("SELECT detail FROM history WHERE operation = 'restore'")!, StringComparison.Ordinal);
        Assert.Equal([1L, 2L], daemon.Root.Generations);
        Assert.Equal(1, daemon.Installation.Generations.Current.Number);
    }

    /// <summary>The backup that a rotation makes names its generation as planned. By then it is in use, and its keys are the other database's.</summary>
    [Fact]
    public async Task A_generation_that_the_backup_calls_planned_is_dropped_and_its_keys_stay()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("kept", ("uid:1000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(Daemon.Manager, "kept");
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        string backup = Assert.Single(Directory.GetFiles(Path.Combine(Path.GetDirectoryName(daemon.Path)!, "backups"), "before-root-rotation-1-*.db"));
        await daemon.StopAsync();
        Assert.Contains("keys that it doesn't name: 2.", await RestoreAsync(daemon, backup), StringComparison.Ordinal);
        await daemon.ResumeAsync();
        Assert.Equal([1L], daemon.Installation.Generations.All.Keys);
        Assert.Equal([1L, 2L], daemon.Root.Generations);
        Assert.Equal([2L], daemon.Operations.ReadRootStatus.Run(Daemon.Operator).Left!);
        Assert.Equal("a text"u8.ToArray(), await daemon.DecryptAsync(Daemon.Manager, "kept", ciphertext));
    }

    /// <summary>Whoever changes what remains of a deleted key, so that it isn't known any more, doesn't get the key back by a restore.</summary>
    [Fact]
    public async Task A_key_that_was_destroyed_since_stays_so_where_what_remains_of_it_was_changed()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("doomed", ("uid:1000", KeyRole.EncryptorDecryptor));
        _ = await daemon.EncryptAsync(Daemon.Manager, "doomed");
        string backup = await BackUpAsync(daemon);
        DeleteKeyRequest deletion = new() { Key = "doomed", ConfirmName = "doomed" };
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, deletion, CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromHours(72));
        _ = await daemon.Operations.DeleteKey.RunAsync(Daemon.Manager, deletion, CancellationToken.None);
        await daemon.TamperAsync("UPDATE deleted_keys SET purge_at = purge_at + 1");
        await daemon.ResumeAsync();
        ListDeletedKeysResult listed = daemon.Operations.ListDeletedKeys.Run(Daemon.Operator, new ListDeletedKeysRequest());
        Assert.Empty(listed.Keys);
        Assert.StartsWith("What is stored of 1 deleted key was changed", Assert.Single(listed.Warnings!), StringComparison.Ordinal);
        string[] weaknesses = daemon.Operations.ReadStatus.Run(Daemon.Operator).Weaknesses!;
        _ = Assert.Single(weaknesses, text => text.StartsWith("database: what remains of 1 deleted key was changed", StringComparison.Ordinal));
        Assert.DoesNotContain(weaknesses, text => text.Contains("belong to nothing", StringComparison.Ordinal));
        await daemon.StopAsync();

        string told = await RestoreAsync(daemon, backup);
        Assert.Contains("1 of its rows about deleted keys don't verify", told, StringComparison.Ordinal);
        Assert.Contains("destroyed since, will be destroyed again", told, StringComparison.Ordinal);
        await daemon.ResumeAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.EncryptAsync(Daemon.Manager, "doomed"));
        Assert.Equal("doomed", Assert.Single(daemon.Operations.ListDeletedKeys.Run(Daemon.Operator, new ListDeletedKeysRequest()).Keys).Name);
    }

    /// <summary>As it is when a run before this one was cut off after it recorded an opening and before it removed the note.</summary>
    [Fact]
    public async Task An_opening_of_custody_that_the_database_has_on_record_isnt_recorded_again()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string without = await BackUpAsync(daemon);
        await daemon.StopAsync();
        OpeningNotes notes = new(Path.GetDirectoryName(daemon.Path)!);
        OpeningNote note = new(DateTimeOffset.FromUnixTimeMilliseconds(1_764_000_000_123), 1, "root generation 1, set 1a2b; token lost", new Dictionary<long, string> { [1] = "S-2" });
        notes.Add(note);
        Assert.Contains("To be recorded: custody was opened", await RestoreAsync(daemon, without), StringComparison.Ordinal);
        Assert.Empty(notes.Read());
        await daemon.ResumeAsync();
        AssertRecorded(daemon, 1);

        daemon.Clock.Advance(TimeSpan.FromSeconds(1)); // A backup's name is its time.
        string with = await BackUpAsync(daemon);
        await daemon.StopAsync();
        notes.Add(note);
        Assert.DoesNotContain("To be recorded", await RestoreAsync(daemon, with), StringComparison.Ordinal);
        Assert.Empty(notes.Read());
        await daemon.ResumeAsync();
        AssertRecorded(daemon, 1);

        // Another one at another time is another one; and a backup from before knows of neither.
        await daemon.StopAsync();
        notes.Add(note);
        notes.Add(note with { At = note.At.AddMilliseconds(1) });
        _ = await RestoreAsync(daemon, with);
        await daemon.ResumeAsync();
        AssertRecorded(daemon, 2);
        await daemon.StopAsync();
        notes.Add(note);
        _ = await RestoreAsync(daemon, without);
        await daemon.ResumeAsync();
        AssertRecorded(daemon, 1);

        static void AssertRecorded(Daemon daemon, long times)
        {
            Assert.Equal(times, daemon.Query("SELECT count(*) FROM history WHERE operation = 'root.restore' AND scope = 'root'"));
            Assert.Equal(times, daemon.Query("SELECT count(*) FROM notifications WHERE kind = 'custody.opened' AND principal = 'uid:0'"));
        }
    }

    internal static async Task<string> BackUpAsync(Daemon daemon)
    {
        CreateBackupResult made = await daemon.Operations.CreateBackup.RunAsync(Daemon.Operator, new CreateBackupRequest(), CancellationToken.None);
        return Path.Combine(Path.GetDirectoryName(daemon.Path)!, "backups", made.Path);
    }

    /// <summary>What it told.</summary>
    internal static async Task<string> RestoreAsync(Daemon daemon, string backup, Func<IReadOnlyList<StoredGeneration>, RootKey>? openRoot = null)
    {
        using StringWriter output = new();
        using ListLoggerFactory logs = new();
        await Restore.RunAsync(
            CommandLine.Parse(["restore", backup, "--yes"]), daemon.Path, openRoot ?? daemon.OpenRoot, new DaemonOptions(), daemon.Meter, daemon.Clock,
            new OperatorConsole(null, output), logs);
        return output.ToString();
    }

    private static int Sqlite(string path, string sql)
    {
        using Microsoft.Data.Sqlite.SqliteConnection connection = new($"Data Source={path};Pooling=False");
        connection.Open();
        using Microsoft.Data.Sqlite.SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // The text is a constant of a test.
        command.CommandText = sql;
#pragma warning restore CA2100
        return command.ExecuteNonQuery();
    }
}
