using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>versions.list</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ListVersionsRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>1 to 200, default 100.</summary>
    public int? Limit { get; init; }

    /// <summary>The last version of the page before: versions come newest first, and the next page starts below it.</summary>
    public long? After { get; init; }
}

/// <summary>Answer of <c>versions.list</c></summary>
public sealed class ListVersionsResult
{
    /// <summary>One page, newest first; shorter than asked for when it is the last.</summary>
    public required VersionDescription[] Versions { get; init; }
}

/// <summary>Names one version of a key: <c>versions.disable</c>, <c>versions.enable</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class VersionRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>The version; never the newest.</summary>
    public required long Version { get; init; }
}

/// <summary>A version of a key as the daemon describes it.</summary>
public sealed class VersionDescription
{
    /// <summary>Its number, from 1.</summary>
    public required long Version { get; init; }

    /// <summary>Its own state.</summary>
    public required VersionState State { get; init; }

    /// <summary>What follows from its own state and the key's.</summary>
    public required KeyState EffectiveState { get; init; }

    /// <summary>When it was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When its own state last changed.</summary>
    public required DateTimeOffset StateChangedAt { get; init; }

    /// <summary>How many <c>crypto.*</c> requests that touched it were carried out.</summary>
    public required long UsageCount { get; init; }

    /// <summary>How many items they had; what the limit of AES-GCM counts.</summary>
    public required long ItemCount { get; init; }

    /// <summary>When the last of them was.</summary>
    public DateTimeOffset? LastUsedAt { get; init; }

    /// <summary>The generation of the root key that wraps it.</summary>
    public required long RootGeneration { get; init; }
}
