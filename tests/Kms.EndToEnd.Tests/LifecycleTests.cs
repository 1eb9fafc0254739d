using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>The life of a key: versions, rotation, states, deletion, on a clock that the test sets.</summary>
public sealed class LifecycleTests : IAsyncLifetime
{
    private const string Key = """{"key":"first"}""";

    private Installation _host = null!;
    private Daemon _daemon = null!;
    private Wire _wire = null!;
    private DateTimeOffset _now = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    public async ValueTask InitializeAsync()
    {
        _host = await Installation.MakeAsync(_now);
        await StartAsync();
        _ = await _wire.MakeKeyAsync("first");
    }

    public async ValueTask DisposeAsync()
    {
        await _wire.DisposeAsync();
        await _daemon.DisposeAsync();
        await _host.DisposeAsync();
    }

    [Fact]
    public async Task After_a_rotation_old_ciphertexts_open_and_the_newest_version_seals()
    {
        string old = await _wire.EncryptAsync("first", "one"u8.ToArray());
        JsonElement rotated = await _wire.ResultAsync("keys.rotate", Key);
        Assert.Equal(2, rotated.GetProperty("currentVersion").GetInt32());
        Assert.Contains("versions.disable", rotated.GetProperty("advice").GetString(), StringComparison.Ordinal);

        Assert.StartsWith("kms:v2:", await _wire.EncryptAsync("first", "two"u8.ToArray()), StringComparison.Ordinal);
        Assert.Equal("one"u8.ToArray(), await _wire.DecryptAsync("first", old));
        JsonElement renewed = await _wire.ResultAsync("crypto.reencrypt", $$"""{"key":"first","ciphertext":"{{old}}"}""");
        Assert.Equal((1, 2), (renewed.GetProperty("previousKeyVersion").GetInt32(), renewed.GetProperty("keyVersion").GetInt32()));
        Assert.Equal("one"u8.ToArray(), await _wire.DecryptAsync("first", renewed.GetProperty("ciphertext").GetString()!));

        // encrypt, encrypt, decrypt, reencrypt, decrypt: five requests; version 1: encrypt, decrypt, reencrypt; 2: encrypt, reencrypt, decrypt.
        Assert.Equal(5, (await _wire.ResultAsync("keys.get", Key)).GetProperty("usageCount").GetInt32());
        int[] requests = [3, 3];
        int[] items = [2, 1];
        Assert.Equal(requests, await VersionsAsync("usageCount"));
        Assert.Equal(items, await VersionsAsync("itemCount"));
    }

    [Fact]
    public async Task A_disabled_version_no_longer_opens_and_the_newest_is_never_disabled()
    {
        string old = await _wire.EncryptAsync("first", "one"u8.ToArray());
        _ = await _wire.ResultAsync("keys.rotate", Key);
        _ = await _wire.ResultAsync("versions.disable", """{"key":"first","version":1}""");
        Assert.Equal("invalidState", await _wire.ReasonAsync("crypto.decrypt", $$"""{"key":"first","ciphertext":"{{old}}"}"""));
        Assert.Equal("invalidState", await _wire.ReasonAsync("versions.disable", """{"key":"first","version":2}"""));
        Assert.Equal("notFound", await _wire.ReasonAsync("versions.disable", """{"key":"first","version":3}"""));
        Assert.Equal("ok", await _wire.ReasonAsync("versions.disable", """{"key":"first","version":1}"""));

        await RestartAsync();
        Assert.Equal("invalidState", await _wire.ReasonAsync("crypto.decrypt", $$"""{"key":"first","ciphertext":"{{old}}"}"""));
        _ = await _wire.ResultAsync("versions.enable", """{"key":"first","version":1}""");
        Assert.Equal("one"u8.ToArray(), await _wire.DecryptAsync("first", old));
    }

    [Fact]
    public async Task A_disabled_key_does_nothing_and_opens_again_when_enabled()
    {
        string ciphertext = await _wire.EncryptAsync("first", "one"u8.ToArray());
        Assert.Equal("disabled", (await _wire.ResultAsync("keys.disable", Key)).GetProperty("state").GetString());
        Assert.Equal("invalidState", await _wire.ReasonAsync("crypto.encrypt", """{"key":"first","plaintext":"QQ=="}"""));
        Assert.Equal("invalidState", await _wire.ReasonAsync("versions.disable", """{"key":"first","version":1}"""));
        Assert.Equal("ok", await _wire.ReasonAsync("keys.rotate", Key));
        Assert.Equal("ok", await _wire.ReasonAsync("keys.disable", Key));
        _ = await _wire.ResultAsync("keys.enable", Key);
        Assert.Equal("one"u8.ToArray(), await _wire.DecryptAsync("first", ciphertext));
    }

