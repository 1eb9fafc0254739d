using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary><c>kill -9</c> before and after each write to database and token: the next start needs nobody, and nothing is half made.</summary>
public sealed class FaultPointTests
{
    private const string Create = """{"name":"during","type":"AES256-GCM96","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""";
    private const string Grant = """{"key":"before","principal":"uid:2000","role":"encryptor"}""";
    private const string Delete = """{"key":"doomed","confirmName":"doomed"}""";

    /// <summary>A change writes the token before its commit, the database, and the token after it.</summary>
    public static TheoryData<string, string, bool> Changes()
    {
        TheoryData<string, string, bool> all = [];
        foreach (string change in new[] { "create", "grant", "rotate", "delete" })
        {
            foreach ((string point, bool isMade) in new[]
            {
                ("writer.begun:1", false), ("writer.before-announce:1", false), ("anchor.before-write:1", false), ("anchor.after-write:1", false),
                ("writer.before-commit:1", false), ("writer.after-commit:1", true), ("anchor.before-write:2", true), ("anchor.after-write:2", true),
                ("writer.after-confirm:1", true),
            })
            {
                all.Add(change, point, isMade);
            }
        }

        return all;
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public async Task A_change_is_made_or_not_made_wherever_the_daemon_dies(string change, string point, bool isMade)
    {
        await using Installation host = await Installation.MakeAsync();
        string sealedBefore;
        await using (Daemon first = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("before");
            _ = await wire.MakeKeyAsync("doomed");
            _ = await wire.ResultAsync("keys.requestDeletion", Delete);
            sealedBefore = await wire.EncryptAsync("before", "before"u8.ToArray());
            _ = await first.StopAsync();
        }

        await using (Daemon dying = await host.StartTestBuildAsync(new() { ["KMSD_TEST_FAULT"] = point }))
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            (string method, string parameters) = change switch
            {
                "create" => ("keys.create", Create),
                "grant" => ("grants.add", Grant),
                "rotate" => ("keys.rotate", """{"key":"before"}"""),
                _ => ("keys.deleteNow", Delete),
            };
            await wire.SendAsync($$"""{"jsonrpc":"2.0","id":1,"method":"{{method}}","params":{{parameters}}}""");
            Assert.Equal(137, await dying.ExitAsync());
        }

        await using Daemon again = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        bool isThere = change switch
        {
            "create" => await reader.ReasonAsync("keys.get", """{"key":"during"}""") == "ok",
            "grant" => (await reader.ResultAsync("grants.list", """{"key":"before"}""")).GetProperty("grants").GetArrayLength() == 2,
            "rotate" => (await reader.ResultAsync("keys.get", """{"key":"before"}""")).GetProperty("currentVersion").GetInt32() == 2,
            _ => await reader.ReasonAsync("keys.get", """{"key":"doomed"}""") == "notFound",
        };
        Assert.Equal(isMade, isThere);
        Assert.Equal(
            isMade && change == "delete" ? 1 : 0, (await reader.ResultAsync("deletedKeys.list")).GetProperty("keys").GetArrayLength());
        if (change == "create" && isMade)
        {
            _ = await reader.DecryptAsync("during", await reader.EncryptAsync("during", "whole"u8.ToArray()));
        }

        Assert.Equal("before"u8.ToArray(), await reader.DecryptAsync("before", sealedBefore));
        Assert.Equal("ok", (await reader.ResultAsync("system.status")).GetProperty("status").GetString());
        Assert.True((await reader.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
        _ = await reader.MakeKeyAsync("after");
        Assert.Equal(0, (await again.StopAsync()).ExitCode);
    }

    [Theory]
    [InlineData("writer.begun:1", false, false)]
    [InlineData("writer.before-commit:1", false, false)]
    [InlineData("writer.after-commit:1", true, false)]
    [InlineData("accept.before-anchor:1", true, false)]
    [InlineData("accept.after-anchor:1", true, false)]
    [InlineData("writer.before-commit:1", false, true)]
    [InlineData("writer.after-commit:1", true, true)]
    [InlineData("accept.before-anchor:1", true, true)]
    [InlineData("accept.after-anchor:1", true, true)]
    public async Task A_recovery_happened_or_not_wherever_it_dies(string point, bool isMade, bool isRotated)
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon first = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("before");
            _ = await first.StopAsync();
        }

        File.Copy(host.Database, host.Path + "/old.db");
        await using (Daemon second = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("after");
            await RotateRootAsync(wire, isRotated);
            _ = await second.StopAsync();
        }

        File.Copy(host.Path + "/old.db", host.Database, overwrite: true);
        string[] recover = ["recover", "--accept-rollback", "--reason", "a test", "--yes"];
        Finished killed = await host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = point }, recover);
        Assert.Equal(137, killed.ExitCode);
        if (!isMade)
        {
            // As before: nothing is served that nobody accepted.
            Assert.Equal(78, (await host.RefusedAsync()).ExitCode);
            Assert.Equal(0, (await host.KmsdAsync(recover)).ExitCode);
        }

        await using Daemon again = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        Assert.Equal(2, (await reader.ResultAsync("keys.get", """{"key":"before"}""")).GetProperty("currentVersion").GetInt32());
        Assert.Equal(1, (await reader.ResultAsync("history.list", """{"scope":"system","operation":"recover"}""")).GetProperty("entries").GetArrayLength());
        Assert.True((await reader.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
        _ = await reader.MakeKeyAsync("more");
        _ = await again.StopAsync();
        Assert.Contains("nothing to recover", (await host.KmsdAsync(recover)).Output, StringComparison.Ordinal);
    }

    /// <summary>
    /// Until the copy takes the database's name the old one serves, and from then on the new one; neither needs anybody. Also where the
    /// root key was rotated since: then the backup doesn't name the generation that vouches for what the token knows.
    /// </summary>
    [Theory]
    [InlineData("restore.copied:1", false, false)]
    [InlineData("writer.before-commit:1", false, false)]
    [InlineData("writer.after-commit:1", false, false)]
    [InlineData("restore.before-aside:1", false, false)]
    [InlineData("restore.after-aside:1", false, false)]
    [InlineData("restore.in-place:1", true, false)]
    [InlineData("accept.before-anchor:1", true, false)]
    [InlineData("accept.after-anchor:1", true, false)]
    [InlineData("restore.copied:1", false, true)]
    [InlineData("writer.before-commit:1", false, true)]
    [InlineData("writer.after-commit:1", false, true)]
    [InlineData("restore.before-aside:1", false, true)]
    [InlineData("restore.after-aside:1", false, true)]
    [InlineData("restore.in-place:1", true, true)]
    [InlineData("accept.before-anchor:1", true, true)]
    [InlineData("accept.after-anchor:1", true, true)]
    public async Task A_restore_happened_or_not_wherever_it_dies(string point, bool isMade, bool isRotated)
    {
        await using Installation host = await Installation.MakeAsync();
        string[] restore = await ChangeAfterBackupAsync(host, isRotated);
        Assert.Equal(137, (await host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = point }, restore)).ExitCode);
        await ServesAsync(host, isMade, isRotated);
        Assert.Equal(0, (await host.KmsdAsync(restore)).ExitCode);
        await ServesAsync(host, isMade: true, isRotated);
    }

    /// <summary>The machine's disk is gone and the token isn't: nothing serves until the restore is through, and a start says what to run.</summary>
    [Theory]
    [InlineData("writer.after-commit:1", false)]
    [InlineData("restore.after-aside:1", false)]
    [InlineData("restore.in-place:1", true)]
    [InlineData("accept.before-anchor:1", true)]
    [InlineData("accept.after-anchor:1", true)]
    public async Task Without_a_database_a_restore_across_a_rotation_is_run_again_wherever_it_dies(string point, bool isMade)
    {
        await using Installation host = await Installation.MakeAsync();
        string[] restore = await ChangeAfterBackupAsync(host, isRotated: true);
        File.Delete(host.Database);
        Assert.Equal(137, (await host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = point }, restore)).ExitCode);
        if (!isMade)
        {
            Finished refused = await host.RefusedAsync();
            Assert.Equal(78, refused.ExitCode);
            Assert.Contains("kmsd restore FILE", refused.Error, StringComparison.Ordinal);
            Assert.Equal(0, (await host.KmsdAsync(restore)).ExitCode);
        }

        await ServesAsync(host, isMade: true, isRotated: true);
    }

    /// <summary>A token without the generation that vouched: a new one, with shares of the older. What it knows says nothing; it is told before the database is in its place.</summary>
    [Theory]
    [InlineData("accept.before-anchor:1")]
    [InlineData("accept.after-anchor:1")]
    [InlineData("restore.in-place:1")]
    public async Task A_token_that_knows_nothing_is_told_first(string point)
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon first = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("before");
            _ = await wire.ResultAsync("backup.create", """{"path":"one.db"}""");
            _ = await first.StopAsync();
        }

        host.Set("token", "anchor", "off");
        await using (Daemon off = await host.StartAsync())
        {
            _ = await off.StopAsync();
        }

        host.Set("token", "anchor", "required");
        File.Delete(host.Database);
        string[] restore = Restore(host);
        Assert.Equal(137, (await host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = point }, restore)).ExitCode);
        if (point != "restore.in-place:1")
        {
            Assert.Equal(78, (await host.RefusedAsync()).ExitCode);
            Assert.Equal(0, (await host.KmsdAsync(restore)).ExitCode);
        }

        await ServesAsync(host, isMade: true, isRotated: false);
    }

    /// <summary>Neither database was anchored: an anchor of one would shut out the other, so the next start makes it.</summary>
    [Theory]
    [InlineData("restore.after-aside:1", 137, false)]
    [InlineData("restore.in-place:1", 137, true)]
    [InlineData("accept.after-anchor:1", 0, true)]
    public async Task While_the_anchor_is_switched_on_a_restore_happened_or_not_wherever_it_dies(string point, int exitCode, bool isMade)
    {
        await using Installation host = await Installation.MakeAsync();
        host.Set("token", "anchor", "off");
        string[] restore = await ChangeAfterBackupAsync(host, isRotated: false);
        host.Set("token", "anchor", "required");
        Assert.Equal(exitCode, (await host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = point }, restore)).ExitCode);
        await ServesAsync(host, isMade, isRotated: false);

        // And now it is there: a database that was put back is found out.
        File.Copy(restore[1], host.Database, overwrite: true);
        await host.SqlAsync("DROP TABLE backup_manifest");
        Assert.Equal(78, (await host.RefusedAsync()).ExitCode);
    }

    /// <summary>The note of it stays when what recorded it dies, and the next one finds it: also where the database went back to after the record.</summary>
    [Theory]
    [InlineData("writer.before-commit:1", false, false)]
    [InlineData("writer.after-commit:1", true, true)]
    [InlineData("accept.after-anchor:1", true, true)]
    [InlineData("accept.before-notes:1", true, true)]
    [InlineData("accept.before-notes:1", true, false)]
    public async Task An_opening_of_custody_is_recorded_once_wherever_a_recovery_dies(string point, bool isMade, bool goesBackAgain)
    {
        await using Installation host = await Installation.MakeAsync();
        await ChangeAsync(host, "before");
        File.Copy(host.Database, host.Path + "/old.db");
        await ChangeAsync(host, "after");
        File.Copy(host.Path + "/old.db", host.Database, overwrite: true);
        string note = NoteOpening(host);
        string[] recover = ["recover", "--accept-rollback", "--reason", "a test", "--yes"];
        Assert.Equal(137, (await host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = point }, recover)).ExitCode);
        Assert.True(File.Exists(note));
        if (goesBackAgain)
        {
            await ChangeAsync(host, "then");
            File.Copy(host.Database, host.Path + "/then.db");
            await ChangeAsync(host, "more");
            File.Copy(host.Path + "/then.db", host.Database, overwrite: true);
        }

        Finished again = await host.KmsdAsync(recover);
        Assert.True(again.ExitCode == 0, again.Error);
        Assert.Equal(isMade && !goesBackAgain, again.Output.Contains("nothing to recover", StringComparison.Ordinal));
        Assert.Equal(!isMade, again.Output.Contains("To be recorded: custody was opened", StringComparison.Ordinal));
        Assert.False(File.Exists(note));
        await IsRecordedOnceAsync(host);
    }

    [Fact]
    public async Task Where_the_token_is_told_nothing_a_recovery_records_an_opening_of_custody_too()
    {
        await using Installation host = await Installation.MakeAsync();
        host.Set("token", "anchor", "off");
        await ChangeAsync(host, "before");
        string note = NoteOpening(host);
        string[] recover = ["recover", "--accept-rollback", "--reason", "a test", "--yes"];
        Finished recovered = await host.KmsdAsync(recover);
        Assert.True(recovered.ExitCode == 0, recovered.Error);
        Assert.Contains("To be recorded: custody was opened", recovered.Output, StringComparison.Ordinal);
        Assert.False(File.Exists(note));
        await IsRecordedOnceAsync(host);
        Assert.Contains("nothing to recover", (await host.KmsdAsync(recover)).Output, StringComparison.Ordinal);
    }

    /// <summary>Run again with the backup from before it, or with one from after it.</summary>
    [Theory]
    [InlineData("restore.in-place:1", false)]
    [InlineData("accept.after-anchor:1", false)]
    [InlineData("accept.before-notes:1", false)]
    [InlineData("restore.in-place:1", true)]
    [InlineData("accept.before-notes:1", true)]
    public async Task An_opening_of_custody_is_recorded_once_wherever_a_restore_dies(string point, bool isLaterBackup)
    {
        await using Installation host = await Installation.MakeAsync();
        string[] restore = await ChangeAfterBackupAsync(host, isRotated: false);
        string note = NoteOpening(host);
        Assert.Equal(137, (await host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = point }, restore)).ExitCode);
        Assert.True(File.Exists(note));
        if (isLaterBackup)
        {
            await using Daemon daemon = await host.StartAsync();
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.ResultAsync("backup.create", """{"path":"two.db"}""");
            _ = await daemon.StopAsync();
            restore[1] = restore[1].Replace("one.db", "two.db", StringComparison.Ordinal);
        }

        Finished again = await host.KmsdAsync(restore);
        Assert.True(again.ExitCode == 0, again.Error);
        Assert.Equal(!isLaterBackup, again.Output.Contains("To be recorded: custody was opened", StringComparison.Ordinal));
        Assert.False(File.Exists(note));
        await IsRecordedOnceAsync(host);
    }

    private static async Task ChangeAsync(Installation host, string key)
    {
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync(key);
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
    }

    /// <summary>As 'kmsd root restore' leaves it.</summary>
    private static string NoteOpening(Installation host)
    {
        string path = Path.Combine(host.State, "custody-opened");
        File.WriteAllText(path, "1764000000123\t1\troot generation 1, set 1a2b; token lost; present: Ada Byron\t1\tS-2\n");
        return path;
    }

    private static async Task IsRecordedOnceAsync(Installation host)
    {
        await using Daemon daemon = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        Assert.Equal(1, (await reader.ResultAsync("history.list", """{"scope":"root","operation":"root.restore"}""")).GetProperty("entries").GetArrayLength());
        Assert.Equal(
            1, (await reader.ResultAsync("notifications.list")).GetProperty("notifications").EnumerateArray().Count(one => one.GetProperty("kind").GetString() == "custody.opened"));
        Assert.True((await reader.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
    }

    /// <summary>A backup, and after it a key, and a rotation of the root key.</summary>
    private static async Task<string[]> ChangeAfterBackupAsync(Installation host, bool isRotated)
    {
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("before");
        _ = await wire.ResultAsync("backup.create", """{"path":"one.db"}""");
        await RotateRootAsync(wire, isRotated);
        _ = await wire.MakeKeyAsync("after");
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        return Restore(host);
    }

    private static string[] Restore(Installation host) => ["restore", Path.Combine(host.State, "backups", "one.db"), "--yes"];

    private static async Task RotateRootAsync(Wire wire, bool isWanted)
    {
        if (isWanted)
        {
            _ = await wire.ResultAsync("root.rotate", """{"reason":"a test"}""");
        }
    }

    /// <summary>The old database or the new one, whole.</summary>
    private static async Task ServesAsync(Installation host, bool isMade, bool isRotated)
    {
        await using Daemon daemon = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        Assert.Equal(isMade ? "notFound" : "ok", await reader.ReasonAsync("keys.get", """{"key":"after"}"""));
        Assert.Equal(isMade ? 2 : 1, (await reader.ResultAsync("keys.get", """{"key":"before"}""")).GetProperty("currentVersion").GetInt32());
        Assert.Equal(isRotated && !isMade ? 2 : 1, (await reader.ResultAsync("root.status")).GetProperty("generation").GetInt64());
        Assert.True((await reader.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
        Assert.Equal("ok", (await reader.ResultAsync("system.status")).GetProperty("database").GetString());
        _ = await reader.MakeKeyAsync($"k{Guid.NewGuid():N}");
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
    }
}
