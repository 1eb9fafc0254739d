using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>
/// The way that every change of one key takes: may he, decide on the newest state, write, record. A decision that gives the
/// key back as it was changes and records nothing.
/// </summary>
internal sealed class ChangeKey(CatalogueLedger catalogue, HistoryLog history, Writer writer, TimeProvider clock)
{
    /// <summary>Decides on the newest state of the key, and what the history shall say of it besides.</summary>
    public delegate (Key Key, long? Version, string? Detail) Decision(Key key, DateTimeOffset now);

    /// <exception cref="KmsException">What the decision refuses, <c>notFound</c>, <c>forbidden</c>, <c>storageUnavailable</c>.</exception>
    public async Task<Key> RunAsync(
        Caller caller, string keyName, string operation, Decision decide, CancellationToken cancellationToken)
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
                    history.Append(KeyEntries.Make(operation, caller, changed, now) with { Version = version, Detail = detail });
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
