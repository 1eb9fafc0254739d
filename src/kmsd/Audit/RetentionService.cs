using Kms.Client.Protocol;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Audit;

/// <summary>
/// Once a day, erases what is older than <c>[history] retain_days</c>: uses, and refusals. Changes stay as long as their key,
/// and all of a deleted key's entries until what remains of it is purged. Removes old notices and counts too.
/// </summary>
internal sealed class RetentionService(
    CatalogueLedger catalogue, HistoryLog history, HistoryReader reader, NoticeLog notices, StrangerCounter strangers, Writer writer,
    int retainDays, TimeProvider clock, ILogger<RetentionService> log)
{
    private const int EntriesAtOnce = 4096;

    private static readonly TimeSpan s_interval = TimeSpan.FromDays(1);

    private DateTimeOffset _last = DateTimeOffset.MinValue;

    /// <summary>One look; called every second.</summary>
    public async Task RunDueAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        if ((now - _last).Duration() < s_interval)
        {
            return;
        }

        try
        {
            _ = await writer.ChangeAsync(
                () =>
                {
                    notices.RemoveOld(now);
                    strangers.RemoveOld(now.AddDays(-retainDays));
                    return true;
                },
                cancellationToken);
            await EraseOldAsync(now.AddDays(-retainDays), cancellationToken);
            _last = now;
        }
        catch (KmsException exception)
        {
            // Tried again at the next look.
            AuditLog.RetentionFailed(log, exception);
        }
    }

    private async Task EraseOldAsync(DateTimeOffset before, CancellationToken cancellationToken)
    {
        using IDisposable turn = await history.Erasure.HoldAsync(cancellationToken);
        long after = 0;
        int found;
        do
        {
            IReadOnlyList<(long Sequence, KeyTag? Tag)> page = await reader.FindOldAsync(after, before, EntriesAtOnce, cancellationToken);
            found = page.Count;
            if (found > 0)
            {
                after = page[^1].Sequence;
                _ = await writer.ChangeAsync(() => Erase(page, before), cancellationToken, erases: true);
            }
        }
        while (found == EntriesAtOnce);
    }

    private bool Erase(IReadOnlyList<(long Sequence, KeyTag? Tag)> page, DateTimeOffset before)
    {
        List<long> old = [.. page.Where(entry => entry.Tag is not KeyTag tag || !catalogue.Staged.Deleted.ContainsKey(tag)).Select(entry => entry.Sequence)];
        if (old.Count > 0)
        {
            history.Erase(old, $"uses and refusals before {before.UtcDateTime:yyyy-MM-dd}", null, clock.GetUtcNow());
            catalogue.AdvanceMark(history.StagedSequence);
        }

        return true;
    }
}

internal static partial class AuditLog
{
    [LoggerMessage(7001, LogLevel.Error, "Old entries could not be erased; it is tried again.")]
    public static partial void RetentionFailed(ILogger log, Exception exception);

    [LoggerMessage(7002, LogLevel.Warning, "{Principal} was refused {Operation} ({Reason}): the request names nothing on which it has a right. Further refusals of this minute are only counted.")]
    public static partial void StrangerRefused(ILogger log, string principal, string operation, string reason);

    [LoggerMessage(7004, LogLevel.Error, "The notice that the root key is due could not be written; it is tried again.")]
    public static partial void RootNoticeFailed(ILogger log, Exception exception);

    [LoggerMessage(7003, LogLevel.Error, "Counts of refusals could not be written; it is tried again.")]
    public static partial void RefusalsNotWritten(ILogger log, Exception exception);

    [LoggerMessage(7005, LogLevel.Critical, "Entry {Sequence} of the history isn't as it was written, is missing, or was erased without a purge ({Entries} entries read). The database was changed from outside.")]
    public static partial void HistoryBad(ILogger log, long sequence, long entries);

    [LoggerMessage(7006, LogLevel.Information, "The history is as it was written: {Entries} entries.")]
    public static partial void HistoryGood(ILogger log, long entries);

    [LoggerMessage(7007, LogLevel.Error, "The history, or the notifications, could not be verified; it is tried again in five minutes.")]
    public static partial void HistoryNotVerified(ILogger log, Exception exception);

    [LoggerMessage(7008, LogLevel.Information, "{Entries} entries of the history that the process before had written beside the database alone were taken in.")]
    public static partial void HistoryTakenIn(ILogger log, long entries);
}
