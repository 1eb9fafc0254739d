using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary>The result of a method that answers <c>{}</c>.</summary>
public sealed class EmptyResult;

/// <summary><c>deletedKeys.list</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ListDeletedKeysRequest : IStoreRequest
{
    /// <summary>Only keys that were in this store.</summary>
    public string? Store { get; init; }
}

/// <summary>Answer of <c>deletedKeys.list</c></summary>
public sealed class ListDeletedKeysResult
{
    /// <summary>What is kept of deleted keys, the last deleted first.</summary>
    public required DeletedKeyDescription[] Keys { get; init; }

    /// <summary>What is wrong with the list; absent if nothing is.</summary>
    public string[]? Warnings { get; init; }
}

/// <summary>What is kept of a deleted key until it is purged.</summary>
public sealed class DeletedKeyDescription
{
    /// <summary>Its tag, which is never used again.</summary>
    public required string Tag { get; init; }

    /// <summary>The name it had; another key may have it by now.</summary>
    public required string Name { get; init; }

    /// <summary>The store it was in.</summary>
    public required string Store { get; init; }

    /// <summary>Its type.</summary>
    public required KeyType Type { get; init; }

    /// <summary>Its protection.</summary>
    public required KeyProtection Protection { get; init; }

    /// <summary>When it was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When its deletion was asked for.</summary>
    public required DateTimeOffset DeletionRequestedAt { get; init; }

    /// <summary>When its material was destroyed.</summary>
    public required DateTimeOffset DeletedAt { get; init; }

    /// <summary>When this is purged as well.</summary>
    public required DateTimeOffset PurgeAt { get; init; }

    /// <summary>How many versions it had.</summary>
    public required long Versions { get; init; }

    /// <inheritdoc cref="KeyDescription.UsageCount"/>
    public required long UsageCount { get; init; }

    /// <summary>How many items they had.</summary>
    public required long ItemCount { get; init; }

    /// <inheritdoc cref="KeyDescription.LastUsedAt"/>
    public DateTimeOffset? LastUsedAt { get; init; }

    /// <summary>The grants it had last.</summary>
    public required GrantDescription[] Grants { get; init; }
}

/// <summary><c>deletedKeys.history</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class DeletedKeyHistoryRequest
{
    /// <summary>The deleted key's tag.</summary>
    public required string Tag { get; init; }

    /// <summary>1 to 1000, default 100.</summary>
    public int? Limit { get; init; }

    /// <summary>Only entries with a smaller sequence number.</summary>
    public long? Before { get; init; }

    /// <summary>Only entries of this operation.</summary>
    public string? Operation { get; init; }

    /// <summary>Only entries of this principal.</summary>
    public string? Principal { get; init; }
}

/// <summary><c>deletedKeys.purge</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class PurgeDeletedKeyRequest
{
    /// <inheritdoc cref="DeletedKeyHistoryRequest.Tag"/>
    public required string Tag { get; init; }

    /// <summary>Why; kept in the history.</summary>
    public required string Reason { get; init; }
}
