using Kms.Client.Protocol;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.History;

/// <summary>Entries as they are told to a caller.</summary>
internal static class HistoryDescriptions
{
    public static HistoryResult Describe(this IReadOnlyList<StoredEntry> entries) => new() { Entries = [.. entries.Select(Describe)] };

    /// <summary>What stands in a row, erased or not, from the columns that the verification reads.</summary>
    public static ExportedHistoryEntry Export(SqliteDataReader reader)
    {
        byte[]? salt = reader.GetBlobOrNull(StoredEntry.ColumnCount);
        ExportedHistoryEntry rest = new()
        {
            Sequence = reader.GetInt64(0),
            Salt = salt,
            Digest = reader.GetBlob(StoredEntry.ColumnCount + 1),
            Link = reader.GetBlob(StoredEntry.ColumnCount + 2),
            PurgedBy = reader.GetNumberOrNull(StoredEntry.ColumnCount + 3),
        };
        return salt is null ? rest : Export(StoredEntry.Read(reader), rest);
    }

    private static ExportedHistoryEntry Export(StoredEntry entry, ExportedHistoryEntry rest) => new()
    {
        Sequence = entry.Sequence,
        At = entry.At,
        Scope = entry.Scope,
        Operation = entry.Operation,
        StoreId = entry.StoreId is null ? null : Convert.ToHexStringLower(entry.StoreId),
        Key = entry.Tag is null ? null : Convert.ToHexStringLower(entry.Tag),
        KeyVersion = entry.Version,
        Principal = entry.Principal,
        Uid = entry.Uid,
        Pid = entry.ProcessId,
        Unit = entry.Unit,
        Outcome = entry.Outcome,
        Detail = entry.Detail,
        Count = entry.Items,
        ContextDigest = entry.ContextDigest,
        Salt = rest.Salt,
        Digest = rest.Digest,
        Link = rest.Link,
        PurgedBy = rest.PurgedBy,
    };

    private static HistoryEntryDescription Describe(StoredEntry entry) => new()
    {
        Sequence = entry.Sequence,
        At = entry.At,
        Operation = entry.Operation,
        Key = entry.Tag is null ? null : Convert.ToHexStringLower(entry.Tag),
        KeyVersion = entry.Version,
        Principal = entry.Principal,
        Uid = entry.Uid,
        Pid = entry.ProcessId,
        Unit = entry.Unit,
        Outcome = entry.Outcome,
        Detail = entry.Detail,
        Count = entry.Items,
    };
}
