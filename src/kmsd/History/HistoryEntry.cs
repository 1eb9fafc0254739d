using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.History;

/// <summary>Which part of the service an entry is about.</summary>
internal static class HistoryScope
{
    public const string Key = "key";
    public const string Store = "store";
    public const string Root = "root";
    public const string System = "system";
}

/// <summary>One use or one change: who did what, when, to what, and what came of it. Never a payload.</summary>
internal sealed record HistoryEntry
{
    public required DateTimeOffset At { get; init; }

    /// <summary>One of <see cref="HistoryScope"/>.</summary>
    public required string Scope { get; init; }

    /// <summary>The method's name on the wire.</summary>
    public required string Operation { get; init; }

    /// <summary>The caller; null for what the daemon did by itself.</summary>
    public Caller? Caller { get; init; }

    public byte[]? StoreId { get; init; }

    public KeyTag? Tag { get; init; }

    public long? Version { get; init; }

    /// <summary><c>ok</c> or the reason of a refusal.</summary>
    public string Outcome { get; init; } = "ok";

    public string? Detail { get; init; }

    /// <summary>How many items a use touched.</summary>
    public long Items { get; init; }

    /// <summary>SHA-256 of the context that was given, if one was.</summary>
    public byte[]? ContextDigest { get; init; }

    /// <summary>The entry as it is kept, under its number.</summary>
    public StoredEntry ToStored(long sequence) => new()
    {
        Sequence = sequence,
        At = At,
        Scope = Scope,
        StoreId = StoreId,
        Tag = Tag?.ToBytes(),
        Version = Version,
        Operation = Operation,
        Principal = Caller?.PrimaryText,
        Uid = Caller?.Uid,
        ProcessId = Caller?.ProcessId,
        Unit = Caller?.Unit?.Text,
        Outcome = Outcome,
        Detail = Detail,
        Items = Items,
        ContextDigest = ContextDigest,
    };
}
