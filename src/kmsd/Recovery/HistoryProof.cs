using Kmsd.History;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Recovery;

/// <summary>Computes the whole history of a database again that nobody writes.</summary>
internal static class HistoryProof
{
    public static async Task<HistoryVerdict> RunAsync(Database database, HistoryLog history, RootKey root, byte[] instanceId)
    {
        using GenerationKeys keys = await root.DeriveKeysAsync(
            TokenAccess.HistoryKeyLabel, history.Segments.Where(segment => segment.Checkpoint is null).Select(segment => segment.Generation), CancellationToken.None);
        using HistoryVerifier verifier = new(keys, history.Segments, instanceId);
        while (database.Load(from => verifier.ReadPage(from, long.MaxValue)))
        {
        }

        return verifier.Finish(history.Committed);
    }
}
