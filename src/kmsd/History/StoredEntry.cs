using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.History;

/// <summary>An entry as it stands in the history: what its digest covers.</summary>
internal sealed record StoredEntry
{
    /// <summary>The columns that <see cref="Read"/> takes, from the first on.</summary>
    public const string Columns =
        "sequence, at, scope, store_id, tag, version, operation, principal, uid, pid, unit, outcome, detail, items, context_digest";

    /// <summary>The columns of what <see cref="Encode"/> writes, in its order.</summary>
    public const string EncodedColumns =
        "at, scope, operation, principal, uid, pid, unit, store_id, tag, version, outcome, detail, items, context_digest";

    /// <summary>How many <see cref="Columns"/> there are.</summary>
    public const int ColumnCount = 15;

    public required long Sequence { get; init; }

    public required DateTimeOffset At { get; init; }

    public required string Scope { get; init; }

    public byte[]? StoreId { get; init; }

    public byte[]? Tag { get; init; }

    public long? Version { get; init; }

    public required string Operation { get; init; }

    public string? Principal { get; init; }

    public long? Uid { get; init; }

    public long? ProcessId { get; init; }

    public string? Unit { get; init; }

    public required string Outcome { get; init; }

    public string? Detail { get; init; }

    public required long Items { get; init; }

    public byte[]? ContextDigest { get; init; }

    /// <summary>Encodes every field but the number, which the link covers, in the order of <see cref="EncodedColumns"/>.</summary>
    public RowEncoding Encode(RowEncoding encoding) => encoding
        .Start("history").Add(At).Add(Scope).Add(Operation).Add(Principal).Add(Uid).Add(ProcessId).Add(Unit).Add(StoreId).Add(Tag)
        .Add(Version).Add(Outcome).Add(Detail).Add(Items).Add(ContextDigest);

    /// <exception cref="InvalidOperationException">A column that every entry has is NULL.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The time can't be.</exception>
    public static StoredEntry Read(SqliteDataReader reader) => new()
    {
        Sequence = reader.GetInt64(0),
        At = reader.GetTime(1),
        Scope = reader.GetString(2),
        StoreId = reader.GetBlobOrNull(3),
        Tag = reader.GetBlobOrNull(4),
        Version = reader.GetNumberOrNull(5),
        Operation = reader.GetString(6),
        Principal = reader.GetTextOrNull(7),
        Uid = reader.GetNumberOrNull(8),
        ProcessId = reader.GetNumberOrNull(9),
        Unit = reader.GetTextOrNull(10),
        Outcome = reader.GetString(11),
        Detail = reader.GetTextOrNull(12),
        Items = reader.GetInt64(13),
        ContextDigest = reader.GetBlobOrNull(14),
    };
}
