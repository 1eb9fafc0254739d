using Kmsd.Audit;
using Kmsd.Keys;
using Kmsd.Rotation;
using Kmsd.Rpc;
using Kmsd.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;

namespace Kmsd.Commands;

/// <summary>Runs the loops of the daemon, says when it is ready, and ends them in order: first the callers, then the writer.</summary>
internal sealed partial class Service(
    RpcServer server, Writer writer, MaterialCache cache, DueWork due, RootWork rootWork, RecordWatch recordWatch, TimeSpan cacheIdle, TimeProvider clock) : BackgroundService
{
    private static readonly TimeSpan s_longestSweepInterval = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_dueInterval = TimeSpan.FromSeconds(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // Does nothing where NOTIFY_SOCKET isn't set (sd_notify(3)); the listening socket is open already.
        SystemdNotifier notifier = new();
        Task serving = server.RunAsync(clock, stoppingToken);
        Task sweeping = EveryAsync(
            cacheIdle < s_longestSweepInterval ? cacheIdle : s_longestSweepInterval,
            _ =>
            {
                cache.DropIdle();
                return Task.CompletedTask;
            },
            stoppingToken);
        TimeSpan dueInterval = s_dueInterval;
        ShortenForTest(ref dueInterval);
        Task working = EveryAsync(dueInterval, RunDueAsync, stoppingToken);
        Task carrying = EveryAsync(dueInterval, rootWork.RunAsync, stoppingToken);
        notifier.Notify(ServiceState.Ready);
        Task verifying = EveryAsync(dueInterval, recordWatch.RunAsync, stoppingToken, isAtOnce: true);

        // None of them ends before the stop, unless something is broken; then the daemon must not linger half alive.
        Task first = await Task.WhenAny(writer.Broken, serving, sweeping, working, carrying, verifying);
        if (first.IsFaulted || !stoppingToken.IsCancellationRequested)
        {
            await first;
            throw new InvalidOperationException("A loop of the daemon ended by itself.");
        }

        notifier.Notify(ServiceState.Stopping);
        await serving;
        await working;
        await carrying;
        await verifying;
        await due.EndAsync();
        await writer.StopAsync();
        await sweeping;
    }

    /// <summary>Acts on the times that are stored.</summary>
    private async Task RunDueAsync(CancellationToken stopping)
    {
        DateTimeOffset now = clock.GetUtcNow();
        await due.RunAsync(now, stopping);
        TellTest(now);
    }

    static partial void ShortenForTest(ref TimeSpan interval);

    static partial void TellTest(DateTimeOffset now);

    private async Task EveryAsync(TimeSpan interval, Func<CancellationToken, Task> step, CancellationToken stopping, bool isAtOnce = false)
    {
        using PeriodicTimer timer = new(interval, clock);
        try
        {
            while (isAtOnce || await timer.WaitForNextTickAsync(stopping))
            {
                isAtOnce = false;
                await step(stopping);
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // The daemon stops.
        }
    }
}
