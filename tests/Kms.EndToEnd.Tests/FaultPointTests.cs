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
    [InlineData("writer.begun:1", false)]
    [InlineData("writer.before-commit:1", false)]
    [InlineData("writer.after-commit:1", true)]
    [InlineData("accept.before-anchor:1", true)]
    [InlineData("accept.after-anchor:1", true)]
    public async Task A_recovery_happened_or_not_wherever_it_dies(string point, bool isMade)
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

    /// <summary>Until the copy takes the database's name the old one serves, and from then on the new one; neither needs anybody.</summary>
    [Theory]
    [InlineData("restore.copied:1", false)]
    [InlineData("writer.before-commit:1", false)]
    [InlineData("writer.after-commit:1", false)]
    [InlineData("restore.before-aside:1", false)]
    [InlineData("restore.after-aside:1", false)]
    [InlineData("restore.in-place:1", true)]
    [InlineData("accept.before-anchor:1", true)]
    [InlineData("accept.after-anchor:1", true)]
    public async Task A_restore_happened_or_not_wherever_it_dies(string point, bool isMade)
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon first = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("before");
            _ = await wire.ResultAsync("backup.create", """{"path":"one.db"}""");
            _ = await wire.MakeKeyAsync("after");
            _ = await first.StopAsync();
        }

        string[] restore = ["restore", Path.Combine(host.State, "backups", "one.db"), "--yes"];
        Assert.Equal(137, (await host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = point }, restore)).ExitCode);
        await using (Daemon again = await host.StartAsync())
        await using (Wire reader = await Wire.ConnectAsync(host.Socket))
        {
            Assert.Equal(isMade ? "notFound" : "ok", await reader.ReasonAsync("keys.get", """{"key":"after"}"""));
            Assert.Equal(isMade ? 2 : 1, (await reader.ResultAsync("keys.get", """{"key":"before"}""")).GetProperty("currentVersion").GetInt32());
            Assert.True((await reader.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
            Assert.Equal("ok", (await reader.ResultAsync("system.status")).GetProperty("database").GetString());
            _ = await reader.MakeKeyAsync("more");
            _ = await again.StopAsync();
        }

        Assert.Equal(0, (await host.KmsdAsync(restore)).ExitCode);
        await using Daemon last = await host.StartAsync();
    }
}
