using System.Buffers.Binary;
using System.Diagnostics;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>What is left of a deleted key's material: nothing, in the database file, its write-ahead log, its free space, and the token.</summary>
public sealed class DestructionTests : IAsyncLifetime
{
    private const int SearchedLength = 24;

    private Installation _host = null!;
    private Daemon _daemon = null!;
    private Wire _wire = null!;
    private DateTimeOffset _now = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    public async ValueTask InitializeAsync()
    {
        _host = await Installation.MakeAsync(_now);
        _daemon = await StartAsync();
        _wire = await Wire.ConnectAsync(_host.Socket);
        _ = await _wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
    }

    public async ValueTask DisposeAsync()
    {
        await _wire.DisposeAsync();
        await _daemon.DisposeAsync();
        await _host.DisposeAsync();
    }

    [Theory]
    [InlineData("software", "AES256-GCM96", "now")]
    [InlineData("software", "RSA-2048", "now")]
    [InlineData("software", "ECDSA-P256", "due")]
    [InlineData("hsm", "AES256-GCM96", "now")]
    [InlineData("hsm", "AES256-GCM96", "due")]
    [InlineData("hsm", "RSA-2048", "now")]
    [InlineData("hsm", "RSA-2048", "due")]
    [InlineData("hsm", "ECDSA-P256", "now")]
    public async Task Of_a_deleted_key_no_blob_is_left_in_the_files_and_nothing_in_the_token(string protection, string type, string how)
    {
        string[] roots = TokenKeys();
        Assert.Equal(3, roots.Length);
        await MakeAsync("doomed", type, protection, versions: 3);
        await MakeAsync("kept", type, protection, versions: 1);
        Assert.Equal(roots, TokenKeys());
        List<byte[]> doomed = await MaterialAsync("doomed");
        List<byte[]> kept = await MaterialAsync("kept");
        Assert.Equal((protection == "hsm" ? 2 : 1) * 3, doomed.Count);
        Assert.Equal(doomed.Count, Found(doomed));

        _ = await _wire.ResultAsync("keys.requestDeletion", """{"key":"doomed","confirmName":"doomed"}""");
        if (how == "now")
        {
            _ = await _wire.ResultAsync("keys.deleteNow", """{"key":"doomed","confirmName":"doomed"}""");
        }
        else
        {
            SetClock(_now.AddHours(72));
            await UntilAsync(async () => (await _wire.ReasonAsync("deletions.release"), await _wire.ReasonAsync("keys.get", """{"key":"doomed"}""")) == ("ok", "notFound"));
            await AfterTheWriterAsync();
        }

        Assert.Equal(0, Found(doomed));
        Assert.Equal(roots, TokenKeys());

        // Nor does anything come back, and the other key is whole.
        await RestartAsync(() =>
        {
            Assert.Equal((0, kept.Count), (Found(doomed), Found(kept)));
            Assert.Equal(roots, TokenKeys());
        });
        Assert.Equal((0, kept.Count), (Found(doomed), Found(kept)));
        Assert.Equal(roots, TokenKeys());
        await UseAsync("kept", type);
    }

