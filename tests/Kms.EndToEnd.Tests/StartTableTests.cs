using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Each row of the table of what happens at start (docs/threat-model.md), with real files: what the token knows against what the database is.</summary>
public sealed class StartTableTests : IAsyncLifetime
{
    private Installation _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await Installation.MakeAsync();
        await ChangeAsync("first");
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task The_settled_database_is_served() => Assert.DoesNotContain("anchor", await ServeAsync(), StringComparison.OrdinalIgnoreCase);

    [Fact]
    public async Task A_database_whose_commit_was_announced_is_settled_and_served()
    {
        await using (Daemon dying = await _host.StartTestBuildAsync(new() { ["KMSD_TEST_FAULT"] = "writer.after-commit:1" }))
        await using (Wire wire = await Wire.ConnectAsync(_host.Socket))
        {
            await wire.SendAsync("""{"jsonrpc":"2.0","id":1,"method":"keys.create","params":{"name":"pending","type":"AES256-GCM96"}}""");
            Assert.Equal(137, await dying.ExitAsync());
        }

        Assert.DoesNotContain("lost its last writes", await ServeAsync("pending"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_token_that_lost_its_last_writes_is_told_again_and_it_is_recorded()
    {
        _ = await KeepAsync("token", "old");
        await ChangeAsync("newer");
        await TakeAsync("token", "old");
        Assert.Contains("lost its last writes", await ServeAsync("newer"), StringComparison.Ordinal);
        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        Assert.Equal(1, (await wire.ResultAsync("history.list", """{"scope":"system","operation":"anchor.lostWrites"}""")).GetProperty("entries").GetArrayLength());
    }

    [Fact]
    public async Task An_older_database_is_refused()
    {
        _ = await KeepAsync("database", "old");
        await ChangeAsync("newer");
        await TakeAsync("database", "old");
        await RefuseAsync("older than what the token has seen");
    }

    [Fact]
    public async Task Another_set_of_rows_in_the_same_epoch_is_refused()
    {
        _ = await KeepAsync("database", "old");
        _ = await KeepAsync("token", "old");
        await ChangeAsync("this");
        _ = await KeepAsync("database", "this");
        await TakeAsync("database", "old");
        await TakeAsync("token", "old");
        await ChangeAsync("that");
        await TakeAsync("database", "this");
        await RefuseAsync("another state stands at the same place");
    }

    [Fact]
    public async Task A_database_of_another_lineage_is_refused_though_its_epoch_is_higher()
    {
        _ = await KeepAsync("database", "old");
        for (int i = 0; i < 3; i++)
        {
            await ChangeAsync($"more-{i}");
        }

        _ = await KeepAsync("database", "newer");
        await TakeAsync("database", "old");
        Assert.Equal(0, (await RecoverAsync()).ExitCode);
        await TakeAsync("database", "newer");
        await RefuseAsync("another lineage");
    }

    [Fact]
    public async Task Without_an_anchor_it_is_refused_and_recovered()
    {
        _ = await KeepAsync("database", "old");
        _host.Set("token", "anchor", "off");
        _ = await ServeAsync();
        _host.Set("token", "anchor", "required");
        await TakeAsync("database", "old");
        await RefuseAsync("no anchor");
        Assert.Equal(0, (await RecoverAsync()).ExitCode);
        _ = await ServeAsync("first");
    }

    [Fact]
    public async Task A_history_that_lacks_uses_that_the_token_has_seen_is_refused_and_recovered()
    {
        string ciphertext;
        await using (Daemon daemon = await _host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(_host.Socket))
        {
            ciphertext = await wire.EncryptAsync("first", "x"u8.ToArray());
            _ = await daemon.StopAsync();
        }

        // An encryption reserves, which is a change; this is a use and nothing else.
        _ = await KeepAsync("database", "old");
        await using (Daemon daemon = await _host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(_host.Socket))
        {
            _ = await wire.DecryptAsync("first", ciphertext);
            _ = await daemon.StopAsync();
        }

        await TakeAsync("database", "old");
        await RefuseAsync("history of the database ends before");
        Assert.Equal(0, (await RecoverAsync()).ExitCode);
        _ = await ServeAsync("first");
    }

    [Fact]
    public async Task A_wrong_code_under_a_right_set_root_takes_its_key_out_of_service()
    {
        await ChangeAsync("second");
        await _host.SqlAsync("UPDATE keys SET memo = 'x' WHERE name = 'first'");
        Assert.Contains("3001", await ServeAsync("second"), StringComparison.Ordinal);
        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        Assert.Equal("integrityFailure", await wire.ReasonAsync("crypto.encrypt", """{"key":"first","plaintext":"QQ=="}"""));
        Assert.Equal("integrityFailure", (await wire.ResultAsync("system.status")).GetProperty("database").GetString());
    }

    [Fact]
    public async Task A_wrong_set_root_is_refused_and_not_recovered()
    {
        await _host.SqlAsync("DELETE FROM grants");
        await RefuseAsync("doesn't hold the rows that it must");
        Assert.Equal(78, (await RecoverAsync()).ExitCode);
    }

    private Task<Finished> RecoverAsync() => _host.KmsdAsync("recover", "--accept-rollback", "--reason", "a test", "--yes");

    private async Task ChangeAsync(string key)
    {
        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        _ = await wire.MakeKeyAsync(key);
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
    }

    /// <summary>What it writes to its journal, serving the key.</summary>
    private async Task<string> ServeAsync(string? key = null)
    {
        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        if (key is not null)
        {
            Assert.Equal("ok", await wire.ReasonAsync("keys.get", $$"""{"key":"{{key}}"}"""));
        }

        return (await daemon.StopAsync()).Error;
    }

    private async Task RefuseAsync(string why)
    {
        Finished refused = await _host.RefusedAsync();
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("integrityFailure", refused.Error, StringComparison.Ordinal);
        Assert.Contains(why, refused.Error, StringComparison.Ordinal);
    }

    private Task<string> KeepAsync(string what, string name) => Shell.SucceedAsync("cp", "-a", Place(what), $"{Place(what)}.{name}");

    private async Task TakeAsync(string what, string name)
    {
        _ = await Shell.SucceedAsync("rm", "-rf", Place(what));
        _ = await Shell.SucceedAsync("cp", "-a", $"{Place(what)}.{name}", Place(what));
    }

    private string Place(string what) => what == "token" ? Path.Combine(_host.Path, "tokens") : _host.Database;
}
