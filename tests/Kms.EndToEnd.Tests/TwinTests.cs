using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>
/// Two machines with one root key: the second was made from a backup of the first and a quorum of its shares, so that the codes of its rows
/// verify on the first as well. Somebody who may change what he likes on the second, and writes the first's database, gains nothing there.
/// </summary>
public sealed class TwinTests(TwinScene scene) : IClassFixture<TwinScene>
{
    [Theory]
    [InlineData("a grant", "INSERT INTO grants SELECT * FROM twin.grants WHERE principal = 'uid:6666'")]
    [InlineData("a member", "INSERT INTO members SELECT * FROM twin.members WHERE principal = 'uid:6666'")]
    [InlineData("a key's row", "DELETE FROM keys WHERE tag = [kept]; INSERT INTO keys SELECT * FROM twin.keys WHERE tag = [kept]")]
    [InlineData("a key that is to be deleted, as it still is there", "DELETE FROM keys WHERE tag = [pending]; INSERT INTO keys SELECT * FROM twin.keys WHERE tag = [pending]")]
    [InlineData("a key with all that belongs to it", "INSERT INTO keys SELECT * FROM twin.keys WHERE name = 'planted'; INSERT INTO versions SELECT * FROM twin.versions WHERE tag = (SELECT tag FROM twin.keys WHERE name = 'planted'); INSERT INTO version_material SELECT * FROM twin.version_material WHERE tag = (SELECT tag FROM twin.keys WHERE name = 'planted'); INSERT INTO grants SELECT * FROM twin.grants WHERE tag = (SELECT tag FROM twin.keys WHERE name = 'planted')")]
    [InlineData("a version and its material", "INSERT INTO versions SELECT * FROM twin.versions WHERE tag = [kept] AND version = 2; INSERT INTO version_material SELECT * FROM twin.version_material WHERE tag = [kept] AND version = 2")]
    [InlineData("a store", "INSERT INTO stores SELECT * FROM twin.stores WHERE name = 'planted'")]
    [InlineData("the root key's custody", "DELETE FROM root_shares; INSERT INTO root_shares SELECT * FROM twin.root_shares")]
    [InlineData("the lineage", "DELETE FROM instance; INSERT INTO instance SELECT * FROM twin.instance")]
    [InlineData("the head of the history", "DELETE FROM history_heads; INSERT INTO history_heads SELECT * FROM twin.history_heads")]
    [InlineData("the history, its head with it", "DELETE FROM history; INSERT INTO history SELECT * FROM twin.history; DELETE FROM history_heads; INSERT INTO history_heads SELECT * FROM twin.history_heads")]
    [InlineData("the end of the history alone", "DELETE FROM history WHERE sequence > 20; INSERT INTO history SELECT * FROM twin.history WHERE sequence > 20 AND sequence <= (SELECT sequence FROM history_heads)")]
    [InlineData("counters, and the mark of what is counted", "UPDATE keys SET (usage_count, last_used_at, usage_code) = (SELECT usage_count, last_used_at, usage_code FROM twin.keys t WHERE t.tag = keys.tag); UPDATE versions SET (usage_count, item_count, last_used_at, usage_code) = (SELECT usage_count, item_count, last_used_at, usage_code FROM twin.versions t WHERE t.tag = versions.tag AND t.version = versions.version); DELETE FROM usage_mark; INSERT INTO usage_mark SELECT * FROM twin.usage_mark")]
    [InlineData("notifications, and what vouches for them", "DELETE FROM notifications; INSERT INTO notifications SELECT * FROM twin.notifications; DELETE FROM notification_days; INSERT INTO notification_days SELECT * FROM twin.notification_days")]
    [InlineData("every table but the lineage", "[all]")]
    public async Task Rows_of_another_machine_with_the_same_root_key_are_refused(string what, string sql)
    {
        Finished refused = await scene.ForgeAsync(sql);
        Assert.True(refused.ExitCode == 78, $"{what}: {refused.ExitCode} {refused.Error}");
    }

    [Fact]
    public async Task Its_whole_database_is_refused()
    {
        Finished refused = await scene.ReplaceAsync();
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("another lineage", refused.Error, StringComparison.Ordinal);
    }

    /// <summary>It is shown, since its code is good; that it isn't one of that day is told.</summary>
    [Fact]
    public async Task A_notification_of_it_is_told_soon_after_the_start()
    {
        Finished seen = await scene.ForgeAsync("INSERT INTO notifications SELECT * FROM twin.notifications WHERE principal = 'uid:6666' LIMIT 1");
        Assert.Equal(0, seen.ExitCode);
        Assert.Contains("notifications: 1 of them", seen.Error, StringComparison.Ordinal);
    }

    /// <summary>So that the others don't pass because nothing ever starts.</summary>
    [Fact]
    public async Task As_it_was_it_starts()
    {
        await scene.PutBackAsync();
        await using Daemon daemon = await scene.Host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(scene.Host.Socket);
        JsonElement key = await wire.ResultAsync("keys.get", """{"key":"kept"}""");
        Assert.Equal(TwinScene.Uses, key.GetProperty("usageCount").GetInt64());
    }
}

/// <summary>Both machines, stopped.</summary>
public sealed class TwinScene : IAsyncLifetime
{
    public const int Uses = 200;

    private readonly Dictionary<string, string> _tags = [];
    private byte[] _database = [];
    private string _ciphertext = "";
    private string _twin = "";

    internal Installation Host { get; private set; } = null!;

    private string TokenCopy => Path.Combine(Host.Path, "tokens.copy");

    private string Tokens => Path.Combine(Host.Path, "tokens");

