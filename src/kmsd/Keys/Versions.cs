using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Notifications;

namespace Kmsd.Keys;

/// <summary>The versions of a key, a page at a time, newest first: <c>versions.list</c>.</summary>
internal sealed class ListVersions(CatalogueLedger catalogue)
{
    private const int DefaultPage = 100;

    public ListVersionsResult Run(Caller caller, ListVersionsRequest request)
    {
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.SeeVersions);
        int limit = request.Limit ?? DefaultPage;
        if (limit is < 1 or > Limits.VersionsPage)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, $"A page has 1 to {Limits.VersionsPage} versions.");
        }

        return new ListVersionsResult
        {
            Versions = [.. key.Versions.Reverse().Where(version => version.Number < (request.After ?? long.MaxValue)).Take(limit).Select(key.Describe)],
        };
    }
}

/// <summary>Lets an older version decrypt and verify, or stops it: <c>versions.enable</c>, <c>versions.disable</c>.</summary>
internal sealed class SetVersionState(ChangeKey change, MaterialCache cache)
{
    public Task<VersionDescription> EnableAsync(Caller caller, VersionRequest request, CancellationToken cancellationToken) =>
        RunAsync(caller, request, KeyState.Enabled, "versions.enable", cancellationToken);

    public Task<VersionDescription> DisableAsync(Caller caller, VersionRequest request, CancellationToken cancellationToken) =>
        RunAsync(caller, request, KeyState.Disabled, "versions.disable", cancellationToken);

    private async Task<VersionDescription> RunAsync(
        Caller caller, VersionRequest request, KeyState state, string operation, CancellationToken cancellationToken)
    {
        Key key = await change.RunAsync(
            caller, request.Key, operation, (key, now) => (Decide(key, request.Version, state, now), request.Version, null), cancellationToken,
            state == KeyState.Enabled ? NoticeKind.VersionEnabled : NoticeKind.VersionDisabled);
        if (state == KeyState.Disabled)
        {
            cache.Drop(key.Tag);
        }

        return key.Describe(key.FindVersion(request.Version)!);
    }

    private static Key Decide(Key key, long number, KeyState state, DateTimeOffset now)
    {
        if (key.State != KeyState.Enabled)
        {
            throw Refusals.OfKey(
                KmsErrorCode.InvalidState, $"The key '{key.Name}' is {Wire.KeyStates[key.State]}; versions change only while it is enabled.");
        }

        KeyVersion version = key.FindVersion(number)
            ?? throw Refusals.OfKey(KmsErrorCode.NotFound, $"The key '{key.Name}' has no version {number}.");
        if (version == key.CurrentVersion)
        {
            throw Refusals.OfKey(
                KmsErrorCode.InvalidState, $"Version {number} of '{key.Name}' is its newest, which is always enabled; rotate the key first.");
        }

        return version.State == state ? key : key.With(version with { State = state, StateChangedAt = now });
    }
}
