using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>notifications.list</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ListNotificationsRequest
{
    /// <summary>Only those with a larger number.</summary>
    public long? After { get; init; }

    /// <summary>1 to 1000, default 100.</summary>
    public int? Limit { get; init; }
}

/// <summary>Answer of <c>notifications.list</c></summary>
public sealed class ListNotificationsResult
{
    /// <summary>Oldest first; what was acknowledged isn't among them.</summary>
    public required NotificationDescription[] Notifications { get; init; }

    /// <summary>What to give as <c>after</c>, if there is more.</summary>
    public long? Next { get; init; }
}

/// <summary>A notification; also the params of <c>notifications.event</c>.</summary>
public sealed class NotificationDescription
{
    /// <summary>Its number: rising, with gaps.</summary>
    public required long Sequence { get; init; }

    /// <summary>When it happened.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Such as <c>grant.added</c> or <c>key.rotated</c>; see <c>docs/api.md</c>.</summary>
    public required string Kind { get; init; }

    /// <summary>The tag of the key it is about.</summary>
    public string? Key { get; init; }

    /// <summary>The name that the key had then.</summary>
    public string? KeyName { get; init; }

    /// <summary>The name of the store it is about.</summary>
    public string? Store { get; init; }

    /// <summary>Who did it; absent for what the daemon did by itself.</summary>
    public string? By { get; init; }

    /// <summary>More about it, and what to do.</summary>
    public string? Detail { get; init; }
}

/// <summary><c>notifications.acknowledge</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class AcknowledgeNotificationsRequest
{
    /// <summary>The number of the last one that was seen; all up to it aren't listed to this caller again.</summary>
    public required long UpTo { get; init; }
}
