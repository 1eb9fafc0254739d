using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary><c>kill -9</c> at any moment: what was answered is there, nothing is half made, and counters are exact.</summary>
public sealed class CrashTests
{
    [Fact]
    public async Task Acknowledged_keys_and_uses_survive_kill_9()
    {
        int creates = Repository.Count("KMS_CRASH_CREATES", 40);
        int encryptions = Repository.Count("KMS_CRASH_ENCRYPTIONS", 400);
        const int Rounds = 10;
        await using Installation host = await Installation.MakeAsync();
        Dictionary<string, string> ciphertexts = [];
        Dictionary<string, int> uses = [];
        HashSet<string> attempted = [];
        int kills = 0;
        await using (Daemon daemon = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("counted");
            uses["counted"] = 0;
        }

        for (int round = 0; round < Rounds || ciphertexts.Count < creates || uses["counted"] < encryptions; round++)
        {
            await using Daemon daemon = await host.StartAsync();
            int delay = System.Security.Cryptography.RandomNumberGenerator.GetInt32(20, 20 + (creates * 4));
            var killing = Task.Run(async () =>
            {
                await Task.Delay(delay, CancellationToken.None);
                await daemon.KillAsync();
            }, CancellationToken.None);
            (int unanswered, int answered) = await WorkUntilKilledAsync(host, round, ciphertexts, attempted);
            await killing;
            kills++;
            uses["counted"] += answered;

            // Exact: every answered use, and of those in flight at the kill (one a connection) at most that many.
            await using Daemon again = await host.StartAsync();
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            int counted = (await wire.ResultAsync("keys.get", """{"key":"counted"}""")).GetProperty("usageCount").GetInt32();
            Assert.InRange(counted, uses["counted"], uses["counted"] + unanswered);
            uses["counted"] = counted;
            Assert.Equal(0, (await again.StopAsync()).ExitCode);
        }

        await using Daemon last = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        foreach ((string name, string ciphertext) in ciphertexts)
        {
            Assert.Equal("crash"u8.ToArray(), await reader.DecryptAsync(name, ciphertext));
            int count = (await reader.ResultAsync("keys.get", $$"""{"key":"{{name}}"}""")).GetProperty("usageCount").GetInt32();
            Assert.Equal(2, count);
        }

        // What was asked for and not answered is whole or not there.
        foreach (string name in attempted.Except(ciphertexts.Keys))
        {
            string reason = await reader.ReasonAsync("crypto.encrypt", $$"""{"key":"{{name}}","plaintext":"QQ=="}""");
            Assert.True(reason is "ok" or "notFound", reason);
        }

        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{kills} kills; {ciphertexts.Count} acknowledged keys and {uses["counted"]} encryptions are all there");
    }

    [Theory]
    [InlineData("writer.begun", false)]
    [InlineData("writer.before-commit", false)]
    [InlineData("writer.after-commit", true)]
    public async Task Death_inside_the_writer_leaves_all_or_nothing(string point, bool isThere)
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon first = await host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("before");
            _ = await first.StopAsync();
        }

        await using (Daemon dying = await host.StartTestBuildAsync(new() { ["KMSD_TEST_FAULT"] = point + ":1" }))
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            await wire.SendAsync("""{"jsonrpc":"2.0","id":1,"method":"keys.create","params":{"name":"during","type":"AES256-GCM96","grants":[{"principal":"uid:0","role":"reviewer"}]}}""");
            Assert.Equal(137, await dying.ExitAsync());
        }

        await using Daemon again = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        Assert.Equal(isThere ? "ok" : "notFound", await reader.ReasonAsync("grants.list", """{"key":"during"}"""));
        Assert.Equal("ok", await reader.ReasonAsync("keys.get", """{"key":"before"}"""));
    }

    [Fact]
    public async Task A_token_file_that_a_kill_destroyed_is_put_back()
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon daemon = await host.StartAsync())
        {
            _ = await Shell.SucceedAsync(Repository.Script("softhsm/token-copy.sh"), "save", host.Path);
            _ = await daemon.StopAsync();
        }

        // SoftHSM truncates the file at the login and writes it again: killed at its first write, as by a power cut.
        string token = Directory.EnumerateFiles(Path.Combine(host.Path, "tokens"), "token.object", SearchOption.AllDirectories).Single();
        long whole = new FileInfo(token).Length;
        host.WriteConfiguration();
        _ = await Shell.RunAsync(
            "strace",
            ["-f", "-qq", "-o", "/dev/null", "-P", token, "-e", "trace=write", "-e", "inject=write:signal=SIGKILL:error=EIO", Repository.Kmsd, "--config", host.Configuration],
            host.Environment);
        Assert.InRange(new FileInfo(token).Length, 0, whole - 1);
        Assert.NotEqual(0, (await host.RefusedAsync()).ExitCode);

        Finished restored = await Shell.RunAsync(Repository.Script("softhsm/token-copy.sh"), "restore", host.Path);
        Assert.Equal(0, restored.ExitCode);
        Assert.Contains("put back", restored.Output, StringComparison.Ordinal);
        await using Daemon again = await host.StartAsync();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(100)]
    [InlineData(319)]
    public async Task A_token_file_cut_anywhere_is_seen(int length)
    {
        await using Installation host = await Installation.MakeAsync();
        _ = await Shell.SucceedAsync(Repository.Script("softhsm/token-copy.sh"), "save", host.Path);
        string token = Directory.EnumerateFiles(Path.Combine(host.Path, "tokens"), "token.object", SearchOption.AllDirectories).Single();
        byte[] whole = File.ReadAllBytes(token);
        File.WriteAllBytes(token, whole[..Math.Min(length, whole.Length - 1)]);
        Finished save = await Shell.RunAsync(Repository.Script("softhsm/token-copy.sh"), "save", host.Path);
        Assert.True(length > 8 || save.ExitCode == 65, save.Error);

        _ = await Shell.SucceedAsync(Repository.Script("softhsm/token-copy.sh"), "restore", host.Path);
        Assert.Equal(whole, File.ReadAllBytes(token));
    }

    private static async Task<(int Unanswered, int Answered)> WorkUntilKilledAsync(
        Installation host, int round, Dictionary<string, string> ciphertexts, HashSet<string> attempted)
    {
        int answered = 0;
        var creating = Task.Run(async () =>
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            for (int number = 0; ; number++)
            {
                string name = $"round-{round}-{number}";
                _ = attempted.Add(name);
                _ = await wire.MakeKeyAsync(name);
                string ciphertext = await wire.EncryptAsync(name, "crash"u8.ToArray());
                ciphertexts.Add(name, ciphertext);
            }
        });
        var counting = Task.Run(async () =>
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            while (true)
            {
                _ = await wire.EncryptAsync("counted", "crash"u8.ToArray());
                answered++;
            }
        });
        foreach (Task task in new[] { creating, counting })
        {
            try
            {
                await task;
            }
            catch (Exception exception) when (exception is IOException or EndOfStreamException or JsonException or System.Net.Sockets.SocketException)
            {
                // The daemon was killed, as planned.
            }
        }

        return (1, answered);
    }
}
