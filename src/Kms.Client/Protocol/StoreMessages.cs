using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>stores.create</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class CreateStoreRequest
{
    /// <summary>3 to 64 of <c>A–Z a–z 0–9 - _</c>, starting with a letter; unique without regard to case.</summary>
    public required string Name { get; init; }

    /// <summary>Its first manager: a principal.</summary>
    public required string Manager { get; init; }
}

/// <summary>A key store as a caller sees it.</summary>
public sealed class StoreDescription
{
    /// <summary>Its name.</summary>
    public required string Name { get; init; }

    /// <summary>When it was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>The caller's role in it, if he has one.</summary>
    public StoreRole? MyRole { get; init; }
}

/// <summary>Answer of <c>stores.list</c></summary>
public sealed class ListStoresResult
{
    /// <summary>In the order of their names: the caller's own; for operators all.</summary>
    public required StoreDescription[] Stores { get; init; }
}
