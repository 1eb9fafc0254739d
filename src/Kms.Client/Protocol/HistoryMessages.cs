using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>history.list</c>: exactly one of key, store and scope.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ListHistoryRequest : IKeyRequest, IStoreRequest
{
    /// <summary>A tag, <c>store/name</c>, or the name of a key in the store <c>default</c>.</summary>
    public string? Key { get; init; }

    /// <summary>A store's name: its own entries, and those of its keys.</summary>
    public string? Store { get; init; }

    /// <summary><c>root</c> or <c>system</c>.</summary>
    public string? Scope { get; init; }

    /// <inheritdoc cref="DeletedKeyHistoryRequest.Limit"/>
    public int? Limit { get; init; }

    /// <inheritdoc cref="DeletedKeyHistoryRequest.Before"/>
    public long? Before { get; init; }

    /// <inheritdoc cref="DeletedKeyHistoryRequest.Operation"/>
    public string? Operation { get; init; }

    /// <inheritdoc cref="DeletedKeyHistoryRequest.Principal"/>
    public string? Principal { get; init; }
}

/// <summary>Answer of <c>history.list</c> and <c>deletedKeys.history</c></summary>
public sealed class HistoryResult
{
    /// <summary>Newest first.</summary>
    public required HistoryEntryDescription[] Entries { get; init; }
}

/// <summary>An entry of the history.</summary>
public sealed class HistoryEntryDescription
{
    /// <summary>Its number.</summary>
    public required long Sequence { get; init; }

    /// <summary>When it happened.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The method, or <c>rotation.automatic</c> and the like.</summary>
    public required string Operation { get; init; }

    /// <summary>The tag of the key it is about.</summary>
    public string? Key { get; init; }

    /// <summary>The version that was used.</summary>
    public long? KeyVersion { get; init; }

    /// <summary>Who asked; absent for what the daemon did by itself.</summary>
    public string? Principal { get; init; }

    /// <summary>His user id.</summary>
    public long? Uid { get; init; }

    /// <summary>His process.</summary>
    public long? Pid { get; init; }

    /// <summary>His systemd unit.</summary>
    public string? Unit { get; init; }

    /// <summary><c>ok</c>, or the reason of the refusal.</summary>
    public required string Outcome { get; init; }

    /// <summary>More about it.</summary>
    public string? Detail { get; init; }

    /// <summary>How many items.</summary>
    public required long Count { get; init; }
}

/// <summary>Answer of <c>history.verify</c></summary>
public sealed class VerifyHistoryResult
{
    /// <summary>Whether the whole chain is as it was written.</summary>
    public required bool Ok { get; init; }

    /// <summary>How many entries were read.</summary>
    public required long Entries { get; init; }

    /// <summary>The number of the first entry that was changed, is missing, or was erased without a purge.</summary>
    public long? FirstBad { get; init; }
}

/// <summary><c>history.export</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ExportHistoryRequest
{
    /// <summary>Only entries with a larger number: the <c>next</c> of the answer before.</summary>
    public long? After { get; init; }

    /// <summary>1 to 1000, default 1000.</summary>
    public int? Limit { get; init; }
}

/// <summary>Answer of <c>history.export</c></summary>
public sealed class ExportHistoryResult
{
    /// <summary>Oldest first.</summary>
    public required ExportedHistoryEntry[] Entries { get; init; }

    /// <summary>What to give as <c>after</c>, if there is more.</summary>
    public long? Next { get; init; }
}

/// <summary>An entry with all that the chain holds of it. Of an erased one only number, digest, link and who erased it are left.</summary>
public sealed class ExportedHistoryEntry
{
    /// <inheritdoc cref="HistoryEntryDescription.Sequence"/>
    public required long Sequence { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.At"/>
    public DateTimeOffset? At { get; init; }

    /// <summary><c>key</c>, <c>store</c>, <c>root</c> or <c>system</c>.</summary>
    public string? Scope { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Operation"/>
    public string? Operation { get; init; }

    /// <summary>The id of the store it is about: 32 hexadecimal digits.</summary>
    public string? StoreId { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Key"/>
    public string? Key { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.KeyVersion"/>
    public long? KeyVersion { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Principal"/>
    public string? Principal { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Uid"/>
    public long? Uid { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Pid"/>
    public long? Pid { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Unit"/>
    public string? Unit { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Outcome"/>
    public string? Outcome { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Detail"/>
    public string? Detail { get; init; }

    /// <inheritdoc cref="HistoryEntryDescription.Count"/>
    public long? Count { get; init; }

    /// <summary>SHA-256 of the context that was given, if one was.</summary>
    public byte[]? ContextDigest { get; init; }

    /// <summary>The random salt of the digest.</summary>
    public byte[]? Salt { get; init; }

    /// <summary>SHA-256 over salt and entry.</summary>
    public required byte[] Digest { get; init; }

    /// <summary>HMAC-SHA-256 over the link before, the number and the digest, under a key of the token.</summary>
    public required byte[] Link { get; init; }

    /// <summary>The number of the purge entry that names this erased one.</summary>
    public long? PurgedBy { get; init; }
}
