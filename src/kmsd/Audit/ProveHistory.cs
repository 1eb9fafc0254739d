using Kms.Client.Protocol;
using Kms.Hsm;
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
internal sealed class VerifyHistory(HistoryLog history, HistoryErasure erasure, DatabaseReader database, RootKey root, byte[] instanceId, Operators operators)
{
    public async Task<VerifyHistoryResult> RunAsync(Caller caller, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        using SecretBytes historyKey = await root.DeriveKeyAsync(TokenAccess.HistoryKeyLabel, cancellationToken);
        using HistoryVerifier verifier = new(historyKey, instanceId);
        using (await erasure.HoldAsync(cancellationToken))
        {
            HistoryHead last = history.Committed;
            while (await database.ReadAsync(from => verifier.ReadPage(from, last.Sequence), cancellationToken))
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            HistoryVerdict verdict = verifier.Finish(last);
            return new VerifyHistoryResult { Ok = verdict.IsGood, Entries = verdict.Entries, FirstBad = verdict.FirstBad };
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
