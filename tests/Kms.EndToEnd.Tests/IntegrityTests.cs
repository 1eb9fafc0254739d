using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Somebody writes the database behind the daemon's back, with the sqlite3 tool: what he wrote is not served.</summary>
public sealed class IntegrityTests
{
    [Theory]
    [InlineData("UPDATE grants SET granted_at = granted_at - 1")]
    [InlineData("UPDATE keys SET state = 'disabled'")]
    [InlineData("UPDATE keys SET name = 'renamed'")]
    [InlineData("UPDATE versions SET state = 'disabled'")]
    [InlineData("UPDATE version_material SET blob = randomblob(length(blob))")]
    [InlineData("UPDATE keys SET usage_count = 0")]
    [InlineData("UPDATE versions SET created_at = 9223372036854775807")]
    public async Task A_changed_row_takes_its_key_out_of_service_and_no_other(string sql)
    {
        await using Installation host = await Installation.MakeAsync();
        string tag;
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            tag = await wire.MakeKeyAsync("victim");
            _ = await wire.MakeKeyAsync("bystander");
            _ = await wire.EncryptAsync("victim", "x"u8.ToArray());
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
            await host.SqlAsync($"{sql} WHERE tag = x'{tag}'");
        }

        await using Daemon again = await host.StartAsync();
        await using Wire client = await Wire.ConnectAsync(host.Socket);
        foreach (string name in new[] { "victim", "renamed" })
        {
            string reason = await client.ReasonAsync("crypto.encrypt", $$"""{"key":"{{name}}","plaintext":"QQ=="}""");
            string expected = sql.Contains("renamed", StringComparison.Ordinal) == (name == "renamed") ? "integrityFailure" : "notFound";
            Assert.Equal(expected, reason);
        }

        string ciphertext = await client.EncryptAsync("bystander", "y"u8.ToArray());
        Assert.Equal("y"u8.ToArray(), await client.DecryptAsync("bystander", ciphertext));
        JsonElement status = await client.ResultAsync("system.status");
        Assert.Equal("degraded", status.GetProperty("status").GetString());
        Assert.Equal(1, status.GetProperty("quarantine").GetProperty("keys").GetInt64());
        Assert.Equal(tag, Assert.Single(status.GetProperty("quarantine").GetProperty("tags").EnumerateArray()).GetString());
        Assert.Contains($"key in quarantine\t{tag}", (await host.KmsctlAsync("status")).Output, StringComparison.Ordinal);
        Finished doctor = await host.KmsctlAsync("doctor");
        Assert.Equal(21, doctor.ExitCode);
        Assert.Contains($"key {tag}\t", doctor.Output, StringComparison.Ordinal);
        Finished list = await host.KmsctlAsync("key", "list");
        Assert.Equal(21, list.ExitCode);
        Assert.Contains("bystander", list.Output, StringComparison.Ordinal);
        Assert.Contains("may be forged: ", list.Error, StringComparison.Ordinal);
    }

    /// <summary>Rows that were added, removed or named otherwise, or whose codes were replaced, aren't the set that the database's head vouches for.</summary>
    [Theory]
    [InlineData("UPDATE grants SET principal = 'uid:1'")]
    [InlineData("UPDATE grants SET principal = 'uid:00'")]
    [InlineData("UPDATE grants SET principal = 'uid:0' || char(0)")]
    [InlineData("UPDATE grants SET role = 'manager'")]
    [InlineData("DELETE FROM grants")]
    [InlineData("INSERT INTO grants SELECT tag, 'uid:1', role, granted_at, mac_generation, encoding_version, row_code FROM grants LIMIT 1")]
    [InlineData("DELETE FROM version_material")]
    [InlineData("UPDATE versions SET version = 2")]
    [InlineData("DELETE FROM versions")]
    [InlineData("UPDATE keys SET row_code = (SELECT row_code FROM versions)")]
    [InlineData("DELETE FROM grants; DELETE FROM version_material; DELETE FROM versions; DELETE FROM keys")]
    public async Task Rows_that_came_or_went_stop_the_start(string sql)
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("victim");
            _ = await daemon.StopAsync();
        }

        await host.SqlAsync(sql);
        Finished refused = await host.RefusedAsync();
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("integrityFailure: the database doesn't hold the rows that it must", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_older_copy_of_the_database_stops_the_start()
    {
        await using Installation host = await Installation.MakeAsync();
        File.Copy(host.Database, host.Database + ".older");
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("victim");
            _ = await daemon.StopAsync();
        }

        File.Copy(host.Database, host.Database + ".newer");
        File.Copy(host.Database + ".older", host.Database, overwrite: true);
        Finished refused = await host.RefusedAsync();
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("kmsd recover --accept-rollback", refused.Error, StringComparison.Ordinal);

        File.Copy(host.Database + ".newer", host.Database, overwrite: true);
        await using Daemon again = await host.StartAsync();
    }

    [Theory]
    [InlineData("UPDATE instance SET anchored = 0")]
    [InlineData("UPDATE root_generations SET rotate_by = rotate_by + 1")]
    [InlineData("UPDATE root_generations SET rotate_by = 9223372036854775807")]
    [InlineData("UPDATE last_seen SET at = 9223372036854775807")]
    [InlineData("UPDATE history_heads SET sequence = sequence - 1")]
    [InlineData("DELETE FROM history WHERE sequence = (SELECT max(sequence) FROM history)")]
    public async Task What_everything_rests_on_stops_the_start(string sql)
    {
        await using Installation host = await Installation.MakeAsync();
        await host.SqlAsync(sql);
        Finished refused = await host.RefusedAsync();
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("estore", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_row_that_no_longer_parses_keeps_its_name_and_harms_no_other_change()
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("victim");
            _ = await daemon.StopAsync();
        }

        await host.SqlAsync("UPDATE keys SET state = 'sleeping'");
        await using Daemon again = await host.StartAsync();
        await using Wire client = await Wire.ConnectAsync(host.Socket);
        string create = """{"name":"victim","type":"AES256-GCM96"}""";
        Assert.Equal("integrityFailure", await client.ReasonAsync("keys.create", create));
        Assert.Equal("ok", await client.ReasonAsync("keys.create", create.Replace("victim", "another", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Two_blobs_exchanged_open_nothing()
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("one");
            _ = await wire.MakeKeyAsync("two");
            _ = await daemon.StopAsync();
        }

        await host.SqlAsync("""
            CREATE TEMP TABLE swapped AS SELECT a.rowid AS id, b.blob AS blob
            FROM version_material a JOIN version_material b ON a.rowid != b.rowid;
            UPDATE version_material SET blob = (SELECT blob FROM swapped WHERE id = version_material.rowid);
            """);
        await using Daemon again = await host.StartAsync();
        await using Wire client = await Wire.ConnectAsync(host.Socket);
        foreach (string name in new[] { "one", "two" })
        {
            Assert.Equal("integrityFailure", await client.ReasonAsync("crypto.encrypt", $$"""{"key":"{{name}}","plaintext":"QQ=="}"""));
        }
    }
}
