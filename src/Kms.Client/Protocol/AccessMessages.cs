using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>grants.add</c>, <c>grants.remove</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class GrantRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <inheritdoc cref="GrantInput.Principal"/>
    public required string Principal { get; init; }

    /// <summary>The role.</summary>
    public required KeyRole Role { get; init; }
}

/// <summary>Answer of <c>grants.*</c></summary>
public sealed class GrantsResult
{
    /// <summary>Every grant on the key, as it is now.</summary>
    public required GrantDescription[] Grants { get; init; }
}

/// <summary>A grant on a key.</summary>
public sealed class GrantDescription
{
    /// <summary><c>uid:1000</c>, <c>gid:34</c> or <c>unit:nginx.service</c>.</summary>
    public required string Principal { get; init; }

    /// <summary>The name that the id has now, if it has one.</summary>
    public string? Display { get; init; }

    /// <summary>The role.</summary>
    public required KeyRole Role { get; init; }

    /// <summary>Since when.</summary>
    public required DateTimeOffset GrantedAt { get; init; }
}

/// <summary><c>members.list</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ListMembersRequest : IStoreRequest
{
    /// <summary>The store's name.</summary>
    public required string Store { get; init; }
}

/// <summary><c>members.add</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class AddMemberRequest : IStoreRequest
{
    /// <summary>The store's name.</summary>
    public required string Store { get; init; }

    /// <inheritdoc cref="GrantInput.Principal"/>
    public required string Principal { get; init; }

    /// <summary>The role; it replaces the one the principal has.</summary>
    public required StoreRole Role { get; init; }
}

/// <summary><c>members.remove</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class RemoveMemberRequest : IStoreRequest
{
    /// <summary>The store's name.</summary>
    public required string Store { get; init; }

    /// <inheritdoc cref="GrantInput.Principal"/>
    public required string Principal { get; init; }

    /// <summary>The role to remove; default: whichever the principal has. Another one removes nothing.</summary>
    public StoreRole? Role { get; init; }
}

/// <summary>Answer of <c>members.*</c></summary>
public sealed class MembersResult
{
    /// <summary>Every member of the store, as it is now.</summary>
    public required MemberDescription[] Members { get; init; }
}

/// <summary>A member of a store.</summary>
public sealed class MemberDescription
{
    /// <inheritdoc cref="GrantDescription.Principal"/>
    public required string Principal { get; init; }

    /// <inheritdoc cref="GrantDescription.Display"/>
    public string? Display { get; init; }

    /// <summary>The role.</summary>
    public required StoreRole Role { get; init; }

    /// <summary>Since when.</summary>
    public required DateTimeOffset Since { get; init; }
}
