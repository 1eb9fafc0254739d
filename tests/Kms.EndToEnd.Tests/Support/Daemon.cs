using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>A running kmsd.</summary>
internal sealed class Daemon : IAsyncDisposable
{
    private static readonly TimeSpan s_longestStart = TimeSpan.FromSeconds(30);

    private readonly Process _process;
    private readonly Task<string> _error;

    private Daemon(Process process, Task<string> error)
    {
        _process = process;
        _error = error;
    }

    public int Id => _process.Id;

    public static async Task<Daemon> StartAsync(Installation installation, string program, Dictionary<string, string> more)
    {
        installation.WriteConfiguration();
        ProcessStartInfo start = new(program, ["--config", installation.Configuration]) { RedirectStandardError = true };
        // kmsd sees to it by itself; what the tests were started with must not hide that it doesn't.
        _ = start.Environment.Remove("GLIBC_TUNABLES");
        foreach ((string name, string value) in installation.Environment.Concat(more))
        {
            start.Environment[name] = value;
        }

        Process process = Process.Start(start)!;
        Daemon daemon = new(process, process.StandardError.ReadToEndAsync());
        long began = Stopwatch.GetTimestamp();
        while (!await AnswersAsync(installation.Socket))
        {
            if (process.HasExited || Stopwatch.GetElapsedTime(began) > s_longestStart)
            {
                process.Kill();
                throw new InvalidOperationException($"kmsd doesn't start: {await daemon._error}");
            }

            await Task.Delay(10);
        }

        return daemon;
    }

    /// <summary>Of /proc/PID/status, in KiB.</summary>
    public long Memory(string field)
    {
        string line = File.ReadLines($"/proc/{Id}/status").Single(line => line.StartsWith(field + ":", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2].Split('\t')[^1], CultureInfo.InvariantCulture);
    }

    /// <summary>SIGTERM, and what it wrote to its journal.</summary>
    public async Task<Finished> StopAsync()
    {
        _ = await Shell.SucceedAsync("kill", "-TERM", Id.ToString(CultureInfo.InvariantCulture));
        await _process.WaitForExitAsync();
        return new Finished(_process.ExitCode, "", await _error);
    }

    /// <summary>SIGKILL.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>What it wrote to its journal; ends with it.</summary>
    public Task<string> JournalAsync() => _error;

    /// <summary>Waits for it to die by itself.</summary>
    public async Task<int> ExitAsync()
    {
        using CancellationTokenSource longest = new(s_longestStart);
        await _process.WaitForExitAsync(longest.Token);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            await KillAsync();
        }

        _process.Dispose();
    }

    private static async Task<bool> AnswersAsync(string path)
    {
        try
        {
            await using Wire wire = await Wire.ConnectAsync(path);
            _ = await wire.ResultAsync("system.status");
            return true;
        }
        catch (Exception exception) when (exception is SocketException or IOException or EndOfStreamException)
        {
            return false;
        }
    }
}
