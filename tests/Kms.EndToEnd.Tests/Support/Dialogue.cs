using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>A program at a terminal of its own (a pty that controls its session), and a person who reads what it writes there and types.</summary>
internal sealed partial class Dialogue : IAsyncDisposable
{
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly FileStream _master;
    private readonly SafeFileHandle _slave;
    private readonly Task _reading;
    private readonly Task<string> _output;
    private readonly Task<string> _error;
    private readonly StringBuilder _seen = new();
    private readonly string _modes;
    private int _at;
    private volatile bool _isHungUp;

    private Dialogue(Process process, FileStream master, SafeFileHandle slave, string path, string modes)
    {
        _process = process;
        _master = master;
        _slave = slave;
        Path = path;
        _modes = modes;
        _output = process.StandardOutput.ReadToEndAsync();
        _error = process.StandardError.ReadToEndAsync();
        _reading = Task.Run(Read);
    }

    /// <summary>Of the terminal.</summary>
    public string Path { get; }

    public int Id => _process.Id;

    /// <summary>Everything that was written to the terminal, with its escape sequences.</summary>
    public string Transcript
    {
        get
        {
            lock (_seen)
            {
                return _seen.ToString();
            }
        }
    }

    public static async Task<Dialogue> StartAsync(Installation host, params string[] arguments)
    {
        host.WriteConfiguration();
        int master = Open(ReadWrite | NoControl | CloseOnExec);
        byte[] name = new byte[64];
        if (master < 0 || Grant(master) != 0 || Unlock(master) != 0 || Name(master, name, (nuint)name.Length) != 0)
        {
            throw new InvalidOperationException("There is no pty.");
        }

        string path = Encoding.ASCII.GetString(name).TrimEnd('\0');
        SafeFileHandle slave = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        string modes = await Shell.SucceedAsync("stty", "-F", path, "-g");

        // setsid makes the terminal its standard input the one that controls the session, and stays the same process.
        ProcessStartInfo start = new("/bin/sh", ["-c", "tty=$0; exec setsid -c \"$@\" <$tty", path, Repository.Kmsd, .. arguments, "--config", host.Configuration])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach ((string variable, string value) in host.Environment)
        {
            start.Environment[variable] = value;
        }

        start.Environment["TERM"] = "xterm";
        return new Dialogue(Process.Start(start)!, new FileStream(new SafeFileHandle(master, ownsHandle: true), FileAccess.ReadWrite, bufferSize: 0), slave, path, modes);
    }

    /// <summary>Waits until the program has written this after what was waited for before; what it wrote up to its end.</summary>
    public async Task<string> ExpectAsync(string text)
    {
        long began = Stopwatch.GetTimestamp();
        while (true)
        {
            string seen = Transcript;
            int found = seen.IndexOf(text, _at, StringComparison.Ordinal);
            if (found >= 0)
            {
                string passage = seen[_at..(found + text.Length)];
                _at = found + text.Length;
                return passage;
            }

            if (Stopwatch.GetElapsedTime(began) > s_longest || (_process.HasExited && _reading.IsCompleted))
            {
                throw new InvalidOperationException($"'{text}' doesn't come. There is: {seen[_at..]}{(_process.HasExited ? await _error : "")}");
            }

            await Task.Delay(5);
        }
    }

    public void Type(string text) => _master.Write(Encoding.UTF8.GetBytes(text));

    public async Task AnswerAsync(string prompt, string answer)
    {
        _ = await ExpectAsync(prompt);
        Type(answer + "\r");
    }

    public Task SignalAsync(string signal) => Shell.SucceedAsync("kill", "-" + signal, Id.ToString(CultureInfo.InvariantCulture));

    /// <summary>The terminal goes away, as when a connection breaks.</summary>
    public async Task HangUpAsync()
    {
        _isHungUp = true;
        await _reading;
        _slave.Dispose();
        await _master.DisposeAsync();
    }

    /// <summary>Waits for the end of the program, which must leave the terminal as it was.</summary>
    public async Task<Finished> FinishAsync()
    {
        using CancellationTokenSource longest = new(s_longest);
        await _process.WaitForExitAsync(longest.Token);
        Finished finished = new(_process.ExitCode, await _output, await _error);
        if (!_isHungUp)
        {
            Assert.Equal(_modes, await Shell.SucceedAsync("stty", "-F", Path, "-g"));
            Assert.Equal(Count(Transcript, "\x1b[?1049h"), Count(Transcript, "\x1b[?1049l"));
        }

        return finished;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
        _slave.Dispose();
        await _reading;
        await _master.DisposeAsync();
    }

    private static int Count(string text, string part) => text.Split(part).Length - 1;

    private void Read()
    {
        byte[] buffer = new byte[4096];
        try
        {
            // Not in read(2) while the terminal is to be closed: that would keep it open.
            while (!_isHungUp)
            {
                PollRequest request = new() { Descriptor = (int)_master.SafeFileHandle.DangerousGetHandle(), Events = 1 };
                if (Poll(ref request, 1, 50) > 0)
                {
                    int length = _master.Read(buffer);
                    lock (_seen)
                    {
                        _ = _seen.Append(Encoding.UTF8.GetString(buffer, 0, length));
                    }

                    if (length == 0)
                    {
                        return;
                    }
                }
            }
        }
        catch (IOException)
        {
            // Nobody has the other end open any more: EIO (pty(7)).
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollRequest
    {
        public int Descriptor;
        public short Events;
        public short ReturnedEvents;
    }

    [LibraryImport("libc", EntryPoint = "poll")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Poll(ref PollRequest request, nuint count, int timeoutInMilliseconds);

    // Of fcntl.h.
    private const int ReadWrite = 2;
    private const int NoControl = 0x100;
    private const int CloseOnExec = 0x80000;

    [LibraryImport("libc", EntryPoint = "posix_openpt")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Open(int flags);

    [LibraryImport("libc", EntryPoint = "grantpt")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Grant(int descriptor);

    [LibraryImport("libc", EntryPoint = "unlockpt")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Unlock(int descriptor);

    [LibraryImport("libc", EntryPoint = "ptsname_r")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Name(int descriptor, byte[] name, nuint length);
}
