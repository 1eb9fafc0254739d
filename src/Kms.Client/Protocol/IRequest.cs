namespace Kms.Client.Protocol;

/// <summary>Params that name a key.</summary>
public interface IKeyRequest
{
    /// <summary>A tag, <c>store/name</c>, or the name of a key in the store <c>default</c>.</summary>
    string? Key { get; }
}

/// <summary>Params that name a store.</summary>
public interface IStoreRequest
{
    /// <summary>The store's name; null: <c>default</c>, or all.</summary>
    string? Store { get; }
}

/// <summary>Params that carry many items.</summary>
public interface IBatchRequest
{
    /// <summary>How many.</summary>
    int ItemCount { get; }
}
