using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Kmsd.Rpc;
using Microsoft.Win32.SafeHandles;

namespace Kmsd.Tests.Rpc;

/// <summary>Real processes in a real control group, which root makes where systemd would make a unit's.</summary>
public sealed partial class PeerUnitTests
{
    private const long PidFdOpen = 434; // pidfd_open(2), on every architecture.

    [Fact]
    public async Task The_unit_of_a_process_is_told_while_it_lives()
    {
        using var unit = Unit.Make("kms-test-alive.service");
        using var process = Process.Start("sleep", "60");
        using SafeFileHandle pidfd = Open(process.Id);
        Assert.Null(PeerUnit.Of(pidfd));

        unit.Add(process.Id);
        Assert.Equal("kms-test-alive.service", PeerUnit.Of(pidfd)?.Text);

        process.Kill();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Null(PeerUnit.Of(pidfd));
    }

    /// <summary>It ended, and nobody has asked how: <c>/proc</c> still shows its number, and the group it was in.</summary>
    [Fact]
    public async Task A_process_that_ended_is_in_no_unit_even_before_it_is_reaped()
    {
        using var unit = Unit.Make("kms-test-ended.service");
        using Process parent = Process.Start(new ProcessStartInfo("sh", ["-c", "sleep 60 & echo $!; exec sleep 60"]) { RedirectStandardOutput = true })!;
        int child = int.Parse((await parent.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken))!, CultureInfo.InvariantCulture);
        using SafeFileHandle pidfd = Open(child);
        unit.Add(child);
        Assert.Equal("kms-test-ended.service", PeerUnit.Of(pidfd)?.Text);

        using var killer = Process.Start("kill", ["-KILL", child.ToString(CultureInfo.InvariantCulture)]);
        await WaitForAsync(() => File.ReadAllText($"/proc/{child}/stat").Contains(") Z ", StringComparison.Ordinal));
        Assert.Contains("kms-test-ended.service", await File.ReadAllTextAsync($"/proc/{child}/cgroup", TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.Null(PeerUnit.Of(pidfd));
        parent.Kill();
    }

    [Fact]
    public async Task The_unit_is_that_of_whoever_connected_and_not_of_whoever_holds_the_socket()
    {
        Assert.SkipUnless(PeerUnit.WhyNot() is null, "Needs a kernel with SO_PEERPIDFD and control groups of version 2.");
        using var unit = Unit.Make("kms-test-peer.service");
        using TemporaryFolder folder = new();
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(folder.File("s")));
        listener.Listen();
        using Process client = Process.Start(new ProcessStartInfo("python3", ["-c", Client, folder.File("s")])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        Assert.Equal("ready", await client.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
        unit.Add(client.Id);
        await client.StandardInput.WriteLineAsync("connect");
        using Socket server = await listener.AcceptAsync(TestContext.Current.CancellationToken);
        Assert.Equal("kms-test-peer.service", PeerUnit.Read(server)?.Text);

        // It ends; its child, which is in the unit too and holds the socket, goes on.
        await client.StandardInput.WriteLineAsync("end");
        await client.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal("child"u8.ToArray(), await ReceiveAsync(server));
        Assert.Null(PeerUnit.Read(server));
    }

    private const string Client = """
        import os, socket, sys
        print("ready", flush=True)
        sys.stdin.readline()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(sys.argv[1])
        sys.stdin.readline()
        parent = os.getpid()
        if os.fork() == 0:
            while os.getppid() == parent: pass
            os.setsid()
            connection.sendall(b"child")
            connection.recv(1)
        """;

    private static async Task<byte[]> ReceiveAsync(Socket socket)
    {
        byte[] bytes = new byte[64];
        return bytes[..await socket.ReceiveAsync(bytes, TestContext.Current.CancellationToken)];
    }

    private static async Task WaitForAsync(Func<bool> condition)
    {
        long began = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(10));
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    private static SafeFileHandle Open(int process)
    {
        SafeFileHandle pidfd = new((nint)SystemCall(PidFdOpen, process, 0), ownsHandle: true);
        Assert.False(pidfd.IsInvalid);
        return pidfd;
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial long SystemCall(long number, long argument1, long argument2);

    /// <summary>A control group in <c>/system.slice</c>, as systemd makes one for a service; gone at the end, with what runs in it.</summary>
    private sealed class Unit : IDisposable
    {
        private readonly string _path;
        private readonly bool _madeSlice;

        private Unit(string path, bool madeSlice)
        {
            _path = path;
            _madeSlice = madeSlice;
        }

        public static Unit Make(string name)
        {
            Assert.SkipUnless(Environment.UserName == "root", "Needs root: it makes a control group.");
            string? root = File.ReadLines("/proc/self/mountinfo")
                .FirstOrDefault(line => line.Contains(" - cgroup2 ", StringComparison.Ordinal))?.Split(' ')[4];
            Assert.SkipWhen(root is null, "Needs control groups of version 2.");
            string slice = Path.Combine(root, "system.slice");
            string path = Path.Combine(slice, name);
            bool madeSlice = !Directory.Exists(slice);
            try
            {
                _ = Directory.CreateDirectory(path);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                Assert.Skip($"Needs control groups that it may make: {exception.Message}");
            }

            return new Unit(path, madeSlice);
        }

        public void Add(int process) => File.WriteAllText(Path.Combine(_path, "cgroup.procs"), process.ToString(CultureInfo.InvariantCulture));

        public void Dispose()
        {
            for (int tries = 0; tries < 200 && Directory.Exists(_path); tries++)
            {
                foreach (string process in File.ReadLines(Path.Combine(_path, "cgroup.procs")))
                {
                    using var kill = Process.Start("kill", ["-KILL", process]);
                }

                // What a control group shows as files can't be removed one by one: Directory.Delete with recursion would try.
                _ = RemoveDirectory(_path);
                Thread.Sleep(10);
            }

            if (_madeSlice)
            {
                _ = RemoveDirectory(Path.GetDirectoryName(_path)!);
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "rmdir", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RemoveDirectory(string path);
}
