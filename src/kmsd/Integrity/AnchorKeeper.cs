using Kms.Client.Protocol;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Integrity;

/// <summary>Lets the anchor follow the history while nothing changes, and finds a token back that was away.</summary>
/// <param name="anchor">Null: none is kept.</param>
/// <param name="root">Whose token it is.</param>
/// <param name="writer">Who writes it.</param>
internal sealed class AnchorKeeper(Anchor? anchor, RootKey root, Writer writer)
{
    /// <summary>One look; called every second.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!root.IsAvailable)
            {
                _ = await root.ReadAnchorsAsync();
            }

            if (anchor?.IsDue() == true)
            {
                // An empty change: its commit reaches the disk, and then the token hears of it.
                _ = await writer.ChangeAsync(() => true, cancellationToken);
            }
        }
        catch (KmsException)
        {
            // The token is still away, or the disk full: both were said when it began, and are looked at again.
        }
    }
}
