using Kmsd.History;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Recovery;

/// <summary>Computes the whole history of a database again that nobody writes.</summary>
internal static class HistoryProof
{
    public static async Task<HistoryVerdict> RunAsync(Database database, HistoryLog history, RootKey root, byte[] instanceId)
    {
        using GenerationKeys keys = new();
        foreach (HistorySegment segment in history.Segments.Where(segment => segment.Checkpoint is null))
        {
            keys.Add(segment.Generation, await root.DeriveKeyAsync(TokenAccess.HistoryKeyLabel, segment.Generation, CancellationToken.None));
        }

        using HistoryVerifier verifier = new(keys, history.Segments, instanceId);
        while (verifier.ReadPage(database, long.MaxValue))
        {
        }

        return verifier.Finish(history.Committed);
    }
}
