using System.Globalization;
using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>
/// A real token's root key is rotated and retired, and the daemon is killed before and after each write to token and database:
/// it starts again without an operator, everything opens, and what was begun is whole or not there.
/// </summary>
public sealed class RootRotationTests : IAsyncLifetime
{
    private static readonly string[] s_points =
    [
        "root.made", "root.retiring", "root.destroyed", "writer.before-announce", "anchor.before-write", "anchor.after-write", "writer.before-commit",
        "writer.after-commit", "writer.after-confirm",
    ];

    private readonly Dictionary<string, string> _sealed = [];
    private Installation _host = null!;
    private DateTimeOffset _now = new(2026, 3, 1, 8, 0, 0, TimeSpan.Zero);

    public async ValueTask InitializeAsync()
    {
        _host = await Installation.MakeAsync(_now);
        await using Daemon daemon = await StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        foreach (string protection in new[] { "software", "hsm" })
        {
            foreach (string type in new[] { "AES256-GCM96", "RSA-2048", "ECDSA-P256" })
            {
                string name = $"{protection}-{type}".ToLowerInvariant();
                _ = await wire.ResultAsync(
                    "keys.create",
                    $$"""{"name":"{{name}}","type":"{{type}}","protection":"{{protection}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
                if (type != "ECDSA-P256")
                {
                    _sealed[name] = await wire.EncryptAsync(name, "a text"u8.ToArray());
                }
            }
        }

        _ = await daemon.StopAsync();
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task Killed_anywhere_it_goes_on_and_nothing_is_lost()
    {
        // Of the times that a point is reached; each of them is one kill.
        int each = Repository.Count("KMS_ROOT_FAULTS_EACH", 4);
        int kills = 0;
        foreach (string point in s_points)
        {
            for (int time = 1, asked = 0; ; time += each, asked++)
            {
                bool wasKilled = await RotateAndRetireAsync(new() { ["KMSD_TEST_FAULT"] = string.Create(CultureInfo.InvariantCulture, $"{point}:{time}") });
                if (!wasKilled)
                {
                    Assert.True(asked > 0, $"{point} was never reached.");
                    break;
                }

                kills++;
                _ = await RotateAndRetireAsync([]);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"killed {kills} times");
    }

    /// <summary>
    /// The disk fails at the very commit that takes the new generation into use, and goes on failing: the caller is told to look again. After a power
    /// cut the disk may hold that commit whole, and not what was to take its place. The keys that it names must be there.
    /// </summary>
    [Fact]
    public async Task A_generation_whose_commit_is_in_doubt_keeps_its_keys()
    {
        string made = Path.Combine(_host.Path, "made");
        string failed = Path.Combine(_host.Path, "failed");
        string log = _host.Database + "-wal";
        await using (Daemon daemon = await StartAsync(new() { ["KMSD_TEST_FAULT"] = $"root.made:1:{made},writer.failed:1:{failed}" }))
        {
            await using Wire wire = await Wire.ConnectAsync(_host.Socket);
            Task<JsonElement> rotating = wire.CallAsync("root.rotate", """{"reason":"a test"}""");
            await UntilAsync(() => Task.FromResult(File.Exists(made)));
            using System.Diagnostics.Process tracer = await StorageFaultTests.FailSyncAsync(daemon, "1+");
            File.Delete(made);
            await UntilAsync(() => Task.FromResult(File.Exists(failed)));
            File.Copy(log, log + ".on-disk");
            File.Delete(failed);
            JsonElement answer = await rotating;
            Assert.Equal("storageUnavailable", Wire.Reason(answer));
            Assert.Contains("look again", answer.ToString(), StringComparison.Ordinal);
            await daemon.KillAsync();
            tracer.Kill();
        }

        File.Move(log + ".on-disk", log, overwrite: true);
        File.Delete(_host.Database + "-shm");
        await using Daemon again = await StartAsync();
        await using Wire client = await Wire.ConnectAsync(_host.Socket);
        await OpenAllAsync(client);
        Assert.Equal(2, (await client.ResultAsync("root.status")).GetProperty("generation").GetInt64());
        await UntilCarriedAsync(client);
        await OpenAllAsync(client);
        Assert.True((await client.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
    }

    [Fact]
    public async Task The_console_rotates_shows_how_far_it_is_and_retires()
    {
        await using Daemon daemon = await StartAsync();
        Finished rotated = await _host.KmsctlAsync("root", "rotate", "--reason", "yearly");
        Assert.True(rotated.ExitCode == 0, rotated.Error);
        Assert.Contains("Generation 2 is in use. 6 versions are being carried over", rotated.Error, StringComparison.Ordinal);
        Assert.Contains("6 of 6", rotated.Output, StringComparison.Ordinal);

        // Refused: exit code 10 + 3 (invalidState), and nothing is destroyed.
        Finished early = await _host.KmsctlAsync("root", "retire", "1", "--reason", "yearly", "--yes");
        Assert.Equal(13, early.ExitCode);
        Assert.Contains("can be retired from 2026-03-08T08:00:00Z on", early.Error, StringComparison.Ordinal);
        SetClock(_now.AddDays(7));
        Finished unsaid = await _host.KmsctlAsync("n\n"u8.ToArray(), "root", "retire", "1", "--reason", "yearly");
        Assert.Equal(2, unsaid.ExitCode);
        Finished retired = await _host.KmsctlAsync("y\n"u8.ToArray(), "root", "retire", "1", "--reason", "yearly");
        Assert.True(retired.ExitCode == 0, retired.Error);
        Assert.DoesNotContain("generation 1", retired.Output, StringComparison.Ordinal);
        Assert.Equal(64, (await _host.KmsctlAsync("root", "rotate")).ExitCode);
        Finished log = await _host.KmsctlAsync("history", "--scope", "root");
        Assert.Contains("root.rotate", log.Output, StringComparison.Ordinal);
        Assert.Contains("root.retire", log.Output, StringComparison.Ordinal);
    }

    /// <summary>True if the daemon died on the way.</summary>
    private async Task<bool> RotateAndRetireAsync(Dictionary<string, string> hooks)
    {
        await using Daemon daemon = await StartAsync(hooks);
        Task<int> exit = daemon.ExitAsync();
        try
        {
            await using Wire wire = await Wire.ConnectAsync(_host.Socket);
            await OpenAllAsync(wire);
            JsonElement status = await wire.ResultAsync("root.status");
            if (status.GetProperty("generations").GetArrayLength() == 1)
            {
                status = await wire.ResultAsync("root.rotate", """{"reason":"a test"}""");
                _now = _now.AddSeconds(1);
                SetClock(_now);
            }

            await OpenAllAsync(wire);
            await UntilCarriedAsync(wire);
            _now = _now.AddDays(8);
            SetClock(_now);
            long old = status.GetProperty("generations")[0].GetProperty("generation").GetInt64();
            if (status.GetProperty("generations")[0].GetProperty("state").GetString() == "old")
            {
                await RetireAsync(wire, old);
            }

            await UntilAsync(async () => (await wire.ResultAsync("root.status")).GetProperty("generations").GetArrayLength() == 1);
            await OpenAllAsync(wire);
            Assert.True((await wire.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
            Assert.NotEqual("integrityFailure", (await wire.ResultAsync("system.status")).GetProperty("database").GetString());
            _ = await daemon.StopAsync();
            return false;
        }
        catch (Exception exception) when (exception is IOException or System.Net.Sockets.SocketException)
        {
            // The connection ended: it must have been the kill.
            Assert.Equal(137, await exit.WaitAsync(TimeSpan.FromSeconds(10)));
            return true;
        }
    }

    /// <summary>Rows are coded anew after the last version was carried over: until then it is refused.</summary>
    private static Task RetireAsync(Wire wire, long generation) => UntilAsync(async () =>
    {
        JsonElement answer = await wire.CallAsync("root.retire", string.Create(CultureInfo.InvariantCulture, $$"""{"generation":{{generation}},"reason":"a test"}"""));
        string reason = Wire.Reason(answer);
        Assert.True(reason is "ok" or "invalidState", answer.ToString());
        return reason == "ok";
    });

    private static Task UntilCarriedAsync(Wire wire) => UntilAsync(async () =>
    {
        JsonElement rewrap = (await wire.ResultAsync("root.status")).GetProperty("rewrap");
        return rewrap.GetProperty("done").GetInt64() == rewrap.GetProperty("total").GetInt64();
    });

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        for (int i = 0; i < 500; i++)
        {
            if (await condition())
            {
                return;
            }

            await Task.Delay(20, TestContext.Current.CancellationToken);
        }

        Assert.Fail("It didn't come within 10 s.");
    }

    private async Task OpenAllAsync(Wire wire)
    {
        foreach ((string name, string ciphertext) in _sealed)
        {
            Assert.Equal("a text"u8.ToArray(), await wire.DecryptAsync(name, ciphertext));
        }
    }

    private Task<Daemon> StartAsync(Dictionary<string, string>? hooks = null) =>
        _host.StartTestBuildAsync(
        new(hooks ?? []) { ["KMSD_TEST_LOOK"] = Path.Combine(_host.Path, "look") });

    private void SetClock(DateTimeOffset now)
    {
        _host.Now = now;
    }
}
