using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Disks that fail, and daemons that end, while requests are in flight.</summary>
public sealed class StorageFaultTests
{
    [Fact]
    public async Task A_change_that_was_refused_for_a_failed_fsync_doesnt_come_back_after_a_crash()
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("first");
            using Process tracer = await FailSyncAsync(daemon);
            System.Text.Json.JsonElement answer = await wire.CallAsync(
                "grants.add", """{"key":"first","principal":"uid:6","role":"manager"}""");
            Assert.Equal("storageUnavailable", Wire.Reason(answer));
            Assert.Contains("nothing was changed", answer.ToString(), StringComparison.Ordinal);
            await daemon.KillAsync();
            tracer.Kill();
        }

        await using Daemon again = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        string grants = (await reader.ResultAsync("grants.list", """{"key":"first"}""")).ToString();
        Assert.DoesNotContain("uid:6", grants, StringComparison.Ordinal);
        Assert.Contains("uid:0", grants, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_was_read_is_answered_before_the_end(bool byHalfClose)
    {
        const int Requests = 100;
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("first");
        StringBuilder lines = new();
        for (int id = 100; id < 100 + Requests; id++)
        {
            _ = lines.Append(CultureInfo.InvariantCulture, $"{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"keys.create\",\"params\":{{\"name\":\"k-{id}\",\"type\":\"AES256-GCM96\"}}}}\n");
        }

        await wire.SendAsync(lines.ToString().TrimEnd());
        Task<Finished>? stopping = null;
        if (byHalfClose)
        {
            wire.Socket.Shutdown(SocketShutdown.Send);
        }
        else
        {
            stopping = daemon.StopAsync();
        }

        HashSet<int> answered = [];
        try
        {
            while (await wire.ReceiveAsync() is System.Text.Json.JsonElement answer)
            {
                Assert.Equal("ok", Wire.Reason(answer));
                _ = answered.Add(answer.GetProperty("id").GetInt32());
            }
        }
        catch (IOException exception) when (stopping is not null && exception.InnerException is SocketException { SocketErrorCode: SocketError.ConnectionReset })
        {
            // The kernel's word, after the last answer, for requests that the daemon had not read yet.
        }

        if (stopping is not null)
        {
            Assert.Equal(0, (await stopping).ExitCode);
        }
        else
        {
            Assert.Equal(Requests, answered.Count);
            _ = await daemon.StopAsync();
        }

        // Not one was carried out without its answer.
        await using Daemon again = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        int total = (await reader.ResultAsync("keys.list", "{\"limit\":1}")).GetProperty("total").GetInt32();
        Assert.Equal(answered.Count + 1, total);
    }

    [Fact]
    public async Task A_token_that_is_away_shows_in_the_status_until_it_works_again()
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("before");
            await TakeTokenAwayAsync(host, wire);
        }

        await using Daemon again = await host.StartAsync();
        await using Wire client = await Wire.ConnectAsync(host.Socket);
        Assert.Equal("ok", await client.ReasonAsync("keys.create", """{"name":"after","type":"AES256-GCM96"}"""));
        Assert.Equal("ok", (await client.ResultAsync("system.status")).GetProperty("token").GetString());
    }

    private static async Task TakeTokenAwayAsync(Installation host, Wire wire)
    {
        string tokens = Path.Combine(host.Path, "tokens");
        Directory.Move(tokens, tokens + ".away");
        Assert.Equal("tokenUnavailable", await wire.ReasonAsync("keys.create", """{"name":"during","type":"AES256-GCM96"}"""));
        _ = await wire.ResultAsync("crypto.random", "{\"bytes\":8}");
        Assert.Equal("unavailable", (await wire.ResultAsync("system.status")).GetProperty("token").GetString());

        Directory.Move(tokens + ".away", tokens);
    }

    [Fact]
    public async Task Plaintext_of_refused_requests_doesnt_stay()
    {
        byte[] marker = Encoding.ASCII.GetBytes("a-marker-that-stands-nowhere-else");
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("first");
        string plaintext = Wire.Base64([.. Enumerable.Repeat(marker, 40).SelectMany(bytes => bytes)]);
        for (int round = 0; round < 20; round++)
        {
            Assert.Equal("invalidParams", await wire.ReasonAsync("crypto.encrypt", $$"""{"key":"first","plaintext":"{{plaintext}}","zzz":1}"""));
        }

        // What nobody disposed of goes with the next collections, which other requests bring.
        for (int round = 0; round < 20_000; round++)
        {
            _ = await wire.ResultAsync("system.status");
        }

        Assert.InRange(Occurrences(daemon.Id, marker), 0, 80);
    }

    /// <summary>The next fsync of each thread fails, and no other.</summary>
    private static Task<Process> FailSyncAsync(Daemon daemon) => FailSyncAsync(daemon, "1");

    /// <param name="daemon">A running one.</param>
    /// <param name="which">Of the fsyncs of each thread, as strace counts them: 1 is the next and no other, 1+ all.</param>
    internal static async Task<Process> FailSyncAsync(Daemon daemon, string which)
    {
        Process tracer = Process.Start(new ProcessStartInfo(
            "strace",
            ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", $"inject=fsync,fdatasync:error=EIO:when={which}", "-p", daemon.Id.ToString(CultureInfo.InvariantCulture)]))!;
        while (File.ReadLines($"/proc/{daemon.Id}/status").Contains("TracerPid:\t0"))
        {
            await Task.Delay(10);
        }

        // Every thread must be held, not the first alone.
        await Task.Delay(500);
        return tracer;
    }

    private static int Occurrences(int process, byte[] marker)
    {
        int found = 0;
        using FileStream memory = new($"/proc/{process}/mem", FileMode.Open, FileAccess.Read);
        foreach (string line in File.ReadLines($"/proc/{process}/maps").Where(line => line.Contains(" rw", StringComparison.Ordinal)))
        {
            string[] range = line.Split(' ')[0].Split('-');
            long start = long.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            byte[] bytes = new byte[long.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture) - start];
            try
            {
                memory.Position = start;
                _ = memory.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            }
            catch (IOException)
            {
                continue; // A page that can't be read, such as [vvar].
            }

            for (int at = 0, next; (next = bytes.AsSpan(at).IndexOf(marker)) >= 0; at += next + marker.Length)
            {
                found++;
            }
        }

        return found;
    }
}
