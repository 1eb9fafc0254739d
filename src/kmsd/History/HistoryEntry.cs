using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Storage;

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

    /// <summary>Encodes every field.</summary>
    public RowEncoding Encode(RowEncoding encoding) => encoding
        .Start("history").Add(At).Add(Scope).Add(Operation).Add(Caller?.Primary.ToString()).Add((long?)Caller?.Uid)
        .Add((long?)Caller?.ProcessId).Add(Caller?.Unit?.Text).Add(StoreId).Add(Tag?.ToBytes()).Add(Version).Add(Outcome).Add(Detail).Add(Items)
        .Add(ContextDigest);
}