    [Fact]
    public async Task The_timed_rotation_happens_once_after_downtime_and_stays_on_the_grid()
    {
        _ = await _wire.ResultAsync("keys.rotate", Key);
        await _daemon.StopAsync();
        DateTimeOffset made = _now;
        SetClock(made.AddDays(90 * 3).AddHours(5));
        await StartAsync();
        await UntilAsync(async () => (await GetAsync("currentVersion")).GetInt32() == 3);
        Assert.Equal(made.AddDays(90 * 4), (await GetAsync("nextRotationAt")).GetDateTimeOffset());
        await Task.Delay(2500, TestContext.Current.CancellationToken);
        Assert.Equal(3, (await GetAsync("currentVersion")).GetInt32());
    }

    [Fact]
    public async Task A_changed_period_counts_from_the_rotation_that_was_due()
    {
        JsonElement key = await _wire.ResultAsync("keys.setRotationPeriod", """{"key":"first","days":400}""");
        Assert.Equal((90, 400), (key.GetProperty("rotationPeriodDays").GetInt32(), key.GetProperty("pendingRotationPeriodDays").GetInt32()));
        Assert.Equal(_now.AddDays(90), key.GetProperty("nextRotationAt").GetDateTimeOffset());

        DateTimeOffset made = _now;
        SetClock(made.AddDays(90));
        await UntilAsync(async () => (await GetAsync("currentVersion")).GetInt32() == 2);
        Assert.Equal(400, (await GetAsync("rotationPeriodDays")).GetInt32());
        Assert.Equal(made.AddDays(490), (await GetAsync("nextRotationAt")).GetDateTimeOffset());
        Assert.Contains("400 days", (await GetAsync("warnings")).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_deletion_waits_72_hours_can_be_cancelled_and_destroys_the_material()
    {
        string ciphertext = await _wire.EncryptAsync("first", "one"u8.ToArray());
        Assert.Equal("confirmationRequired", await _wire.ReasonAsync("keys.requestDeletion", Key));
        Assert.Equal("confirmationRequired", await _wire.ReasonAsync("keys.requestDeletion", """{"key":"first","confirmName":"First"}"""));
        JsonElement pending = await _wire.ResultAsync("keys.requestDeletion", """{"key":"first","confirmName":"first"}""");
        Assert.Equal(_now.AddHours(72), pending.GetProperty("deleteAt").GetDateTimeOffset());
        Assert.Equal("invalidState", await _wire.ReasonAsync("crypto.decrypt", $$"""{"key":"first","ciphertext":"{{ciphertext}}"}"""));
        Assert.Equal("invalidState", await _wire.ReasonAsync("keys.enable", Key));
        Assert.Equal("disabled", (await _wire.ResultAsync("keys.cancelDeletion", Key)).GetProperty("state").GetString());
        Assert.Equal("invalidState", await _wire.ReasonAsync("keys.cancelDeletion", Key));
        Assert.Equal("invalidState", await _wire.ReasonAsync("keys.deleteNow", """{"key":"first","confirmName":"first"}"""));

        byte[] blob = Convert.FromHexString((await Shell.SucceedAsync("sqlite3", _host.Database, "SELECT hex(blob) FROM version_material")).Trim());
        Assert.True(await HoldsAsync(blob), "The search must find the blob while it is there.");
        _ = await _wire.ResultAsync("keys.requestDeletion", """{"key":"first","confirmName":"first"}""");
        SetClock(_now.AddHours(72).AddSeconds(-1));
        await Task.Delay(2500, TestContext.Current.CancellationToken);
        Assert.Equal("ok", await _wire.ReasonAsync("keys.get", Key));
        Assert.Equal(2, (await _wire.ResultAsync("system.status")).GetProperty("weaknesses").GetArrayLength());
        SetClock(_now.AddSeconds(1));
        await ReleaseHeldAsync();
        await UntilAsync(async () => await _wire.ReasonAsync("keys.get", Key) == "notFound");

        // The write-ahead log is emptied after the commit that others see, and before the next change is answered.
        await ReleaseHeldAsync();
        Assert.False(await HoldsAsync(blob), "The sealed material is still in the files.");
        JsonElement remains = (await _wire.ResultAsync("deletedKeys.list")).GetProperty("keys")[0];
        Assert.Equal("first", remains.GetProperty("name").GetString());
        Assert.Equal(_now.AddYears(1), remains.GetProperty("purgeAt").GetDateTimeOffset());
        Assert.Equal(1, remains.GetProperty("grants").GetArrayLength());

        // The name is free again; the tag never is.
        _ = await _wire.MakeKeyAsync("first");
        await RestartAsync();
        Assert.Equal(1, (await _wire.ResultAsync("deletedKeys.list")).GetProperty("keys").GetArrayLength());
        string tag = remains.GetProperty("tag").GetString()!;
        Assert.Equal("ok", await _wire.ReasonAsync("deletedKeys.purge", $$"""{"tag":"{{tag}}","reason":"a request by its owner"}"""));
        Assert.Equal(0, (await _wire.ResultAsync("deletedKeys.list")).GetProperty("keys").GetArrayLength());
    }

    [Fact]
    public async Task After_a_jump_of_the_clock_deletions_wait_until_they_are_released()
    {
        _ = await _wire.ResultAsync("keys.requestDeletion", """{"key":"first","confirmName":"first"}""");
        SetClock(_now.AddDays(30));
        await Task.Delay(2500, TestContext.Current.CancellationToken);
        Assert.Equal("ok", await _wire.ReasonAsync("keys.get", Key));

        await RestartAsync();
        await Task.Delay(2500, TestContext.Current.CancellationToken);
        Assert.Equal("ok", await _wire.ReasonAsync("keys.get", Key));
        _ = await _wire.ResultAsync("deletions.release");
        await UntilAsync(async () => await _wire.ReasonAsync("keys.get", Key) == "notFound");
    }

    [Fact]
    public async Task A_renamed_key_is_found_by_its_new_name_alone()
    {
        _ = await _wire.MakeKeyAsync("second");
        Assert.Equal("alreadyExists", await _wire.ReasonAsync("keys.update", """{"key":"first","name":"SECOND"}"""));
        _ = await _wire.ResultAsync("keys.update", """{"key":"first","name":"First-2","memo":"for the archive"}""");
        Assert.Equal("notFound", await _wire.ReasonAsync("keys.get", Key));
        await RestartAsync();
        Assert.Equal("for the archive", (await _wire.ResultAsync("keys.get", """{"key":"first-2"}""")).GetProperty("memo").GetString());
    }

    private async Task StartAsync()
    {
        _daemon = await _host.StartTestBuildAsync([]);
        _wire = await Wire.ConnectAsync(_host.Socket);
    }

    private async Task RestartAsync()
    {
        await _wire.DisposeAsync();
        _ = await _daemon.StopAsync();
        await _daemon.DisposeAsync();
        await StartAsync();
    }

    private async Task ReleaseHeldAsync() => _ = await _wire.ResultAsync("deletions.release");

    private void SetClock(DateTimeOffset now)
    {
        _now = now;
        _host.Now = now;
    }

    private async Task<JsonElement> GetAsync(string member) => (await _wire.ResultAsync("keys.get", Key)).GetProperty(member);

    private async Task<int[]> VersionsAsync(string member) =>
    [
        .. (await _wire.ResultAsync("versions.list", Key)).GetProperty("versions").EnumerateArray()
            .Select(version => version.GetProperty(member).GetInt32()),
    ];

    private async Task<bool> HoldsAsync(byte[] blob)
    {
        foreach (string file in Directory.EnumerateFiles(_host.State, "kms.db*"))
        {
            byte[] bytes = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
            if (bytes.AsSpan().IndexOf(blob) >= 0)
            {
                return true;
            }
        }

        return false;
    }

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        for (int attempt = 0; !await condition(); attempt++)
        {
            Assert.True(attempt < 300, "It doesn't happen.");
            await Task.Delay(100, TestContext.Current.CancellationToken);
        }
    }
}
