using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Deletion;

/// <summary>Destroys what waited its 72 hours, and purges what was kept its year. Acts on stored times, whenever the daemon runs.</summary>
internal sealed class DeletionService(
    CatalogueLedger catalogue, NoticeLog notices, ToldNotices told, Writer writer, DeleteKey delete, PurgeDeletedKey purge, LastSeen lastSeen,
    ILogger<DeletionService> log)
{
    private static readonly TimeSpan s_announced = TimeSpan.FromHours(24);

    // The keys whose upcoming deletion was told, with the time of it; null until it is read back from the notices.
    private Dictionary<KeyTag, DateTimeOffset>? _told;

    /// <summary>One look; called every second.</summary>
    public async Task RunDueAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        await TryAsync(lastSeen.LookAsync, cancellationToken);
        foreach (Key key in catalogue.Current.Keys.Values.Where(key => IsUpcoming(key, now)).ToList())
        {
            await TryAsync(token => AnnounceAsync(key, now, token), cancellationToken);
        }

        if (!lastSeen.IsHeld)
        {
            foreach (Key key in catalogue.Current.Keys.Values.Where(key => DeleteKey.IsDue(key, now)).ToList())
            {
                await TryAsync(token => delete.RunDueAsync(key.Tag, token), cancellationToken);
            }
        }

        foreach (DeletedKey key in catalogue.Current.Deleted.Values.Where(key => key.PurgeAt <= now).ToList())
        {
            await TryAsync(token => purge.RunDueAsync(key.Tag, token), cancellationToken);
        }
    }

    private static bool IsUpcoming(Key key, DateTimeOffset now) =>
        key.State == KeyState.PendingDeletion && key.DeleteAt - s_announced <= now && !key.IsQuarantined;

    /// <summary>Once for each request: what was told before a start is read from the notices.</summary>
    private async Task AnnounceAsync(Key key, DateTimeOffset now, CancellationToken cancellationToken)
    {
        _told ??= await told.LastByKeyAsync(NoticeKind.DeletionUpcoming, cancellationToken);
        if (_told.TryGetValue(key.Tag, out DateTimeOffset last) && last >= key.StateChangedAt)
        {
            return;
        }

        _ = await writer.ChangeAsync(
            () =>
            {
                if (catalogue.Staged.Keys.GetValueOrDefault(key.Tag) is Key staged && IsUpcoming(staged, now))
                {
                    notices.Append(catalogue.Staged.About(
                        staged, NoticeKind.DeletionUpcoming, null, now, $"its material is destroyed at {staged.DeleteAt!.Value.UtcDateTime:yyyy-MM-dd HH:mm} UTC"));
                }

                return true;
            },
            cancellationToken);
        _told[key.Tag] = now;
    }

    private async Task TryAsync(Func<CancellationToken, Task> step, CancellationToken cancellationToken)
    {
        try
        {
            await step(cancellationToken);
        }
        catch (KmsException exception)
        {
            // One that fails doesn't stop the others, and is tried again at the next look.
            DeletionLog.Failed(log, exception);
        }
    }
}

/// <summary>Lets deletions run that wait after a clock jump: <c>deletions.release</c>.</summary>
internal sealed class ReleaseDeletions(LastSeen lastSeen, HistoryLog history, Writer writer, Operators operators, TimeProvider clock)
{
    public async Task<EmptyResult> RunAsync(Caller caller, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        _ = await writer.ChangeAsync(
            () =>
            {
                _ = history.Append(new HistoryEntry
                {
                    At = clock.GetUtcNow(),
                    Scope = HistoryScope.System,
                    Operation = "deletions.release",
                    Caller = caller,
                });
                return true;
            },
            cancellationToken);
        await lastSeen.ReleaseAsync(CancellationToken.None);
        return new EmptyResult();
    }
}

internal static partial class DeletionLog
{
    [LoggerMessage(5001, LogLevel.Error, "A due deletion or purge failed; it is tried again.")]
    public static partial void Failed(ILogger log, Exception exception);
}
