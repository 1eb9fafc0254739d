using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Notifications;

/// <summary>What a notification is about. The names are on the wire and stored.</summary>
internal static class NoticeKind
{
    public const string GrantAdded = "grant.added";
    public const string GrantRemoved = "grant.removed";
    public const string KeyRotated = "key.rotated";
    public const string KeyEnabled = "key.enabled";
    public const string KeyDisabled = "key.disabled";
    public const string VersionEnabled = "version.enabled";
    public const string VersionDisabled = "version.disabled";
    public const string DeletionRequested = "deletion.requested";
    public const string DeletionCancelled = "deletion.cancelled";
    public const string DeletionUpcoming = "deletion.upcoming";
    public const string KeyDeleted = "key.deleted";
    public const string UseRefused = "use.refused";
    public const string RootDue = "root.due";
    public const string RootOverdue = "root.overdue";
    public const string RootRotated = "root.rotated";
    public const string RootRetired = "root.retired";
    public const string CustodyOpened = "custody.opened";
}

/// <summary>Something that happened, and whom it concerns: fixed before the change commits.</summary>
internal sealed record Notice(string Kind, DateTimeOffset At, IReadOnlyCollection<Principal> Recipients)
{
    public KeyTag? Tag { get; init; }

    public string? KeyName { get; init; }

    public string? Store { get; init; }

    /// <summary>Who did it; null for the daemon itself.</summary>
    public Principal? By { get; init; }

    public string? Detail { get; init; }

    public NotificationDescription Describe(long sequence) => new()
    {
        Sequence = sequence,
        At = At,
        Kind = Kind,
        Key = Tag?.Text,
        KeyName = KeyName,
        Store = Store,
        By = By?.ToString(),
        Detail = Detail,
    };
}
