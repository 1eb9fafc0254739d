using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Keys;

namespace Kmsd.Rotation;

/// <summary>Sets how often a key rotates, from the rotation that is already due on: <c>keys.setRotationPeriod</c>.</summary>
internal sealed class SetRotationPeriod(ChangeKey change)
{
    public async Task<KeyDescription> RunAsync(Caller caller, SetRotationPeriodRequest request, CancellationToken cancellationToken)
    {
        KeyText.CheckPeriod(request.Days);
        Key key = await change.RunAsync(
            caller,
            request.Key,
            "keys.setRotationPeriod",
            (key, _) => (RotationPolicy.WithPeriod(key, request.Days), null, $"{request.Days} days"),
            cancellationToken);
        return change.Describe(key, caller);
    }
}
