using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Notifications;

namespace Kmsd.Keys;

/// <summary>Lets a disabled key be used again: <c>keys.enable</c>.</summary>
internal sealed class EnableKey(ChangeKey change)
{
    public async Task<KeyDescription> RunAsync(Caller caller, KeyRequest request, CancellationToken cancellationToken) => change.Describe(
        await change.RunAsync(
            caller, request.Key, "keys.enable", (key, now) => (KeyStateChange.To(KeyState.Enabled, key, now), null, null), cancellationToken,
            NoticeKind.KeyEnabled),
        caller);
}

/// <summary>Stops every use of a key at once: <c>keys.disable</c>.</summary>
internal sealed class DisableKey(ChangeKey change, MaterialCache cache)
{
    public async Task<KeyDescription> RunAsync(Caller caller, KeyRequest request, CancellationToken cancellationToken)
    {
        Key key = await change.RunAsync(
            caller, request.Key, "keys.disable", (key, now) => (KeyStateChange.To(KeyState.Disabled, key, now), null, null), cancellationToken,
            NoticeKind.KeyDisabled);
        cache.Drop(key.Tag);
        return change.Describe(key, caller);
    }
}

/// <summary>Which state follows on which.</summary>
internal static class KeyStateChange
{
    /// <exception cref="KmsException"><c>invalidState</c></exception>
    public static Key To(KeyState state, Key key, DateTimeOffset now)
    {
        key.RequireNotPendingDeletion();
        return key.State == state ? key : key with { State = state, StateChangedAt = now };
    }

    /// <exception cref="KmsException"><c>invalidState</c></exception>
    public static void RequireNotPendingDeletion(this Key key)
    {
        if (key.State is not (KeyState.Enabled or KeyState.Disabled))
        {
            throw Refusals.OfKey(
                KmsErrorCode.InvalidState, $"The key '{key.Name}' is {Wire.KeyStates[key.State]}; cancel its deletion first (keys.cancelDeletion).");
        }
    }
}
