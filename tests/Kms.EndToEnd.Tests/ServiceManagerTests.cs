using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>How systemd starts it: a socket handed over, readiness notified, and what the process is not allowed.</summary>
public sealed class ServiceManagerTests
{
    [Fact]
    public async Task A_socket_handed_over_is_served_and_readiness_notified()
    {
        await using Installation host = await Installation.MakeAsync();
        host.WriteConfiguration();
        string notify = Path.Combine(host.Path, "notify");
        using Socket manager = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        manager.Bind(new UnixDomainSocketEndPoint(notify));
        ProcessStartInfo start = new(
            "systemd-socket-activate",
            ["-E", "NOTIFY_SOCKET", "-E", "SOFTHSM2_CONF", "-l", host.Socket, Repository.Kmsd, "--config", host.Configuration])
        {
            RedirectStandardError = true,
        };
        start.Environment["NOTIFY_SOCKET"] = notify;
        start.Environment["SOFTHSM2_CONF"] = host.Environment["SOFTHSM2_CONF"];
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        try
        {
            await WaitForAsync(() => File.Exists(host.Socket));
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.ResultAsync("system.status");

            byte[] message = new byte[4096];
            int length = await manager.ReceiveAsync(message, TestContext.Current.CancellationToken);
            Assert.Contains("READY=1", Encoding.UTF8.GetString(message, 0, length), StringComparison.Ordinal);

            _ = await Shell.SucceedAsync("kill", "-TERM", process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture));
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Equal(0, process.ExitCode);
            length = await manager.ReceiveAsync(message, TestContext.Current.CancellationToken);
            Assert.Contains("STOPPING=1", Encoding.UTF8.GetString(message, 0, length), StringComparison.Ordinal);
            Assert.True(File.Exists(host.Socket), "The socket is systemd's: the daemon leaves it.");
        }
        finally
        {
            process.Kill();
            _ = await error;
        }
    }

    [Fact]
    public async Task It_leaves_no_core_and_nobody_reads_its_memory()
    {
        Assert.SkipUnless(Environment.UserName == "root", "Needs root: it runs the daemon as another account.");
        await using Installation host = await Installation.MakeAsync();
        _ = await Shell.SucceedAsync("chown", "-R", "daemon", host.Path);
        host.Set("daemon", "socket_group", "daemon");
        host.WriteConfiguration();
        ProcessStartInfo start = new(
            "setpriv", ["--reuid=daemon", "--regid=daemon", "--clear-groups", Repository.Kmsd, "--config", host.Configuration]);
        start.Environment["SOFTHSM2_CONF"] = host.Environment["SOFTHSM2_CONF"];
        using Process process = Process.Start(start)!;
        try
        {
            await WaitForAsync(() => File.Exists(host.Socket));

            // A process that isn't dumpable belongs to root in /proc (proc(5)), whoever runs it: even he can't attach to it.
            Assert.Equal("0\n", await Shell.SucceedAsync("stat", "-c", "%u", $"/proc/{process.Id}/mem"));
            string limits = await File.ReadAllTextAsync($"/proc/{process.Id}/limits", TestContext.Current.CancellationToken);
            Assert.Matches("Max core file size +0 +0 ", limits);
            string locked = await File.ReadAllTextAsync($"/proc/{process.Id}/status", TestContext.Current.CancellationToken);
            Assert.DoesNotMatch("VmLck:\\s+0 kB", locked);
        }
        finally
        {
            process.Kill();
        }
    }

    [Fact]
    public async Task It_stops_in_order_on_SIGTERM_and_removes_nothing_that_isnt_its_own()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("kept");
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        await using Daemon again = await host.StartAsync();
        await using Wire reader = await Wire.ConnectAsync(host.Socket);
        Assert.Equal("ok", await reader.ReasonAsync("keys.get", """{"key":"kept"}"""));
    }

    private static async Task WaitForAsync(Func<bool> condition)
    {
        long began = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(30), "It doesn't start.");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }
}
