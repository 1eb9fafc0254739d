using System.Collections.Immutable;
using Kms.Client.Protocol;

namespace Kmsd.Keys;

/// <summary>Every store, key, version and grant: an immutable snapshot, swapped whole after a change commits.</summary>
internal sealed record Catalogue
{
    public static readonly Catalogue Empty = new();

    public ImmutableDictionary<KeyTag, Key> Keys { get; private init; } = ImmutableDictionary<KeyTag, Key>.Empty;

    public ImmutableDictionary<StoreId, KeyStore> Stores { get; private init; } = ImmutableDictionary<StoreId, KeyStore>.Empty;

    /// <summary>The stores' names; compared without regard to case.</summary>
    public ImmutableSortedDictionary<string, StoreId> StoreNames { get; private init; } =
        ImmutableSortedDictionary.Create<string, StoreId>(StringComparer.OrdinalIgnoreCase);

    /// <summary>What remains of deleted keys.</summary>
    public ImmutableDictionary<KeyTag, DeletedKey> Deleted { get; private init; } = ImmutableDictionary<KeyTag, DeletedKey>.Empty;

    /// <summary>Of each root generation, how many versions' newest material it carries.</summary>
    public ImmutableSortedDictionary<long, long> Carried { get; private init; } = ImmutableSortedDictionary<long, long>.Empty;

    /// <summary>What the counters were when they were loaded.</summary>
    public UsageMark Usage { get; init; }

    /// <summary>True if a row anywhere didn't match its code when it was loaded.</summary>
    public bool HasQuarantine { get; init; }

    /// <summary>True if rows belonged to nothing when they were loaded, or the counters didn't add up.</summary>
    public bool IsOrphaned { get; init; }

    /// <summary>How many rows about deleted keys didn't match their codes when they were loaded; they aren't among <see cref="Deleted"/>.</summary>
    public int BadRemains { get; init; }

    /// <summary>
    /// The keys whose rows didn't match, by their tags; also those of which not even a key could be made. None leaves it while the daemon runs.
    /// </summary>
    public ImmutableArray<KeyTag> Quarantined { get; init; } = [];

    /// <summary>All at once, as they are loaded; the keys' stores must be among the stores.</summary>
    public static Catalogue Of(IReadOnlyCollection<KeyStore> stores, IReadOnlyCollection<Key> keys, IEnumerable<DeletedKey> deleted)
    {
        ILookup<StoreId, KeyValuePair<string, KeyTag>> names = keys.ToLookup(key => key.StoreId, key => KeyValuePair.Create(key.Name, key.Tag));
        return Empty with
        {
            Keys = Empty.Keys.AddRange(keys.Select(key => KeyValuePair.Create(key.Tag, key))),
            Stores = Empty.Stores.AddRange(stores.Select(store => KeyValuePair.Create(store.Id, store with { Names = store.Names.AddRange(names[store.Id]) }))),
            StoreNames = Empty.StoreNames.SetItems(stores.Select(store => KeyValuePair.Create(store.Name, store.Id))),
            Deleted = Empty.Deleted.AddRange(deleted.Select(key => KeyValuePair.Create(key.Tag, key))),
            Carried = keys.Aggregate(Empty.Carried.ToBuilder(), (carried, key) => Count(carried, key, 1)).ToImmutable(),
        };
    }

    public KeyStore? FindStore(string name) => StoreNames.TryGetValue(name, out StoreId id) ? Stores[id] : null;

    public Key? Find(KeyReference reference)
    {
        if (reference.Tag is KeyTag tag)
        {
            return Keys.GetValueOrDefault(tag);
        }

        return FindStore(reference.Store) is KeyStore store && store.Names.TryGetValue(reference.Name, out KeyTag named)
            ? Keys.GetValueOrDefault(named)
            : null;
    }

    /// <summary>The keys of a store in the order of their names.</summary>
    public IEnumerable<Key> KeysOf(KeyStore store) => store.Names.Values.Select(tag => Keys[tag]);

    /// <summary>The tags of a store's keys, also of those of which only remains are kept.</summary>
    public IReadOnlyList<KeyTag> TagsOf(StoreId store) =>
        [.. KeysOf(Stores[store]).Select(key => key.Tag), .. Deleted.Values.Where(key => key.StoreId == store).Select(key => key.Tag)];

    /// <summary>With the store in place of the one with its id, if there was one.</summary>
    public Catalogue With(KeyStore store) => this with
    {
        Stores = Stores.SetItem(store.Id, store),
        StoreNames = StoreNames.SetItem(store.Name, store.Id),
    };

    /// <summary>With the key in place of the one with its tag, if there was one.</summary>
    public Catalogue With(Key key)
    {
        Key? before = Keys.GetValueOrDefault(key.Tag);
        Catalogue changed = this with { Keys = Keys.SetItem(key.Tag, key), Carried = before?.Versions == key.Versions ? Carried : CarriedWith(before, key) };
        if (before?.Name == key.Name)
        {
            return changed;
        }

        KeyStore store = Stores[key.StoreId];
        ImmutableSortedDictionary<string, KeyTag> names = before is null ? store.Names : store.Names.Remove(before.Name);
        return changed.With(store with { Names = names.SetItem(key.Name, key.Tag) });
    }

    /// <summary>Without the key, whose name is free again.</summary>
    public Catalogue Without(Key key)
    {
        KeyStore store = Stores[key.StoreId];
        return (this with { Keys = Keys.Remove(key.Tag), Carried = CarriedWith(Keys[key.Tag], null) }).With(store with { Names = store.Names.Remove(key.Name) });
    }

    /// <summary>With what remains of a deleted key.</summary>
    public Catalogue With(DeletedKey deleted) => this with { Deleted = Deleted.SetItem(deleted.Tag, deleted) };

    /// <summary>Without what remained of a deleted key.</summary>
    public Catalogue Without(DeletedKey deleted) => this with { Deleted = Deleted.Remove(deleted.Tag) };

    private ImmutableSortedDictionary<long, long> CarriedWith(Key? before, Key? after)
    {
        var carried = Carried.ToBuilder();
        _ = before is null ? carried : Count(carried, before, -1);
        _ = after is null ? carried : Count(carried, after, 1);
        return carried.ToImmutable();
    }

    private static ImmutableSortedDictionary<long, long>.Builder Count(ImmutableSortedDictionary<long, long>.Builder carried, Key key, long each)
    {
        foreach (KeyVersion version in key.Versions)
        {
            long generation = version.Material.Generation;
            carried[generation] = carried.GetValueOrDefault(generation) + each;
        }

        return carried;
    }
}
