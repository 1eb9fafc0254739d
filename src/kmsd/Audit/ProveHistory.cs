using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Audit;

/// <summary>What the last proof of the whole history that came to an end has found.</summary>
/// <param name="At">When it ended.</param>
/// <param name="Verdict">What it found.</param>
internal sealed record HistoryFinding(DateTimeOffset At, HistoryVerdict Verdict);

/// <summary>
/// Computes the whole chain again, up to the entry that this daemon has committed last, in pieces: each is one short read, and between
/// two of them entries are appended and erased. What it found is kept, and told to the journal.
/// </summary>
internal sealed class ProveHistory(HistoryLog history, DatabaseReader database, RootKey root, byte[] instanceId, TimeProvider clock, ILogger<ProveHistory> log)
{
    private volatile HistoryFinding? _last;

    /// <summary>Null before the first one has come to an end.</summary>
    public HistoryFinding? Last => _last;

    /// <summary>When the history was last found to be as it was written, and how many entries it had; null: not in this run of the daemon.</summary>
    public HistoryFinding? LastGood { get; private set; }

    /// <param name="entriesAtOnce">How many entries a piece has.</param>
    /// <param name="rest">How long to rest after each piece, in times of what it took.</param>
    /// <param name="cancellationToken">Ends it after a piece.</param>
    /// <returns>The verdict, and what would vouch for segments that have ended.</returns>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public async Task<(HistoryVerdict Verdict, IReadOnlyDictionary<long, byte[]> Checkpoints)> RunAsync(
        int entriesAtOnce, int rest, CancellationToken cancellationToken)
    {
        using Reading reading = await BeginAsync(cancellationToken);
        HistoryVerifier verifier = reading.Verifier;
        TimeSpan took = TimeSpan.Zero;
        bool isMore = true;
        while (isMore)
        {
            using (await history.Erasure.HoldAsync(cancellationToken))
            {
                isMore = await database.ReadAsync(
                    from =>
                    {
                        long began = clock.GetTimestamp();
                        bool goesOn = verifier.ReadPage(from, reading.Last.Sequence, entriesAtOnce);
                        took = clock.GetElapsedTime(began);
                        return goesOn;
                    },
                    cancellationToken);
            }

            if (isMore && rest > 0)
            {
                await Task.Delay(took * rest, clock, cancellationToken);
            }
        }

        HistoryVerdict verdict = reading.Finish();
        Keep(new HistoryFinding(clock.GetUtcNow(), verdict));
        return (verdict, verifier.Checkpoints);
    }

    private async Task<Reading> BeginAsync(CancellationToken cancellationToken)
    {
        // Nothing is erased between the look at where the chain ends and the moment from which on this is told of it.
        using IDisposable turn = await history.Erasure.HoldAsync(cancellationToken);

        // The segments after the head: one that was begun since may be among them, and isn't reached.
        await database.SettleAsync(cancellationToken);
        HistoryHead last = history.InDatabase;
        IReadOnlyList<HistorySegment> segments = history.Segments;
        GenerationKeys keys = await root.DeriveKeysAsync(
            TokenAccess.HistoryKeyLabel, segments.Where(segment => segment.Checkpoint is null).Select(segment => segment.Generation), cancellationToken);
        return new Reading(history.Erasure, keys, segments, instanceId, last);
    }

    private void Keep(HistoryFinding finding)
    {
        _last = finding;
        if (finding.Verdict.FirstBad is long bad)
        {
            AuditLog.HistoryBad(log, bad, finding.Verdict.Entries);
        }
        else
        {
            LastGood = finding;
            AuditLog.HistoryGood(log, finding.Verdict.Entries);
        }
    }

    /// <summary>A verification that is under way, and is told what is erased meanwhile.</summary>
    private sealed class Reading : IDisposable
    {
        private readonly GenerationKeys _keys;
        private readonly IDisposable _membership;

        /// <param name="erasure">Whose turn the caller has.</param>
        /// <param name="keys">Taken over.</param>
        /// <param name="segments">The history's.</param>
        /// <param name="instanceId">Whose history it is.</param>
        /// <param name="last">Where it ends.</param>
        public Reading(HistoryErasure erasure, GenerationKeys keys, IReadOnlyList<HistorySegment> segments, byte[] instanceId, HistoryHead last)
        {
            _keys = keys;
            Verifier = new HistoryVerifier(keys, segments, instanceId);
            Last = last;
            _membership = erasure.Join((purge, sequences) => Verifier.Erased(purge, sequences, last.Sequence));
        }

        public HistoryVerifier Verifier { get; }

        public HistoryHead Last { get; }

        public HistoryVerdict Finish()
        {
            _membership.Dispose(); // It looks at what it was told.
            return Verifier.Finish(Last);
        }

        public void Dispose()
        {
            _membership.Dispose();
            Verifier.Dispose();
#pragma warning disable IDISP007 // Taken over.
            _keys.Dispose();
#pragma warning restore IDISP007
        }
    }
}

/// <summary>Has the whole chain computed again, and looks whether an index hides entries: <c>history.verify</c>.</summary>
internal sealed class VerifyHistory(ProveHistory prove, DatabaseReader database, Operators operators)
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
        (HistoryVerdict verdict, IReadOnlyDictionary<long, byte[]> checkpoints) = await prove.RunAsync(HistoryVerifier.PageLength, rest: 0, cancellationToken);
        return verdict.IsGood && await database.ReadAsync(from => from.FindDamage("history"), cancellationToken) is string damage
            ? throw new KmsException(KmsErrorCode.IntegrityFailure, $"The entries are as they were written, but an index hides some of them: {damage}.")
            : (verdict, checkpoints);
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
