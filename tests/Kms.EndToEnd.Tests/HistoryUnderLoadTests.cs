using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>The history of keys that many use at once: exact after a kill, after a revocation, and soon verified however long.</summary>
public sealed class HistoryUnderLoadTests
{
    private const uint Holder = 4242;

    /// <summary><c>KMS_CRASH_LOADS</c>: how often.</summary>
    [Fact]
    public async Task After_kill_9_under_load_every_answered_use_is_in_the_history_once_and_counted_once()
    {
        const int Connections = 64;
        int kills = Repository.Count("KMS_CRASH_LOADS", 8);
        await using Installation host = await Installation.MakeAsync();
        string tag;
        await using (Daemon first = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            tag = await wire.MakeKeyAsync("counted");
        }

        UseProof proof = new(host, "counted", tag);
        long answered = 0;
        long unanswered = 0;
        for (int kill = 0; kill < kills; kill++)
        {
            List<Use> uses;
            await using (Daemon daemon = await host.StartAsync())
            {
                UseLoad load = await UseLoad.StartAsync(() => Wire.ConnectAsync(host.Socket), "counted", $"{kill}", Connections, inFlight: 1 + (kill % 4));
                await Task.Delay(RandomNumberGenerator.GetInt32(400), TestContext.Current.CancellationToken);
                await daemon.KillAsync();
                uses = await load.EndAsync(isCut: true);
            }

            Assert.All(uses.Where(use => use.Outcome is not null), use => Assert.Equal("ok", use.Outcome));
            answered += uses.Count(use => use.Outcome is not null);
            unanswered += uses.Count(use => use.Outcome is null);
            await using Daemon again = await host.StartAsync();
            proof.Check(uses);
            await proof.CheckWithDaemonAsync();
        }

        // Kills that met nobody would show nothing.
        Assert.InRange(unanswered, kills, long.MaxValue);
        Assert.InRange(proof.Carried, answered, answered + unanswered);
        await VerifyOfflineAsync(host);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{kills} kills under {Connections} connections: {answered} answered uses and {proof.Carried - answered} of {unanswered} unanswered ones in the history, each once");
    }

    /// <summary><c>KMS_REVOCATIONS</c>: how often. By the grant or with the membership, while the holder goes on asking.</summary>
    [Fact]
    public async Task No_use_of_a_holder_stands_after_the_revocation_in_the_history()
    {
        Assert.SkipUnless(Environment.UserName == "root", "Needs root: it acts as several accounts (setpriv).");
        int revocations = Repository.Count("KMS_REVOCATIONS", 30);
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire manager = await Wire.ConnectAsync(host.Socket);
        string tag = await manager.MakeKeyAsync("lent", $$"""{"principal":"uid:{{Holder}}","role":"encryptorDecryptor"}""");
        await using Account holder = await Account.StartAsync(host, Holder, Holder);
        UseLoad load = await UseLoad.StartAsync(holder.ConnectAsync, "lent", "held", connections: 16, inFlight: 16);
        for (int i = 0; i < revocations; i++)
        {
            await load.WaitForAsync("ok", 300);
            if (i % 2 == 0)
            {
                _ = await manager.ResultAsync("grants.remove", $$"""{"key":"lent","principal":"uid:{{Holder}}","role":"encryptorDecryptor"}""");
            }
            else
            {
                _ = await manager.ResultAsync("members.add", $$"""{"store":"default","principal":"uid:{{Holder}}","role":"user"}""");
                _ = await manager.ResultAsync("members.remove", $$"""{"store":"default","principal":"uid:{{Holder}}"}""");
            }

            // What is asked for from now on is refused, and was before its answer if it was asked for earlier.
            await load.WaitForAsync("notFound", 300);
            _ = await manager.ResultAsync("grants.add", $$"""{"key":"lent","principal":"uid:{{Holder}}","role":"encryptorDecryptor"}""");
        }

        List<Use> uses = await load.EndAsync();
        Assert.Equal(["notFound", "ok"], uses.Select(use => use.Outcome).Distinct().Order());
        UseProof proof = new(host, "lent", tag);
        await host.SettleAsync();
        proof.Check(uses);
        await proof.CheckWithDaemonAsync();
        (int removed, int used) = (0, 0);
        bool isHolder = true;
        using Sqlite database = new(host.Database);
        foreach (string[] row in database.Rows($"""
            SELECT sequence, operation, outcome, ifnull(uid, '') FROM history
            WHERE tag = x'{tag}' AND ifnull(detail, '') NOT LIKE '%ended with the membership' OR operation = 'members.remove' ORDER BY sequence
            """).Select(row => row.Split('|')))
        {
            (isHolder, removed) = row[1] switch
            {
                "grants.add" => (true, removed),
                "grants.remove" or "members.remove" => (false, removed + 1),
                _ => (isHolder, removed),
            };
            if (row[3] == Holder.ToString(CultureInfo.InvariantCulture) && row[2] == "ok")
            {
                used++;
                Assert.True(isHolder, $"Entry {row[0]} is a use of one who was deprived before it.");
            }
        }

        Assert.Equal((revocations, proof.Carried), (removed, used));
        TestContext.Current.TestOutputHelper?.WriteLine($"{removed} revocations under load; {used} uses, none after one; {load.Answered("notFound")} refused");
    }

    /// <summary><c>KMS_HISTORY_ENTRIES</c>: how long it is.</summary>
    [Fact]
    public async Task A_long_history_is_soon_verified()
    {
        var longest = TimeSpan.FromSeconds(15);
        int entries = Repository.Count("KMS_HISTORY_ENTRIES", 30_000);
        await using Installation host = await Installation.MakeAsync();
        TimeSpan online;
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("busy");
            for (int made = 0, part = 0; made < entries; part++)
            {
                UseLoad load = await UseLoad.StartAsync(() => Wire.ConnectAsync(host.Socket), "busy", $"{part}", connections: 8, inFlight: 32);
                while (load.Answered("ok") < Math.Min(entries - made, 100_000))
                {
                    await Task.Delay(10, TestContext.Current.CancellationToken);
                }

                made += (await load.EndAsync()).Count;
            }

            long began = Stopwatch.GetTimestamp();
            System.Text.Json.JsonElement verdict = await wire.ResultAsync("history.verify");
            online = Stopwatch.GetElapsedTime(began);
            Assert.True(verdict.GetProperty("ok").GetBoolean());
            Assert.InRange(verdict.GetProperty("entries").GetInt64(), entries, long.MaxValue);
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        TimeSpan offline = await VerifyOfflineAsync(host);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"at least {entries} entries: history.verify {online.TotalSeconds:F1} s, kmsd history verify {offline.TotalSeconds:F1} s");
        Assert.InRange(online, TimeSpan.Zero, longest);
        Assert.InRange(offline, TimeSpan.Zero, longest);
    }

    private static async Task<TimeSpan> VerifyOfflineAsync(Installation host)
    {
        long began = Stopwatch.GetTimestamp();
        Finished finished = await Shell.RunAsync(Repository.Kmsd, ["history", "verify", "--config", host.Configuration], host.Environment);
        Assert.True(finished.ExitCode == 0, finished.Error);
        return Stopwatch.GetElapsedTime(began);
    }
}
