using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Clients that mean harm: the daemon serves the others, and its memory stays bounded.</summary>
public sealed class HostileClientTests
{
    private const long GrowthByFlood = 4 * 1024; // KiB
    private const long GrowthByNeverReading = 8 * 1024;

    [Fact]
    public async Task A_gibibyte_without_a_newline_is_cut_off_at_the_limit()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await WarmUpAsync(host);
        long before = daemon.Memory("VmRSS");

        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        byte[] block = Encoding.ASCII.GetBytes(new string('x', 1 << 20));
        int sent = 0;
        try
        {
            for (; sent < 1024; sent++)
            {
                await wire.Stream.WriteAsync(block, TestContext.Current.CancellationToken);
            }
        }
        catch (IOException)
        {
            // The daemon hung up, as it must.
        }

        long grown = daemon.Memory("VmRSS") - before;
        TestContext.Current.TestOutputHelper?.WriteLine($"cut off after {sent} MiB; resident +{grown} KiB");
        Assert.InRange(sent, 0, 2);
        Assert.InRange(grown, long.MinValue, GrowthByFlood - 1);
        await ServesAsync(host);
    }

    [Fact]
    public async Task The_flooder_is_told_why()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        await wire.SendAsync(new string('x', 131073));
        Assert.Equal("invalidRequest", Wire.Reason((await wire.ReceiveAsync())!.Value));
        Assert.Null(await wire.ReceiveAsync());
    }

    /// <summary>They are carried out, so they must be answered.</summary>
    [Fact]
    public async Task Requests_before_a_line_that_is_too_long_are_answered()
    {
        const int Requests = 50;
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using (Wire manager = await Wire.ConnectAsync(host.Socket))
        {
            _ = await manager.MakeKeyAsync("kept");
        }

        for (int round = 0; round < 20; round++)
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            string updates = string.Join('\n', Enumerable.Range(1, Requests).Select(id =>
                $$$"""{"jsonrpc":"2.0","id":{{{id}}},"method":"keys.update","params":{"key":"kept","memo":"{{{id}}}"}}"""));
            await wire.SendAsync(updates + "\n" + new string('x', 131073));
            HashSet<int> answered = [];
            while (await wire.ReceiveAsync() is { } answer)
            {
                if (answer.GetProperty("id") is { ValueKind: JsonValueKind.Number } id)
                {
                    Assert.True(answered.Add(id.GetInt32()));
                }
            }

            Assert.Equal(Requests, answered.Count);
        }
    }

    [Theory]
    [InlineData("system.status", "{}")]
    [InlineData("rpc.discover", "{}")]
    [InlineData("crypto.random", "{\"bytes\":1024}")]
    public async Task A_client_that_never_reads_is_blocked(string method, string parameters)
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await WarmUpAsync(host);
        long before = daemon.Memory("VmRSS");

        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        wire.Socket.Blocking = false;
        long sent = 0;
        int idle = 0;
        for (int id = 0; idle < 20; id++)
        {
            byte[] request = Encoding.ASCII.GetBytes($$"""{"jsonrpc":"2.0","id":{{id}},"method":"{{method}}","params":{{parameters}}}""" + "\n");
            for (int at = 0; at < request.Length && idle < 20;)
            {
                int taken = wire.Socket.Send(request.AsSpan(at), SocketFlags.None, out SocketError error);
                if (error is SocketError.WouldBlock)
                {
                    // Blocked for a second in all: nothing more is read.
                    idle++;
                    await Task.Delay(50, TestContext.Current.CancellationToken);
                    continue;
                }

                Assert.Equal(SocketError.Success, error);
                idle = 0;
                at += taken;
                sent += taken;
                Assert.InRange(sent, 0, 16 << 20);
            }
        }

        long grown = daemon.Memory("VmRSS") - before;
        TestContext.Current.TestOutputHelper?.WriteLine($"blocked after {sent} bytes of requests; resident +{grown} KiB");
        Assert.InRange(grown, long.MinValue, GrowthByNeverReading - 1);
        await ServesAsync(host);
    }

    [Fact]
    public async Task Half_a_request_and_silence_is_hung_up_on()
    {
        await using Installation host = await Installation.MakeAsync();
        host.Set("limits", "first_request_timeout", "500ms");
        await using Daemon daemon = await host.StartAsync();
        await using Wire silent = await Wire.ConnectAsync(host.Socket);
        await silent.Stream.WriteAsync("{\"jsonrpc\":"u8.ToArray(), TestContext.Current.CancellationToken);
        await using Wire mute = await Wire.ConnectAsync(host.Socket);
        Assert.Null(await silent.ReceiveAsync());
        Assert.Null(await mute.ReceiveAsync());
        await ServesAsync(host);
    }

    [Fact]
    public async Task Hanging_up_in_the_middle_of_an_operation_harms_nobody()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("first");
        for (int round = 0; round < 200; round++)
        {
            await using Wire leaving = await Wire.ConnectAsync(host.Socket);
            await leaving.SendAsync("""{"jsonrpc":"2.0","id":1,"method":"crypto.encrypt","params":{"key":"first","plaintext":"QUFB"}}""");
            await leaving.SendAsync($$$"""{"jsonrpc":"2.0","id":2,"method":"keys.create","params":{"name":"left-{{{round}}}","type":"AES256-GCM96"}}""");
        }

        string sealedText = await wire.EncryptAsync("first", "AAA"u8.ToArray());
        Assert.Equal("AAA"u8.ToArray(), await wire.DecryptAsync("first", sealedText));
        Finished stopped = await daemon.StopAsync();
        Assert.Equal(0, stopped.ExitCode);
        Assert.DoesNotContain("Exception", stopped.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_uid_has_so_many_connections_and_is_told_when_it_wants_more()
    {
        await using Installation host = await Installation.MakeAsync();
        host.Set("limits", "connections_per_uid", "5");
        await using Daemon daemon = await host.StartAsync();
        List<Wire> connections = [];
        try
        {
            // The connection by which the start was seen may just be ending.
            await Task.Delay(200, TestContext.Current.CancellationToken);
            for (int count = 0; count < 5; count++)
            {
                connections.Add(await Wire.ConnectAsync(host.Socket));
                _ = await connections[^1].ResultAsync("system.status");
            }

            await using Wire sixth = await Wire.ConnectAsync(host.Socket);
            JsonElement refusal = (await sixth.ReceiveAsync())!.Value;
            Assert.Equal("limitExceeded", Wire.Reason(refusal));
            Assert.Equal(
                "Too many connections: one user may have at most 5 ([limits] connections_per_uid).", refusal.GetProperty("error").GetProperty("message").GetString());
            Assert.Null(await sixth.ReceiveAsync());
        }
        finally
        {
            foreach (Wire connection in connections)
            {
                await connection.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task Garbage_of_every_kind_leaves_it_serving()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        for (int round = 0; round < 200; round++)
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            byte[] garbage = RandomNumberGenerator.GetBytes(2 + (round * 37));
            garbage[0] = (byte)'x';
            garbage[^1] = (byte)'\n';
            await wire.Stream.WriteAsync(garbage, TestContext.Current.CancellationToken);
            Assert.NotEqual("ok", Wire.Reason((await wire.ReceiveAsync())!.Value));
        }

        await ServesAsync(host);
    }

    /// <summary>What the first requests bring into memory isn't the hostile client's doing.</summary>
    private static async Task WarmUpAsync(Installation host)
    {
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        for (int round = 0; round < 2000; round++)
        {
            _ = await wire.ResultAsync(round % 2 == 0 ? "rpc.discover" : "system.status");
        }
    }

    private static async Task ServesAsync(Installation host)
    {
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.ResultAsync("system.status");
    }
}
