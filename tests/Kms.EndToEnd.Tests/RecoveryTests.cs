using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Backup, restore and recover as an operator does them: <c>kmsctl backup</c>, <c>kmsd restore</c>, <c>kmsd recover</c>.</summary>
public sealed class RecoveryTests
{
    private const string Deletion = """{"key":"victim","confirmName":"victim"}""";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_key_that_was_deleted_after_the_backup_is_deleted_after_the_restore_too(bool isPurged)
    {
        await using Installation host = await Installation.MakeAsync();
        string backup = System.IO.Path.Combine(host.State, "backups", "before.db");
        string kept;
        string lost;
        byte[] material;
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            string tag = await wire.MakeKeyAsync("victim");
            _ = await wire.MakeKeyAsync("kept");
            lost = await wire.EncryptAsync("victim", "lost"u8.ToArray());
            kept = await wire.EncryptAsync("kept", "kept"u8.ToArray());
            Finished made = await host.KmsctlAsync("backup", "before.db", "--json");
            Assert.Equal(0, made.ExitCode);
            var result = JsonElement.Parse(made.Output);
            Assert.Equal("before.db", result.GetProperty("path").GetString());
            Assert.Equal(System.IO.Path.GetDirectoryName(backup), result.GetProperty("folder").GetString());
            Assert.Equal(new FileInfo(backup).Length, result.GetProperty("size").GetInt64());
            string sha256 = result.GetProperty("sha256").GetString()!;
            Assert.StartsWith(sha256, await Shell.SucceedAsync("sha256sum", backup), StringComparison.Ordinal);
            Assert.Equal("600", (await Shell.SucceedAsync("stat", "-c", "%a", backup)).Trim());
            material = Convert.FromHexString((await Shell.SucceedAsync("sqlite3", backup, $"SELECT hex(blob) FROM version_material WHERE tag = x'{tag}'")).Trim());
            _ = await wire.ResultAsync("keys.requestDeletion", Deletion);
            _ = await wire.ResultAsync("keys.deleteNow", Deletion);
            if (isPurged)
            {
                _ = await wire.ResultAsync("deletedKeys.purge", $$"""{"tag":"{{tag}}","reason":"a test"}""");
            }

            _ = await wire.MakeKeyAsync("after");
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        Finished restored = await host.KmsdAsync("restore", backup, "--yes", "--reason", "a test");
        Assert.True(restored.ExitCode == 0, restored.Error);
        Assert.Contains("default/victim", restored.Output, StringComparison.Ordinal);
        Assert.Contains("was destroyed at", restored.Output, StringComparison.Ordinal);
        Assert.Contains("default/after", restored.Output, StringComparison.Ordinal);
        string aside = Assert.Single(Directory.GetFiles(host.State, "kms.db.aside-*"));
        Assert.Empty(Directory.GetFiles(host.State, "kms.db.restoring*"));
        Assert.Equal(isPurged ? "2" : "3", (await Shell.SucceedAsync("sqlite3", aside, "SELECT count(*) FROM keys UNION ALL SELECT count(*) FROM deleted_keys ORDER BY 1").ContinueWith(
            task => task.Result.Split('\n').Where(line => line.Length > 0).Sum(int.Parse).ToString(System.Globalization.CultureInfo.InvariantCulture), TaskScheduler.Default)));

        await using (Daemon again = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            Assert.Equal("notFound", await wire.ReasonAsync("crypto.decrypt", $$"""{"key":"victim","ciphertext":"{{lost}}"}"""));
            Assert.Equal("notFound", await wire.ReasonAsync("keys.get", """{"key":"after"}"""));
            Assert.Equal("kept"u8.ToArray(), await wire.DecryptAsync("kept", kept));
            Assert.Equal(2, (await wire.ResultAsync("keys.get", """{"key":"kept"}""")).GetProperty("currentVersion").GetInt32());
            Assert.StartsWith("kms:v2:", await wire.EncryptAsync("kept", "x"u8.ToArray()), StringComparison.Ordinal);
            Assert.Equal("victim", (await wire.ResultAsync("deletedKeys.list")).GetProperty("keys")[0].GetProperty("name").GetString());
            Assert.True((await wire.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
            Assert.Equal("ok", (await wire.ResultAsync("system.status")).GetProperty("database").GetString());
            Assert.Equal(0, (await again.StopAsync()).ExitCode);
        }

        Assert.Equal(-1, File.ReadAllBytes(host.Database).AsSpan().IndexOf(material));
    }

    /// <summary>A new machine: nothing in the state folder but what a person put there. Nobody but the list knows what was deleted.</summary>
    [Fact]
    public async Task Without_a_database_the_list_of_deleted_keys_says_what_is_destroyed_again()
    {
        await using Installation host = await Installation.MakeAsync();
        string backup = System.IO.Path.Combine(host.Path, "kms.backup");
        string list = System.IO.Path.Combine(host.Path, "deleted.json");
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("victim");
            _ = await wire.MakeKeyAsync("kept");
            Finished made = await host.KmsctlAsync("backup", "--json");
            string name = JsonElement.Parse(made.Output).GetProperty("path").GetString()!;
            File.Copy(System.IO.Path.Combine(host.State, "backups", name), backup);
            _ = await wire.ResultAsync("keys.requestDeletion", Deletion);
            _ = await wire.ResultAsync("keys.deleteNow", Deletion);
            File.WriteAllText(list, (await wire.ResultAsync("deletedKeys.list")).GetRawText());
            _ = await daemon.StopAsync();
        }

        Directory.Delete(host.State, recursive: true);
        _ = Directory.CreateDirectory(host.State, (UnixFileMode)0b111_000_000);
        Finished restored = await host.KmsdAsync("restore", backup, "--deleted", list, "--yes");
        Assert.True(restored.ExitCode == 0, restored.Error);
        await using Daemon again = await host.StartAsync();
        await using Wire client = await Wire.ConnectAsync(host.Socket);
        Assert.Equal("notFound", await client.ReasonAsync("keys.get", """{"key":"victim"}"""));
        _ = await client.EncryptAsync("kept", "x"u8.ToArray());
    }

    [Theory]
    [InlineData("UPDATE grants SET principal = 'uid:1'")]
    [InlineData("UPDATE keys SET usage_count = 0, usage_code = usage_code")]
    [InlineData("UPDATE keys SET memo = 'x'")]
    [InlineData("UPDATE last_seen SET at = at + 1")]
    [InlineData("DELETE FROM history WHERE sequence = 2")]
    [InlineData("UPDATE history SET detail = 'x' WHERE sequence = 1")]
    [InlineData("UPDATE history_heads SET epoch = epoch + 1")]
    [InlineData("UPDATE instance SET anchored = 0")]
    [InlineData("UPDATE backup_manifest SET entries = entries - 1")]
    [InlineData("UPDATE backup_manifest SET created_at = created_at + 1")]
    [InlineData("DELETE FROM backup_manifest")]
    [InlineData("DROP TABLE backup_manifest")]
    [InlineData("DELETE FROM notifications")]
    [InlineData("CREATE TABLE more (x)")]
    [InlineData("UPDATE root_generations SET rotate_by = rotate_by + 1")]
    [InlineData("UPDATE usage_mark SET calls = 0")]
    public async Task A_backup_that_was_changed_is_refused_with_65_and_nothing_changes(string sql)
    {
        await using Installation host = await Installation.MakeAsync();
        string backup = await BackUpAsync(host);
        byte[] before = File.ReadAllBytes(host.Database);
        _ = await Shell.SucceedAsync("sqlite3", backup, sql);
        Finished refused = await host.KmsdAsync("restore", backup, "--yes");
        Assert.Equal(65, refused.ExitCode);
        Assert.Contains("Nothing was changed", refused.Error, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(host.Database));
        Assert.DoesNotContain(Directory.GetFiles(host.State, "kms.db.?*"), file => file != host.Database);
        await using Daemon again = await host.StartAsync();
    }

    [Fact]
    public async Task A_file_that_is_no_backup_or_of_another_installation_is_refused()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Installation other = await Installation.MakeAsync();
        string foreign = await BackUpAsync(other);
        Finished refused = await host.KmsdAsync("restore", foreign, "--yes");
        Assert.Equal(65, refused.ExitCode);
        Assert.Contains("another installation", refused.Error, StringComparison.Ordinal);
        Assert.Equal(65, (await host.KmsdAsync("restore", host.Configuration, "--yes")).ExitCode);
        Assert.Equal(65, (await host.KmsdAsync("restore", host.Database + ".none", "--yes")).ExitCode);
        Assert.Equal(65, (await host.KmsdAsync("restore", host.Database, "--yes")).ExitCode);
        Assert.Equal(64, (await host.KmsdAsync("restore", foreign + "x", "--reason", "", "--yes")).ExitCode);
        _ = await BackUpAsync(host);
        File.Delete(host.Database);
        refused = await host.KmsdAsync("restore", foreign, "--yes");
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("root key isn't in this token", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_the_token_refuses_keeps_its_exit_code()
    {
        await using Installation host = await Installation.MakeAsync();
        string backup = await BackUpAsync(host);
        host.Set("token", "label", "another");
        Assert.Equal(75, (await host.KmsdAsync("restore", backup, "--yes")).ExitCode);
        host.Set("token", "label", Installation.Label);
        string pin = await File.ReadAllTextAsync(host.PinFile, TestContext.Current.CancellationToken);
        Installation.WriteSecret(host.PinFile, "wrong-pin");
        Assert.Equal(77, (await host.KmsdAsync("restore", backup, "--yes")).ExitCode);
        Installation.WriteSecret(host.PinFile, pin);
        Assert.Equal(0, (await host.KmsdAsync("restore", backup, "--yes")).ExitCode);
    }

    /// <summary>What is damaged is what a restore is for: the backup names what it needs by itself.</summary>
    [Theory]
    [InlineData("UPDATE root_generations SET mac_check = zeroblob(32) WHERE generation = 2")]
    [InlineData("UPDATE root_generations SET mac_key_id = zeroblob(16) WHERE generation = 2")]
    [InlineData("UPDATE root_generations SET generation = 4000000000 WHERE generation = 2")]
    [InlineData("UPDATE root_generations SET state = 'old'")]
    [InlineData("DELETE FROM root_generations WHERE generation = 1")]
    public async Task Whatever_was_done_to_the_database_in_its_place_a_backup_is_put_there(string sql)
    {
        await using Installation host = await Installation.MakeAsync();
        string backup = await BackUpAsync(host);
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.ResultAsync("root.rotate", """{"reason":"a test"}""");
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        await host.SqlAsync(sql);
        Assert.Equal(78, (await host.RefusedAsync()).ExitCode);
        Finished restored = await host.KmsdAsync("restore", backup, "--yes");
        Assert.True(restored.ExitCode == 0, restored.Error);
        await using Daemon again = await host.StartAsync();
    }

    /// <summary>Its write-ahead log couldn't go with it: cut off in between, the old database would lack its last changes.</summary>
    [Fact]
    public async Task While_another_process_reads_the_database_it_isnt_replaced()
    {
        await using Installation host = await Installation.MakeAsync();
        string backup = await BackUpAsync(host);
        using (System.Diagnostics.Process reader = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("sqlite3", [host.Database])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!)
        {
            await using (Daemon daemon = await host.StartAsync())
            await using (Wire wire = await Wire.ConnectAsync(host.Socket))
            {
                await reader.StandardInput.WriteLineAsync("BEGIN; SELECT count(*) FROM instance;");
                await reader.StandardInput.FlushAsync(TestContext.Current.CancellationToken);
                Assert.Equal("1", await reader.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
                _ = await wire.MakeKeyAsync("last");
                Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
            }

            Finished refused = await host.KmsdAsync("restore", backup, "--yes");
            Assert.Equal(73, refused.ExitCode);
            Assert.Contains("Another process reads", refused.Error, StringComparison.Ordinal);
            Assert.DoesNotContain(Directory.GetFiles(host.State), file => file.Contains(".aside", StringComparison.Ordinal) || file.Contains(".restoring", StringComparison.Ordinal));
            reader.StandardInput.Close();
            await reader.WaitForExitAsync(TestContext.Current.CancellationToken);
        }

        await using (Daemon again = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.ResultAsync("keys.get", """{"key":"last"}""");
            Assert.Equal(0, (await again.StopAsync()).ExitCode);
        }

        Assert.Equal(0, (await host.KmsdAsync("restore", backup, "--yes")).ExitCode);
    }

    /// <summary>The keys of the later generation stay for the database that was set aside; the console names them, asks, and destroys them.</summary>
    [Theory]
    [InlineData("root.left-recorded:1")]
    [InlineData("root.left-destroyed:1")]
    [InlineData(null)]
    public async Task What_a_restore_across_a_rotation_leaves_in_the_token_is_named_and_removed_by_hand(string? point)
    {
        await using Installation host = await Installation.MakeAsync();
        string backup = await BackUpAsync(host);
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.ResultAsync("root.rotate", """{"reason":"a test"}""");
            _ = await wire.MakeKeyAsync("since");
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        Finished restored = await host.KmsdAsync("restore", backup, "--yes");
        Assert.True(restored.ExitCode == 0, restored.Error);
        Assert.Contains("The root generation of this state is 1", restored.Output, StringComparison.Ordinal);

        // What was set aside opens what it always did, as long as they are there.
        string aside = Assert.Single(Directory.GetFiles(host.State, "kms.db.aside-*"));
        Assert.Contains("root keys in it: kmsd-root-mac-1", (await host.KmsdAsync("token", "probe")).Output, StringComparison.Ordinal);
        Assert.Equal(0, (await host.KmsdAsync("history", "verify", "--database", aside)).ExitCode);
        await using (Daemon daemon = await host.StartTestBuildAsync(new() { ["KMSD_TEST_FAULT"] = point ?? "" }))
        {
            Assert.Contains("generation 2\tleft in the token", (await host.KmsctlAsync("root", "status")).Output, StringComparison.Ordinal);
            Finished unsaid = await host.KmsctlAsync("n\n"u8.ToArray(), "root", "retire", "2", "--reason", "not needed");
            Assert.Equal(2, unsaid.ExitCode);
            Assert.Contains("can't be read any more once they are destroyed", unsaid.Error, StringComparison.Ordinal);
            Finished retired = await host.KmsctlAsync("y\n"u8.ToArray(), "root", "retire", "2", "--reason", "not needed");
            Assert.Equal(point is null, retired.ExitCode == 0);
            Finished ended = point is null ? await daemon.StopAsync() : new Finished(await daemon.ExitAsync(), "", await daemon.JournalAsync());
            Assert.Equal(point is null ? 0 : 137, ended.ExitCode);
            Assert.Contains("root generations that this database doesn't need: 2.", ended.Error, StringComparison.Ordinal);
        }

        await using (Daemon again = await host.StartAsync())
        {
            if (point == "root.left-recorded:1")
            {
                Assert.Equal(0, (await host.KmsctlAsync("root", "retire", "2", "--reason", "once more", "--yes")).ExitCode);
            }

            Assert.DoesNotContain("left in the token", (await host.KmsctlAsync("root", "status")).Output, StringComparison.Ordinal);
            Assert.Equal(0, (await again.StopAsync()).ExitCode);
        }

        string probe = (await host.KmsdAsync("token", "probe")).Output;
        Assert.Contains("kmsd-root-mac-1-", probe, StringComparison.Ordinal);
        Assert.DoesNotContain("-2-", probe, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_the_word_nothing_is_put_back()
    {
        await using Installation host = await Installation.MakeAsync();
        string backup = await BackUpAsync(host);
        byte[] before = File.ReadAllBytes(host.Database);
        Assert.Equal(64, (await host.KmsdAsync("restore", backup)).ExitCode);
        Finished no = await AtTerminalAsync(host, "restore", backup, "no");
        Assert.Contains("Type 'restore' to go on", no.Output, StringComparison.Ordinal);
        Assert.Contains("The word wasn't given", no.Output, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(host.Database));
        Finished yes = await AtTerminalAsync(host, "restore", backup, "restore");
        Assert.Contains("Restored", yes.Output, StringComparison.Ordinal);
        await using Daemon again = await host.StartAsync();
    }

    [Fact]
    public async Task A_backup_is_made_by_operators_alone_in_its_folder_and_under_a_new_name()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        Assert.Equal("ok", await wire.ReasonAsync("backup.create", """{"path":"one.db"}"""));
        Assert.Equal("alreadyExists", await wire.ReasonAsync("backup.create", """{"path":"one.db"}"""));
        foreach (string name in new[] { "../x.db", "/tmp/x.db", ".x", "", "a b", new string('x', 101) })
        {
            Assert.Equal("invalidParams", await wire.ReasonAsync("backup.create", $$"""{"path":"{{name}}"}"""));
        }

        string entry = (await wire.ResultAsync("history.list", """{"scope":"system","operation":"backup.create"}""")).GetProperty("entries").EnumerateArray()
            .Single(one => one.GetProperty("outcome").GetString() == "ok").GetProperty("detail").GetString()!;
        Assert.StartsWith("one.db, sha256 ", entry, StringComparison.Ordinal);
        _ = await daemon.StopAsync();
        host.Set("access", "operators", "uid:4242");
        await using Daemon again = await host.StartAsync();
        await using Wire stranger = await Wire.ConnectAsync(host.Socket);
        Assert.Equal("forbidden", await stranger.ReasonAsync("backup.create"));
    }

    [Fact]
    public async Task A_database_copied_by_hand_is_refused_and_recovered_with_every_aes_key_rotated()
    {
        await using Installation host = await Installation.MakeAsync();
        string old = host.Path + "/old.db";
        string ciphertext;
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("used");
            _ = await wire.MakeKeyAsync("off");
            _ = await wire.ResultAsync("keys.create", """{"name":"held","type":"AES256-GCM96","protection":"hsm","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
            _ = await wire.ResultAsync("keys.create", """{"name":"signer","type":"ECDSA-P256"}""");
            _ = await wire.ResultAsync("keys.disable", """{"key":"off"}""");
            ciphertext = await wire.EncryptAsync("used", "old"u8.ToArray());
            _ = await daemon.StopAsync();
        }

        File.Copy(host.Database, old);
        Assert.Equal(0, (await host.KmsdAsync("recover", "--accept-rollback", "--reason", "no reason", "--yes")).ExitCode);
        Assert.Equal(File.ReadAllBytes(old), File.ReadAllBytes(host.Database));
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("after");
            _ = await daemon.StopAsync();
        }

        File.Copy(old, host.Database, overwrite: true);
        Assert.Equal(78, (await host.RefusedAsync()).ExitCode);
        Assert.Equal(64, (await host.KmsdAsync("recover", "--reason", "x", "--yes")).ExitCode);
        Assert.Equal(64, (await host.KmsdAsync("recover", "--accept-rollback", "--yes")).ExitCode);
        Assert.Equal(64, (await host.KmsdAsync("recover", "--accept-rollback", "--reason", "x")).ExitCode);
        Assert.Equal(78, (await host.RefusedAsync()).ExitCode);
        Finished recovered = await host.KmsdAsync("recover", "--accept-rollback", "--reason", "the disk died", "--yes");
        Assert.True(recovered.ExitCode == 0, recovered.Error);
        await using (Daemon again = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            foreach ((string name, int version) in new[] { ("used", 2), ("off", 2), ("held", 2), ("signer", 1) })
            {
                Assert.Equal(version, (await wire.ResultAsync("keys.get", $$"""{"key":"{{name}}"}""")).GetProperty("currentVersion").GetInt32());
            }

            Assert.Equal("old"u8.ToArray(), await wire.DecryptAsync("used", ciphertext));
            JsonElement entry = (await wire.ResultAsync("history.list", """{"scope":"system","operation":"recover"}""")).GetProperty("entries")[0];
            Assert.StartsWith("the disk died (epoch ", entry.GetProperty("detail").GetString(), StringComparison.Ordinal);
            Assert.True((await wire.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
            _ = await again.StopAsync();
        }

        // What was left behind is of another lineage now.
        File.Copy(old, host.Database, overwrite: true);
        Finished refused = await host.RefusedAsync();
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("another lineage", refused.Error, StringComparison.Ordinal);
    }

    /// <summary>What is wrong by itself isn't accepted by anybody.</summary>
    [Theory]
    [InlineData("DELETE FROM grants")]
    [InlineData("UPDATE history_heads SET sequence = sequence - 1")]
    [InlineData("UPDATE instance SET supersedes = x'00'")]
    public async Task A_database_that_does_not_verify_by_itself_cannot_be_recovered(string sql)
    {
        await using Installation host = await Installation.MakeAsync();
        string old = host.Path + "/old.db";
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("one");
            _ = await daemon.StopAsync();
        }

        File.Copy(host.Database, old);
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("two");
            _ = await daemon.StopAsync();
        }

        File.Copy(old, host.Database, overwrite: true);
        await host.SqlAsync(sql);
        Finished refused = await host.KmsdAsync("recover", "--accept-rollback", "--reason", "x", "--yes");
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("estore", refused.Error, StringComparison.Ordinal);
    }

    private static async Task<string> BackUpAsync(Installation host)
    {
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        string key = $"k{Guid.NewGuid():N}";
        _ = await wire.MakeKeyAsync(key);
        _ = await wire.EncryptAsync(key, "x"u8.ToArray());
        _ = await wire.ResultAsync("keys.update", $$"""{"key":"{{key}}","memo":"changed"}""");
        string name = (await wire.ResultAsync("backup.create")).GetProperty("path").GetString()!;
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        return System.IO.Path.Combine(host.State, "backups", name);
    }

    /// <summary>On a terminal of its own, answering the question.</summary>
    private static Task<Finished> AtTerminalAsync(Installation host, string command, string backup, string answer)
    {
        host.WriteConfiguration();
        return Shell.RunAsync(
            "script", ["-qec", $"{Repository.Kmsd} {command} {backup} --config {host.Configuration}", "/dev/null"], host.Environment,
            System.Text.Encoding.UTF8.GetBytes(answer + "\n"));
    }

    /// <summary>Whatever bit of a backup is turned, it isn't taken, and the exit says that the data is bad: never a fault of kmsd.</summary>
    [Fact]
    public async Task A_damaged_backup_is_refused_as_such()
    {
        int flips = Repository.Count("KMS_BACKUP_FLIPS", 30);
        await using Installation host = await Installation.MakeAsync();
        string backup = System.IO.Path.Combine(host.State, "backups", "good.db");
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("kept");
            _ = await wire.EncryptAsync("kept", "kept"u8.ToArray());
            Assert.Equal(0, (await host.KmsctlAsync("backup", "good.db")).ExitCode);
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        byte[] good = await File.ReadAllBytesAsync(backup, TestContext.Current.CancellationToken);
        byte[] before = await File.ReadAllBytesAsync(host.Database, TestContext.Current.CancellationToken);
        Dictionary<int, int> exits = [];
        string damaged = System.IO.Path.Combine(host.Path, "damaged.db");
        for (int i = 0; i < flips; i++)
        {
            byte[] bytes = (byte[])good.Clone();
            int at;
            do
            {
                at = System.Security.Cryptography.RandomNumberGenerator.GetInt32(bytes.Length);
            }
            while (bytes[at] == 0); // Nearly all of so small a file is room that nothing uses: there a bit says nothing.

            bytes[at] ^= (byte)(1 << System.Security.Cryptography.RandomNumberGenerator.GetInt32(8));
            await File.WriteAllBytesAsync(damaged, bytes, TestContext.Current.CancellationToken);
            Finished refused = await host.KmsdAsync("restore", damaged);
            exits[refused.ExitCode] = exits.GetValueOrDefault(refused.ExitCode) + 1;

            // 64: nobody said yes, after it was found good: the bit says nothing. 78: it names another root key, as far as the token can tell.
            Assert.True(refused.ExitCode is 64 or 65 or 78, $"Byte {at}: {refused.ExitCode}, {refused.Error}");
        }

        Assert.True(exits.GetValueOrDefault(65) > 0, string.Join(", ", exits.Select(one => $"{one.Value} times exit {one.Key}")));
        Assert.Equal(before, await File.ReadAllBytesAsync(host.Database, TestContext.Current.CancellationToken));
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join(", ", exits.Select(one => $"{one.Value} times exit {one.Key}")));
    }

    /// <summary>An index that was changed from outside hides rows that stand: a verification of the history says so.</summary>
    [Fact]
    public async Task An_index_that_hides_entries_is_found_by_verifying()
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("kept");
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        await host.SqlAsync(
            "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'WHERE tag IS NOT NULL', 'WHERE tag IS NOT NULL AND sequence < 0') WHERE name = 'history_by_key';"
            + " PRAGMA writable_schema = RESET; REINDEX history_by_key;"
            + " PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, ' AND sequence < 0', '') WHERE name = 'history_by_key';");
        Finished offline = await host.KmsdAsync("history", "verify");
        Assert.Equal(65, offline.ExitCode);
        Assert.Contains("an index hides entries", offline.Error, StringComparison.Ordinal);
        await using Daemon again = await host.StartAsync();
        await using Wire client = await Wire.ConnectAsync(host.Socket);
        Assert.Equal("integrityFailure", await client.ReasonAsync("history.verify"));
    }
}
