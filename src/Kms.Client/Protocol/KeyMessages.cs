using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary>A principal and the role it shall have on a key.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class GrantInput
{
    /// <summary><c>uid:1000</c>, <c>gid:34</c>, <c>unit:nginx.service</c>, <c>user:alice</c> or <c>group:backup</c>.</summary>
    public required string Principal { get; init; }

    /// <summary>The role.</summary>
    public required KeyRole Role { get; init; }
}

/// <summary><c>keys.create</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class CreateKeyRequest : IStoreRequest
{
    /// <summary>3 to 64 of <c>A–Z a–z 0–9 - _</c>, starts with a letter, unique in its store without regard to case.</summary>
    public required string Name { get; init; }

    /// <summary>The type; never changes.</summary>
    public required KeyType Type { get; init; }

    /// <summary>The store; default <c>default</c>.</summary>
    public string? Store { get; init; }

    /// <summary>The protection; default from the daemon's configuration; never changes.</summary>
    public KeyProtection? Protection { get; init; }

    /// <summary>1 to 730, default 90.</summary>
    public int? RotationPeriodDays { get; init; }

    /// <summary>At most 100 characters.</summary>
    public string? Memo { get; init; }

    /// <summary>The grants it starts with; it has no others, not even its maker's.</summary>
    public GrantInput[]? Grants { get; init; }
}

/// <summary><c>keys.list</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ListKeysRequest : IStoreRequest
{
    /// <summary>Only keys of this store.</summary>
    public string? Store { get; init; }

    /// <summary>Only keys in this state (not <c>deleted</c>).</summary>
    public KeyState? State { get; init; }

    /// <summary>1 to 200, default 100.</summary>
    public int? Limit { get; init; }

    /// <summary>The <c>next</c> of the page before.</summary>
    public string? After { get; init; }
}

/// <summary>Answer of <c>keys.list</c></summary>
public sealed class ListKeysResult
{
    /// <summary>One page of the keys that the caller may see, by store and name.</summary>
    public required KeyDescription[] Keys { get; init; }

    /// <summary>How many there are under this filter.</summary>
    public required int Total { get; init; }

    /// <summary>Where the next page starts, if there is one.</summary>
    public string? Next { get; init; }
}

/// <summary>
/// Names one key: <c>keys.get</c>, <c>keys.rotate</c>, <c>keys.enable</c>, <c>keys.disable</c>, <c>keys.cancelDeletion</c>, <c>grants.list</c>.
/// </summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class KeyRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }
}

/// <summary>A key as the daemon describes it.</summary>
public sealed class KeyDescription
{
    /// <summary>Its tag.</summary>
    public required string Tag { get; init; }

    /// <summary>Its name.</summary>
    public required string Name { get; init; }

    /// <summary>Its store's name.</summary>
    public required string Store { get; init; }

    /// <summary>Its type.</summary>
    public required KeyType Type { get; init; }

    /// <summary>Its protection.</summary>
    public required KeyProtection Protection { get; init; }

    /// <summary>Its state.</summary>
    public required KeyState State { get; init; }

    /// <summary>The memo, empty if there is none.</summary>
    public required string Memo { get; init; }

    /// <summary>The newest version, which seals and signs.</summary>
    public required long CurrentVersion { get; init; }

    /// <summary>When it was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When its state last changed.</summary>
    public required DateTimeOffset StateChangedAt { get; init; }

    /// <summary>The rotation period in days.</summary>
    public required int RotationPeriodDays { get; init; }

    /// <summary>A changed period that counts from the rotation already due.</summary>
    public int? PendingRotationPeriodDays { get; init; }

    /// <summary>When it rotates next.</summary>
    public required DateTimeOffset NextRotationAt { get; init; }

    /// <summary>When its material is destroyed, while a deletion is pending.</summary>
    public DateTimeOffset? DeleteAt { get; init; }

    /// <summary>How many <c>crypto.*</c> requests on the key were carried out.</summary>
    public required long UsageCount { get; init; }

    /// <summary>When the last of them was.</summary>
    public DateTimeOffset? LastUsedAt { get; init; }

    /// <summary>The caller's roles on it (key roles, then the store role as <c>store:manager</c>).</summary>
    public required string[] MyRoles { get; init; }

    /// <summary>What its managers should know, such as a rotation period over 365 days.</summary>
    public string[]? Warnings { get; init; }

    /// <summary>What is best done next; only in the answer of <c>keys.rotate</c>.</summary>
    public string? Advice { get; init; }
}
