using Kmsd.Audit;
using Kmsd.Deletion;
using Kmsd.Integrity;
using Kmsd.Rotation;
using Kmsd.Storage;

namespace Kmsd.Commands;

/// <summary>What the daemon does by itself, on the times that are stored: rotations, deletions, purges, retention, notices of the root key; and what keeps the log short and the anchor near.</summary>
internal sealed class DueWork(
    RotationService rotation, DeletionService deletion, RetentionService retention, RootKeyWatch watch, StrangerCounter strangers, LogKeeper logKeeper,
    AnchorKeeper anchorKeeper, AutomaticRootRotation rootRotation)
{
    private const int LooksBetweenCounts = 5;

    private int _looks;

    /// <summary>One look; called every second.</summary>
    public async Task RunAsync(DateTimeOffset now, CancellationToken stopping)
    {
        await logKeeper.RunAsync(stopping);
        await anchorKeeper.RunAsync(stopping);
        await rotation.RunDueAsync(now, stopping);
        await deletion.RunDueAsync(now, stopping);
        await rootRotation.RunDueAsync(now);
        await watch.RunDueAsync(now, stopping);
        await retention.RunDueAsync(now, stopping);
        if (++_looks % LooksBetweenCounts == 0)
        {
            await strangers.WriteAsync(stopping);
        }
    }

    /// <summary>What is still to be written when nobody calls any more.</summary>
    public Task EndAsync() => strangers.WriteAsync(CancellationToken.None);
}
