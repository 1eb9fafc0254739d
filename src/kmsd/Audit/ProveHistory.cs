using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Audit;

/// <summary>
/// Computes the whole chain again, up to the entry that this daemon has committed last: <c>history.verify</c>. One at a time;
/// erasing waits for it.
/// </summary>
internal sealed class VerifyHistory(HistoryLog history, HistoryErasure erasure, Writer writer, DatabaseReader database, RootKey root, byte[] instanceId, Operators operators)
{
    public async Task<VerifyHistoryResult> RunAsync(Caller caller, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        (HistoryVerdict verdict, _) = await ProveAsync(cancellationToken);
        return new VerifyHistoryResult { Ok = verdict.IsGood, Entries = verdict.Entries, FirstBad = verdict.FirstBad };
    }

    /// <summary>As for anybody who may ask.</summary>
    /// <returns>The verdict, and what would vouch for segments that have ended.</returns>
    public async Task<(HistoryVerdict Verdict, IReadOnlyDictionary<long, byte[]> Checkpoints)> ProveAsync(CancellationToken cancellationToken)
    {
        using (await erasure.HoldAsync(cancellationToken))
        {
            // The segments after the head: one that was begun since may be among them, and isn't reached.
            await writer.SettleAsync(cancellationToken);
            HistoryHead last = history.InDatabase;
            IReadOnlyList<HistorySegment> segments = history.Segments;
            using GenerationKeys keys = await root.DeriveKeysAsync(
                TokenAccess.HistoryKeyLabel, segments.Where(segment => segment.Checkpoint is null).Select(segment => segment.Generation), cancellationToken);
            using HistoryVerifier verifier = new(keys, segments, instanceId);
            while (await database.ReadAsync(from => verifier.ReadPage(from, last.Sequence), cancellationToken))
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            HistoryVerdict verdict = verifier.Finish(last);
            return verdict.IsGood && await database.ReadAsync(from => from.FindDamage("history"), cancellationToken) is string damage
                ? throw new KmsException(KmsErrorCode.IntegrityFailure, $"The entries are as they were written, but an index hides some of them: {damage}.")
                : (verdict, verifier.Checkpoints);
        }
    }
}

/// <summary>All that the chain holds, oldest first, a page at a time: <c>history.export</c>.</summary>
internal sealed class ExportHistory(HistoryReader history, Operators operators)
{
    public async Task<ExportHistoryResult> RunAsync(Caller caller, ExportHistoryRequest request, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        int limit = HistoryRequests.CheckLimit(request.Limit, Limits.HistoryPage);
        IReadOnlyList<ExportedHistoryEntry> page = await history.ExportAsync(request.After ?? 0, limit, cancellationToken);
        return new ExportHistoryResult { Entries = [.. page], Next = page.Count == limit ? page[^1].Sequence : null };
    }
}
