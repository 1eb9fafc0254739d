using Kmsd.Keys;
using Kmsd.Rpc;
using Kmsd.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;

namespace Kmsd.Commands;

/// <summary>Runs the loops of the daemon, says when it is ready, and ends them in order: first the callers, then the writer.</summary>
internal sealed class Service(RpcServer server, Writer writer, MaterialCache cache, TimeProvider clock) : BackgroundService
{
    private static readonly TimeSpan s_sweepInterval = TimeSpan.FromSeconds(30);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // Does nothing where NOTIFY_SOCKET isn't set (sd_notify(3)); the listening socket is open already.
        SystemdNotifier notifier = new();
        var writing = Task.Run(writer.RunAsync, CancellationToken.None);
        Task serving = server.RunAsync(clock, stoppingToken);
        Task sweeping = SweepAsync(stoppingToken);
        notifier.Notify(ServiceState.Ready);

        // None of them ends before the stop, unless something is broken; then the daemon must not linger half alive.
        Task first = await Task.WhenAny(writing, serving, sweeping);
        if (first.IsFaulted || !stoppingToken.IsCancellationRequested)
        {
            await first;
            throw new InvalidOperationException("A loop of the daemon ended by itself.");
        }

        notifier.Notify(ServiceState.Stopping);
        await serving;
        writer.Complete();
        await writing;
        await sweeping;
    }

    private async Task SweepAsync(CancellationToken stopping)
    {
        using PeriodicTimer timer = new(s_sweepInterval, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stopping))
            {
                cache.DropIdle();
            }
        }
        catch (OperationCanceledException)
        {
            // The daemon stops.
        }
    }
}
