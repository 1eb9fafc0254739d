using System.Data.Common;
using Kms.Client.Protocol;
using Kmsd.Hosting;
using Kmsd.Notifications;
using Microsoft.Extensions.Logging;

namespace Kmsd.Audit;

/// <summary>
/// Proves in the background, after each start and then once a day, what a start doesn't read: the whole history, and what notifications
/// say. In small pieces, with a rest after each, so that it takes a tenth of one core's time and nobody waits for it.
/// </summary>
internal sealed class RecordWatch(ProveHistory history, ProveNotices notices, TimeProvider clock, ILogger<RecordWatch> log)
{
    private const int RowsAtOnce = 500;
    private const int Rest = 9;

    private static readonly TimeSpan s_interval = TimeSpan.FromDays(1);
    private static readonly TimeSpan s_pauseAfterFailure = TimeSpan.FromMinutes(5);

    private DateTimeOffset _last = DateTimeOffset.MinValue;
    private TimeSpan _wait = TimeSpan.Zero;

    /// <summary>One look: proves it all if that is due. Called every second.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        DateTimeOffset now = clock.GetUtcNow();
        if ((now - _last).Duration() < _wait)
        {
            return;
        }

        _last = now;
        _wait = s_interval;
        try
        {
            await notices.RunAsync(RowsAtOnce, Rest, stopping);
            _ = await history.RunAsync(RowsAtOnce, Rest, stopping);
        }
        catch (Exception exception) when (exception is KmsException or DbException or StartupException)
        {
            // The token is away, or the file can't be read: what was found before stands.
            AuditLog.HistoryNotVerified(log, exception);
            _wait = s_pauseAfterFailure;
        }
    }
}
