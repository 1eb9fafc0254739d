using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>The keys that a caller may see, a page at a time, by store and name: <c>keys.list</c>.</summary>
internal sealed class ListKeys(CatalogueLedger catalogue, Operators operators)
{
    private const int DefaultPage = 100;

    public ListKeysResult Run(Caller caller, ListKeysRequest request)
    {
        int limit = request.Limit ?? DefaultPage;
        if (limit is < 1 or > Limits.KeysPage)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, $"A page has 1 to {Limits.KeysPage} keys.");
        }

        if (request.State == KeyState.Deleted)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, "Deleted keys are listed by deletedKeys.list.");
        }

        (string Store, string Name)? cursor = request.After is string after ? ParseCursor(after) : null;
        Catalogue snapshot = catalogue.Current;
        List<Key> visible = [.. Stores(snapshot, caller, request.Store).SelectMany(snapshot.KeysOf).Where(key =>
            (request.State is null || key.State == request.State) && snapshot.Allows(caller, key, KeyAction.See))];
        IEnumerable<Key> rest = cursor is (string, string) last
            ? visible.SkipWhile(key => Compare(snapshot, key, last) <= 0)
            : visible;
        List<Key> page = [.. rest.Take(limit + 1)];
        bool hasMore = page.Count > limit;
        return new ListKeysResult
        {
            Keys = [.. page.Take(limit).Select(key => snapshot.Describe(key, caller))],
            Total = visible.Count,
            Next = hasMore ? $"{snapshot.Stores[page[limit - 1].StoreId].Name}/{page[limit - 1].Name}" : null,
        };
    }

    private IEnumerable<KeyStore> Stores(Catalogue snapshot, Caller caller, string? name)
    {
        IEnumerable<KeyStore> stores = name is null
            ? snapshot.StoreNames.Values.Select(id => snapshot.Stores[id])
            : [Find(snapshot, caller, name)];
        return stores.Where(store => !store.IsQuarantined);
    }

    private KeyStore Find(Catalogue snapshot, Caller caller, string name)
    {
        KeyStore? store = snapshot.FindStore(name);
        return store is not null && (store.RoleOf(caller) != StoreRole.None || operators.Contains(caller))
            ? store
            : throw Refusals.NoSuchStore(name);
    }

    private static (string Store, string Name) ParseCursor(string after)
    {
        var reference = KeyReference.Parse(after);
        return reference.Tag is null
            ? (reference.Store, reference.Name)
            : throw new KmsException(KmsErrorCode.InvalidParams, "'after' is the 'next' of the page before.");
    }

    private static int Compare(Catalogue snapshot, Key key, (string Store, string Name) cursor)
    {
        int byStore = StringComparer.OrdinalIgnoreCase.Compare(snapshot.Stores[key.StoreId].Name, cursor.Store);
        return byStore != 0 ? byStore : StringComparer.OrdinalIgnoreCase.Compare(key.Name, cursor.Name);
    }
}

/// <summary>One key: <c>keys.get</c>.</summary>
internal sealed class GetKey(CatalogueLedger catalogue)
{
    public KeyDescription Run(Caller caller, KeyRequest request)
    {
        Catalogue snapshot = catalogue.Current;
        return snapshot.Describe(snapshot.Require(caller, KeyReference.Parse(request.Key), KeyAction.See), caller);
    }
}
