using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.Storage;

namespace Kmsd.Rotation;

/// <summary>
/// Gives a key a new version, which seals from then on: by hand (<c>keys.rotate</c>), when it is due, or when a version has
/// sealed often. The material is made outside the writer, and made again if another rotation came first.
/// </summary>
internal sealed class RotateKey(
    CatalogueLedger catalogue, HistoryLog history, NoticeLog notices, Writer writer, VersionMaker versions, KeyLimits limits, TimeProvider clock)
{
    private const string ByHand = "keys.rotate";
    private const string Timed = "rotation.automatic";

    /// <summary>By hand. The schedule stays as it was.</summary>
    public async Task<KeyDescription> RunAsync(Caller caller, KeyRequest request, CancellationToken cancellationToken)
    {
        var reference = KeyReference.Parse(request.Key);
        _ = Require(catalogue.Current);
        while (true)
        {
            Key seen = Require(catalogue.Current);
            KeyVersion made = await versions.MakeAsync(seen, seen.CurrentVersion.Number + 1, cancellationToken);
            Key? rotated = await writer.ChangeAsync(
                () => Add(Require(catalogue.Staged), made, ByHand, caller, null, key => key), cancellationToken);
            if (rotated is not null)
            {
                return catalogue.Current.Describe(rotated, caller, AdviceFor(made.Number));
            }
        }

        Key Require(Catalogue snapshot)
        {
            Key key = snapshot.Require(caller, reference, KeyAction.Manage);
            key.RequireNotPendingDeletion();
            return key.Versions.Length < limits.VersionsPerKey
                ? key
                : throw new KmsException(
                    KmsErrorCode.LimitExceeded, $"The key '{key.Name}' has {limits.VersionsPerKey} versions ([limits] versions_per_key); it rotates by its schedule alone.");
        }
    }

    /// <summary>When it is due. Whether it still is, is looked at again in the writer: it never rotates twice for one due time.</summary>
    public Task<bool> RunDueAsync(KeyTag tag, CancellationToken cancellationToken) => RunByItselfAsync(
        tag, RotationPolicy.IsDue, null, RotationPolicy.AfterTimedRotation, cancellationToken);

    /// <summary>When its newest version has sealed often. The schedule stays as it was.</summary>
    public Task<bool> RunWornAsync(KeyTag tag, CancellationToken cancellationToken) => RunByItselfAsync(
        tag, (key, _) => IsWorn(key), "the version has sealed often", (key, _) => key, cancellationToken);

    /// <summary>After the database was put back: what the newest version has sealed since isn't counted, so it must seal no more. For the writer.</summary>
    /// <param name="key">As it is staged.</param>
    /// <param name="made">The next version.</param>
    public void AddRecovered(Key key, KeyVersion made) =>
        _ = Add(key, made, Timed, null, "the database was put back", rotated => rotated) ?? throw new InvalidOperationException("Another rotation came first.");

    public static bool IsWorn(Key key) => !key.IsQuarantined && key.Type == KeyType.Aes256Gcm96 && key.State == KeyState.Enabled
        && key.CurrentVersion.EncryptionsUncounted + key.CurrentVersion.Usage.Committed.Items >= KeyLimits.WornAfter;

    private static string AdviceFor(long version) =>
        $"Reencrypt what older versions have sealed (crypto.reencrypt), then disable version {version - 1} (versions.disable).";

    private async Task<bool> RunByItselfAsync(
        KeyTag tag, Func<Key, DateTimeOffset, bool> must, string? detail, Func<Key, DateTimeOffset, Key> after,
        CancellationToken cancellationToken)
    {
        if (!catalogue.Current.Keys.TryGetValue(tag, out Key? seen) || !must(seen, clock.GetUtcNow()))
        {
            return false;
        }

        KeyVersion made = await versions.MakeAsync(seen, seen.CurrentVersion.Number + 1, cancellationToken);
        return await writer.ChangeAsync(
            () => catalogue.Staged.Keys.TryGetValue(tag, out Key? key) && must(key, clock.GetUtcNow())
                && Add(key, made, Timed, null, detail, rotated => after(rotated, clock.GetUtcNow())) is not null,
            cancellationToken);
    }

    /// <summary>Null if another rotation came first.</summary>
    private Key? Add(Key key, KeyVersion version, string operation, Caller? caller, string? detail, Func<Key, Key> schedule)
    {
        if (version.Number != key.CurrentVersion.Number + 1)
        {
            return null;
        }

        Key rotated = schedule(key with { Versions = key.Versions.Add(version) });
        catalogue.Replace(rotated);
        _ = history.Append(KeyEntries.Make(operation, caller, rotated, version.CreatedAt) with { Version = version.Number, Detail = detail });
        notices.Append(catalogue.Staged.About(
            catalogue.Staged.Keys[key.Tag], NoticeKind.KeyRotated, caller, version.CreatedAt, $"version {version.Number}. {AdviceFor(version.Number)}"));
        return rotated;
    }
}
