using Kms.Client.Protocol;
using Kmsd.Keys;
using Microsoft.Extensions.Logging;

namespace Kmsd.Rotation;

/// <summary>Rotates what is due or worn. Acts on stored times: after downtime it does once what was missed.</summary>
internal sealed class RotationService(CatalogueLedger catalogue, RotateKey rotate, ILogger<RotationService> log)
{
    /// <summary>One look; called every second.</summary>
    public async Task RunDueAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        foreach (Key key in catalogue.Current.Keys.Values.Where(key => RotationPolicy.IsDue(key, now) || RotateKey.IsWorn(key)).ToList())
        {
            try
            {
                if (!await rotate.RunDueAsync(key.Tag, cancellationToken))
                {
                    _ = await rotate.RunWornAsync(key.Tag, cancellationToken);
                }
            }
            catch (KmsException exception)
            {
                // One key that fails doesn't stop the others, and is tried again at the next look.
                RotationLog.Failed(log, exception, key.Tag);
            }
        }
    }
}

internal static partial class RotationLog
{
    [LoggerMessage(5101, LogLevel.Error, "Key {Tag} could not be rotated; it is tried again.")]
    public static partial void Failed(ILogger log, Exception exception, KeyTag tag);
}
