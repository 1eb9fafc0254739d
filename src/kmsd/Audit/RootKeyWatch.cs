using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Notifications;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Audit;

/// <summary>Tells operators and root administrators that the root key is due, once from 30 days before, and daily that it is overdue.</summary>
internal sealed class RootKeyWatch(
    RootGenerations generations, NoticeLog notices, ToldNotices told, Writer writer, Operators operators, ILogger<RootKeyWatch> log)
{
    private static readonly TimeSpan s_ahead = TimeSpan.FromDays(30);
    private static readonly TimeSpan s_daily = TimeSpan.FromDays(1);

    private (DateTimeOffset? Due, DateTimeOffset? Overdue)? _told;

    /// <summary>One look; called every second.</summary>
    public async Task RunDueAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        StoredGeneration generation = generations.Current;
        if (now < generation.RotateBy - s_ahead)
        {
            return;
        }

        try
        {
            (DateTimeOffset? due, DateTimeOffset? overdue) = _told ??= (
                await told.LastAsync(NoticeKind.RootDue, cancellationToken), await told.LastAsync(NoticeKind.RootOverdue, cancellationToken));
            if (now >= generation.RotateBy)
            {
                if (overdue is null || now - overdue >= s_daily)
                {
                    await TellAsync(generation, NoticeKind.RootOverdue, now, cancellationToken);
                    _told = (due, now);
                }
            }
            else if (due is null || due < generation.CreatedAt)
            {
                // It may have been made since this look began.
                DateTimeOffset at = now < generation.CreatedAt ? generation.CreatedAt : now;
                await TellAsync(generation, NoticeKind.RootDue, at, cancellationToken);
                _told = (at, overdue);
            }
        }
        catch (KmsException exception)
        {
            // Tried again at the next look.
            AuditLog.RootNoticeFailed(log, exception);
        }
    }

    private async Task TellAsync(StoredGeneration generation, string kind, DateTimeOffset now, CancellationToken cancellationToken) => _ = await writer.ChangeAsync(
        () =>
        {
            notices.Append(new Notice(kind, now, operators.All)
            {
                Detail = $"root key generation {generation.Number} must be replaced by {generation.RotateBy.UtcDateTime:yyyy-MM-dd}",
            });
            return true;
        },
        cancellationToken);
}