    [Fact]
    public async Task Of_many_deleted_keys_no_blob_is_left_however_pages_were_split_and_joined()
    {
        const int AtOnce = 30;
        int count = Repository.Count("KMS_DESTROYED_KEYS", 240);
        for (int number = 0; number < count; number++)
        {
            // Blobs of different lengths in one table, so that rows move between pages as others come and go.
            await MakeAsync(
                $"key-{number}", TypeOf(number), number / 2 % 2 == 0 ? "software" : "hsm", versions: TypeOf(number) == "RSA-2048" ? 1 : 1 + (number % 3));
        }

        static string TypeOf(int number) => number % 30 == 1 ? "RSA-2048" : number % 5 == 0 ? "ECDSA-P256" : "AES256-GCM96";
        for (int number = 0; number < count; number += 3)
        {
            _ = await _wire.ResultAsync("keys.rotate", $$"""{"key":"key-{{number}}"}""");
        }

        // Neighbours go, three of four, so that half empty pages lie beside full ones; the daemon starts anew and tidies up; the next
        // go, until none is left.
        List<int> left = [.. Enumerable.Range(0, count)];
        List<byte[]> gone = [];
        foreach (int[] part in left.Where(number => number % 4 != 3).Chunk(AtOnce).Concat(left.Where(number => number % 4 == 3).Chunk(AtOnce)).ToList())
        {
            gone.AddRange(await MaterialAsync([.. part.Select(number => $"key-{number}")]));
            foreach (int number in part)
            {
                string name = $"key-{number}";
                _ = await _wire.ResultAsync("keys.requestDeletion", $$"""{"key":"{{name}}","confirmName":"{{name}}"}""");
                _ = await _wire.ResultAsync("keys.deleteNow", $$"""{"key":"{{name}}","confirmName":"{{name}}"}""");
                _ = left.Remove(number);
            }

            Assert.Equal(0, Found(gone));
            await RestartAsync(() => Assert.Equal(0, Found(gone)));
            Assert.Equal(0, Found(gone));
            foreach (int number in left)
            {
                await UseAsync($"key-{number}", TypeOf(number));
            }

            Assert.Equal("ok", (await _wire.ResultAsync("system.status")).GetProperty("status").GetString());
            string rows = await Shell.SucceedAsync("sqlite3", _host.Database, "SELECT count(*) FROM version_material; SELECT count(*) FROM versions");
            Assert.Single(rows.Split('\n', StringSplitOptions.RemoveEmptyEntries).Distinct());
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{count} keys deleted; none of their {gone.Count} blobs and bindings is left");
    }

    /// <summary>Somebody reads the database, as a backup does: what he reads stays in the write-ahead log for so long, and no longer.</summary>
    [Theory]
    [InlineData("software")]
    [InlineData("hsm")]
    public async Task A_reader_of_the_database_delays_the_destruction_to_his_end_and_no_further(string protection)
    {
        await MakeAsync("doomed", "AES256-GCM96", protection, versions: 2);
        List<byte[]> doomed = await MaterialAsync("doomed");
        ProcessStartInfo start = new("sqlite3", [_host.Database]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        using Process reader = Process.Start(start)!;
        await reader.StandardInput.WriteLineAsync("BEGIN; SELECT count(*) FROM version_material;");
        await reader.StandardInput.FlushAsync(TestContext.Current.CancellationToken);
        Assert.Equal("2", await reader.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
        _ = await _wire.ResultAsync("keys.requestDeletion", """{"key":"doomed","confirmName":"doomed"}""");
        _ = await _wire.ResultAsync("keys.deleteNow", """{"key":"doomed","confirmName":"doomed"}""");
        Assert.NotEqual(0, Found(doomed));
        Assert.Equal("notFound", await _wire.ReasonAsync("keys.get", """{"key":"doomed"}"""));

        reader.StandardInput.Close();
        await reader.WaitForExitAsync(TestContext.Current.CancellationToken);
        await UntilAsync(() => Task.FromResult(Found(doomed) == 0));
    }

    /// <summary>The daemon dies once it has recorded the destruction, and the next start once it has tidied up: both before the log is emptied.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_a_deleted_key_no_blob_is_left_wherever_the_daemon_dies(bool diesTwice)
    {
        await MakeAsync("doomed", "AES256-GCM96", "software", versions: 2);
        List<byte[]> doomed = await MaterialAsync("doomed");
        _ = await _wire.ResultAsync("keys.requestDeletion", """{"key":"doomed","confirmName":"doomed"}""");
        await RestartAsync(() => { }, ("KMSD_TEST_FAULT", "writer.after-commit:1"));
        await _wire.SendAsync("""{"jsonrpc":"2.0","id":1,"method":"keys.deleteNow","params":{"key":"doomed","confirmName":"doomed"}}""");
        Assert.Equal(137, await _daemon.ExitAsync());
        Assert.NotEqual(0, Found(doomed));
        if (diesTwice)
        {
            Assert.Equal(137, (await _host.TestKmsdAsync(new() { ["KMSD_TEST_FAULT"] = "sweep.after-commit:1" })).ExitCode);
            Assert.NotEqual(0, Found(doomed));
        }

        await _daemon.DisposeAsync();
        await _wire.DisposeAsync();
        _daemon = await StartAsync();
        _wire = await Wire.ConnectAsync(_host.Socket);
        await UntilAsync(() => Task.FromResult(Found(doomed) == 0));
    }

    private async Task RestartAsync(Action whileStopped, params (string Name, string Value)[] hooks)
    {
        Assert.Equal(0, (await _daemon.StopAsync()).ExitCode);
        whileStopped();
        await _daemon.DisposeAsync();
        await _wire.DisposeAsync();
        _daemon = await StartAsync(hooks);
        _wire = await Wire.ConnectAsync(_host.Socket);
    }

    private Task<Daemon> StartAsync(params (string Name, string Value)[] hooks) => _host.StartTestBuildAsync(
        new(hooks.Select(hook => KeyValuePair.Create(hook.Name, hook.Value))) { ["KMSD_TEST_LOOK"] = Path.Combine(_host.Path, "look") });

    private async Task MakeAsync(string name, string type, string protection, int versions)
    {
        _ = await _wire.ResultAsync(
            "keys.create", $$$"""{"name":"{{{name}}}","type":"{{{type}}}","protection":"{{{protection}}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
        await UseAsync(name, type);
        for (int version = 2; version <= versions; version++)
        {
            _ = await _wire.ResultAsync("keys.rotate", $$"""{"key":"{{name}}"}""");
            await UseAsync(name, type);
        }
    }

    /// <summary>So that it is open, in memory or in the token.</summary>
    private async Task UseAsync(string name, string type)
    {
        if (type == "AES256-GCM96")
        {
            _ = await _wire.EncryptAsync(name, "A"u8.ToArray());
        }
        else
        {
            _ = await _wire.ResultAsync("crypto.sign", $$"""{"key":"{{name}}","message":"QQ=="}""");
        }
    }

    /// <summary>The blobs and bindings of all versions.</summary>
    private async Task<List<byte[]>> MaterialAsync(params string[] names)
    {
        string rows = await Shell.SucceedAsync(
            "sqlite3",
            _host.Database,
            $"SELECT hex(blob), hex(binding) FROM version_material JOIN keys USING (tag) WHERE name IN ({string.Join(", ", names.Select(name => $"'{name}'"))})");
        return [.. rows.Split(['|', '\n'], StringSplitOptions.RemoveEmptyEntries).Select(Convert.FromHexString)];
    }

    /// <summary>How many of them are in the files, whole or in part.</summary>
    private int Found(List<byte[]> material)
    {
        List<byte[]> files = [.. Directory.EnumerateFiles(_host.State).Where(file => Path.GetFileName(file).StartsWith("kms.db", StringComparison.Ordinal)).Select(File.ReadAllBytes)];
        Assert.NotEmpty(files);
        return material.Count(one => files.Exists(file => Parts(one).Any(part => file.AsSpan().IndexOf(part) >= 0)));
    }

    // SQLite may have cut a value where a page ended.
    private static IEnumerable<byte[]> Parts(byte[] value)
    {
        for (int start = 0; start + SearchedLength <= value.Length; start += SearchedLength)
        {
            yield return value[start..(start + SearchedLength)];
        }
    }

    /// <summary>The token's keys: SoftHSM keeps each object in a file of its own, which another process sees as well. The anchor is a data object.</summary>
    private string[] TokenKeys() =>
    [
        .. Directory.EnumerateFiles(Path.Combine(_host.Path, "tokens"), "*.object", SearchOption.AllDirectories)
            .Where(file => Path.GetFileName(file) != "token.object" && !IsData(File.ReadAllBytes(file))).Order(),
    ];

    // The first attribute that SoftHSM writes is the class: type, kind and value, eight bytes each, after the generation counter. CKO_DATA is 0.
    private static bool IsData(byte[] file) => BinaryPrimitives.ReadUInt64BigEndian(file.AsSpan(24)) == 0;

    /// <summary>The log is emptied after the commit that others see, and before the next answer of a change.</summary>
    private async Task AfterTheWriterAsync() => _ = await _wire.ResultAsync("deletions.release");

    private void SetClock(DateTimeOffset now)
    {
        _now = now;
        _host.Now = now;
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
