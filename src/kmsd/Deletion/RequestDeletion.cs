using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Keys;
using Kmsd.Notifications;

namespace Kmsd.Deletion;

/// <summary>Starts the 72 hours after which a key's material is destroyed: <c>keys.requestDeletion</c>.</summary>
internal sealed class RequestDeletion(ChangeKey change, MaterialCache cache)
{
    /// <summary>How long a deletion can be cancelled.</summary>
    public static readonly TimeSpan Window = TimeSpan.FromHours(72);

    public async Task<KeyDescription> RunAsync(Caller caller, DeleteKeyRequest request, CancellationToken cancellationToken)
    {
        Key key = await change.RunAsync(
            caller, request.Key, "keys.requestDeletion", (key, now) => (Decide(key, request.ConfirmName, now), null, $"its material is destroyed at {(now + Window).UtcDateTime:yyyy-MM-dd HH:mm} UTC"), cancellationToken,
            NoticeKind.DeletionRequested);
        cache.Drop(key.Tag);
        return change.Describe(key, caller);
    }

    private static Key Decide(Key key, string? confirmName, DateTimeOffset now)
    {
        key.RequireNotPendingDeletion();
        key.RequireConfirmation(confirmName);
        return key with { State = KeyState.PendingDeletion, StateChangedAt = now, DeleteAt = now + Window };
    }
}

/// <summary>Takes a requested deletion back; the key is disabled then: <c>keys.cancelDeletion</c>.</summary>
internal sealed class CancelDeletion(ChangeKey change)
{
    public async Task<KeyDescription> RunAsync(Caller caller, KeyRequest request, CancellationToken cancellationToken) => change.Describe(
        await change.RunAsync(
            caller,
            request.Key,
            "keys.cancelDeletion",
            (key, now) => (key.RequirePendingDeletion() with { State = KeyState.Disabled, StateChangedAt = now, DeleteAt = null }, null, null),
            cancellationToken,
            NoticeKind.DeletionCancelled),
        caller);
}

/// <summary>What a deletion asks for before it goes on.</summary>
internal static class DeletionChecks
{
    /// <summary>Whoever deletes what others use types its name.</summary>
    /// <exception cref="KmsException"><c>confirmationRequired</c></exception>
    public static void RequireConfirmation(this Key key, string? confirmName)
    {
        if (key.Grants.Length > 0 && !string.Equals(confirmName, key.Name, StringComparison.Ordinal))
        {
            throw new KmsException(
                KmsErrorCode.ConfirmationRequired,
                $"{key.Grants.Length} grants stand on the key '{key.Name}'; to delete it nevertheless, give its name as confirmName.");
        }
    }

    /// <exception cref="KmsException"><c>invalidState</c></exception>
    public static Key RequirePendingDeletion(this Key key) => key.State == KeyState.PendingDeletion
        ? key
        : throw Refusals.OfKey(
            KmsErrorCode.InvalidState, $"The key '{key.Name}' is {Wire.KeyStates[key.State]}; its deletion wasn't requested (keys.requestDeletion).");
}