    public async ValueTask InitializeAsync()
    {
        Host = await Installation.MakeEmptyAsync();
        IReadOnlyList<Share> shares = await Custodians.HoldCeremonyAsync(Host);
        await using (Daemon daemon = await Host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(Host.Socket))
        {
            foreach (string name in new[] { "kept", "pending" })
            {
                _tags[name] = await wire.MakeKeyAsync(name);
            }

            _ciphertext = await wire.EncryptAsync("kept", "x"u8.ToArray());
            Finished saved = await Host.KmsctlAsync("backup", "last.db");
            Assert.True(saved.ExitCode == 0, saved.Error);
            for (int use = 1; use < Uses; use++)
            {
                _ = await wire.EncryptAsync("kept", "x"u8.ToArray());
            }

            _ = await wire.ResultAsync("keys.requestDeletion", """{"key":"pending","confirmName":"pending"}""");
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        _twin = Path.Combine(Host.Path, "twin.db");
        await using (Installation twin = await Installation.MakeEmptyAsync())
        {
            await LiveAsTwinAsync(twin, shares);
        }

        _database = File.ReadAllBytes(Host.Database);
        _ = await Shell.SucceedAsync("cp", "-a", Tokens, TokenCopy);
    }

    public async ValueTask DisposeAsync() => await Host.DisposeAsync();

    internal async Task<Finished> ForgeAsync(string sql)
    {
        await PutBackAsync();
        if (sql == "[all]")
        {
            string tables = await Shell.SucceedAsync(
                "sqlite3", Host.Database, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'instance'");
            sql = string.Concat(tables.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(table => $"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM twin.{table};"));
        }

        foreach ((string name, string tag) in _tags)
        {
            sql = sql.Replace($"[{name}]", $"x'{tag}'", StringComparison.Ordinal);
        }

        _ = await Shell.SucceedAsync("sqlite3", "-bail", Host.Database, $"ATTACH '{_twin}' AS twin; BEGIN; {sql}; COMMIT;");
        return await StartAsync();
    }

    internal async Task<Finished> ReplaceAsync()
    {
        await PutBackAsync();
        File.Copy(_twin, Host.Database, overwrite: true);
        return await StartAsync();
    }

    internal async Task PutBackAsync()
    {
        foreach (string file in Directory.GetFiles(Host.State, "kms.db*"))
        {
            File.Delete(file);
        }

        File.WriteAllBytes(Host.Database, _database);
        File.SetUnixFileMode(Host.Database, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Directory.Delete(Tokens, recursive: true);
        _ = await Shell.SucceedAsync("cp", "-a", TokenCopy, Tokens);
    }

    /// <summary>Code 0 if it serves, with what it says of itself and of a key in place of an error, once it has looked through what a start doesn't read.</summary>
    private async Task<Finished> StartAsync()
    {
        try
        {
            await using Daemon daemon = await Host.StartAsync();
            await using Wire wire = await Wire.ConnectAsync(Host.Socket);
            for (int wait = 0; wait < 500 && (await wire.ResultAsync("system.status")).GetProperty("status").GetString() == "ok"; wait++)
            {
                await Task.Delay(10, TestContext.Current.CancellationToken);
            }

            return new Finished(0, "", $"{await wire.ResultAsync("system.status")} {await wire.CallAsync("keys.get", """{"key":"kept"}""")}");
        }
        catch (InvalidOperationException exception) when (exception.Message.StartsWith("kmsd doesn't start", StringComparison.Ordinal))
        {
            return await Host.RefusedAsync();
        }
    }

    private async Task LiveAsTwinAsync(Installation twin, IReadOnlyList<Share> shares)
    {
        string backup = Path.Combine(twin.Path, "backup.db");
        File.Copy(Path.Combine(Host.State, "backups", "last.db"), backup);
        await using (Dialogue dialogue = await Dialogue.StartAsync(twin, "root", "restore", "--from", backup))
        {
            await Custodians.BeginOpeningAsync(dialogue);
            await Custodians.BringAsync(dialogue, shares[0], "S-1", "S-2");
            await Custodians.BringAsync(dialogue, shares[1], "S-3", "S-4");
            Finished restored = await dialogue.FinishAsync();
            Assert.True(restored.ExitCode == 0, restored.Error);
        }

        Finished put = await twin.KmsdAsync("restore", backup, "--reason", "a second machine", "--yes");
        Assert.True(put.ExitCode == 0, put.Error);
        await using (Daemon daemon = await twin.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(twin.Socket))
        {
            _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:6666","role":"manager"}""");
            _ = await wire.ResultAsync("stores.create", """{"name":"planted","manager":"uid:6666"}""");
            _ = await wire.ResultAsync("grants.add", """{"key":"kept","principal":"uid:6666","role":"encryptorDecryptor"}""");
            _ = await wire.MakeKeyAsync("planted", """{"principal":"uid:6666","role":"encryptorDecryptor"}""");

            // Many entries and one use, that of a version which the first machine has: what it has counted ends where that one's history has only uses.
            for (int change = 0; change < Uses / 2; change++)
            {
                _ = await wire.ResultAsync("keys.update", $$"""{"key":"kept","memo":"{{change}}"}""");
            }

            _ = await wire.DecryptAsync("kept", _ciphertext);
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        await using (Dialogue dialogue = await Dialogue.StartAsync(twin, "root", "verify-shares"))
        {
            await Custodians.BeginOpeningAsync(dialogue);
            await Custodians.BringAsync(dialogue, shares[0], "S-2", "S-5");
            await Custodians.BringAsync(dialogue, shares[1], "S-4", "S-6");
            Finished proven = await dialogue.FinishAsync();
            Assert.True(proven.ExitCode == 0, proven.Error);
        }

        File.Copy(twin.Database, _twin);
    }
}
