using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Notifications;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>
/// The way that every change of one key takes: may he, decide on the newest state, write, record, tell those who hold grants.
/// A decision that gives the key back as it was changes, records and tells nothing.
/// </summary>
internal sealed class ChangeKey(CatalogueLedger catalogue, HistoryLog history, NoticeLog notices, Writer writer, TimeProvider clock)
{
    /// <summary>Decides on the newest state of the key, and what the history shall say of it besides.</summary>
    public delegate (Key Key, long? Version, string? Detail) Decision(Key key, DateTimeOffset now);

    /// <exception cref="KmsException">What the decision refuses, <c>notFound</c>, <c>forbidden</c>, <c>storageUnavailable</c>.</exception>
    public async Task<Key> RunAsync(
        Caller caller, string keyName, string operation, Decision decide, CancellationToken cancellationToken, string? notice = null)
    {
        var reference = KeyReference.Parse(keyName);
        _ = catalogue.Current.Require(caller, reference, KeyAction.Manage);
        return await writer.ChangeAsync(
            () =>
            {
                Key key = catalogue.Staged.Require(caller, reference, KeyAction.Manage);
                DateTimeOffset now = clock.GetUtcNow();
                (Key changed, long? version, string? detail) = decide(key, now);
                if (!ReferenceEquals(changed, key))
                {
                    catalogue.Replace(changed);
                    _ = history.Append(KeyEntries.Make(operation, caller, changed, now) with { Version = version, Detail = detail });
                    if (notice is not null)
                    {
                        string? about = version is null ? detail : $"version {version}";
                        notices.Append(catalogue.Staged.About(catalogue.Staged.Keys[key.Tag], notice, caller, now, about));
                    }
                }

                return catalogue.Staged.Keys[key.Tag];
            },
            cancellationToken);
    }

    public KeyDescription Describe(Key key, Caller caller) => catalogue.Current.Describe(key, caller);
}

/// <summary>What the history keeps of a change of a key.</summary>
internal static class KeyEntries
{
    public static HistoryEntry Make(string operation, Caller? caller, Key key, DateTimeOffset now) => new()
    {
        At = now,
        Scope = HistoryScope.Key,
        Operation = operation,
        Caller = caller,
        StoreId = key.StoreId.ToBytes(),
        Tag = key.Tag,
    };
}
