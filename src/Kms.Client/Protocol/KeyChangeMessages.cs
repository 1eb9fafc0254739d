using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>keys.update</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class UpdateKeyRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>The new name; absent: it stays.</summary>
    public string? Name { get; init; }

    /// <summary>The new memo, at most 100 characters, empty for none; absent: it stays.</summary>
    public string? Memo { get; init; }
}

/// <summary><c>keys.setRotationPeriod</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class SetRotationPeriodRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>1 to 730; counts from the rotation that is already due.</summary>
    public required int Days { get; init; }
}

/// <summary>Ends a key: <c>keys.requestDeletion</c>, <c>keys.deleteNow</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class DeleteKeyRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>The key's name, byte for byte; required when anyone holds a grant on it.</summary>
    public string? ConfirmName { get; init; }
}

/// <summary>Answer of <c>keys.deleteNow</c></summary>
public sealed class DeleteNowResult
{
    /// <summary>
    /// The newest generation of the root key that ever wrapped this key: until it has been retired, a backup can bring the key back.
    /// </summary>
    public required long RecoverableUntil { get; init; }
}
