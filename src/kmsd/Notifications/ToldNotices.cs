using Kms.Client.Protocol;
using Kmsd.Storage;

namespace Kmsd.Notifications;

/// <summary>When something was told last, by what is kept of notices: so that it is told once, also over restarts.</summary>
internal sealed class ToldNotices(DatabaseReader database)
{
    /// <summary>By key.</summary>
    public Task<Dictionary<KeyTag, DateTimeOffset>> LastByKeyAsync(string kind, CancellationToken cancellationToken) => database.ReadAsync(
        from =>
        {
            Dictionary<KeyTag, DateTimeOffset> told = [];
            from.Prepare("SELECT tag, max(at) FROM notifications WHERE kind = $1 AND length(tag) = 16 GROUP BY tag").BindAll(kind)
                .Query(reader => told[KeyTag.FromBytes(reader.GetBlob(0))] = reader.GetTime(1));
            return told;
        },
        cancellationToken);

    /// <summary>Null: never.</summary>
    public Task<DateTimeOffset?> LastAsync(string kind, CancellationToken cancellationToken) => database.ReadAsync(
        from =>
        {
            DateTimeOffset? last = null;
            from.Prepare("SELECT max(at) FROM notifications WHERE kind = $1").BindAll(kind).Query(reader => last = reader.GetTimeOrNull(0));
            return last;
        },
        cancellationToken);
}
