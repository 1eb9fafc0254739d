using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Notifications;

namespace Kmsd.Deletion;

/// <summary>
/// The destruction itself, for the writer: material overwritten, rows removed, what remains written, history and notices told. The
/// write-ahead log must be emptied after the commit, and opened material dropped.
/// </summary>
internal sealed class KeyDestruction(CatalogueLedger catalogue, HistoryLog history, NoticeLog notices)
{
    /// <param name="key">As it is staged.</param>
    /// <param name="operation">For the history.</param>
    /// <param name="caller">Who asked; null for the daemon itself.</param>
    /// <param name="now">The time.</param>
    /// <param name="deletedAt">When it was destroyed first, if it was before; its year counts from there.</param>
    /// <param name="detail">For the history.</param>
    public Key Run(Key key, string operation, Caller? caller, DateTimeOffset now, DateTimeOffset? deletedAt = null, string? detail = null)
    {
        DateTimeOffset first = deletedAt ?? now;
        catalogue.Destroy(key, new DeletedKey
        {
            Tag = key.Tag,
            StoreId = key.StoreId,
            Store = catalogue.Staged.Stores[key.StoreId].Name,
            Name = key.Name,
            Type = key.Type,
            Protection = key.Protection,
            CreatedAt = key.CreatedAt,
            RequestedAt = key.StateChangedAt,
            DeletedAt = first,
            PurgeAt = first.AddYears(1),
            Versions = key.Versions.Length,
            UsageCount = key.Usage.Staged.Calls,
            ItemCount = key.Versions.Sum(version => version.Usage.Staged.Items),
            LastUsedAt = key.Usage.Staged.LastUsedAt,
            Grants = key.Grants,
        });
        _ = history.Append(KeyEntries.Make(operation, caller, key, now) with { Detail = detail });
        notices.Append(catalogue.Staged.About(key, NoticeKind.KeyDeleted, caller, now));
        return key;
    }
}
