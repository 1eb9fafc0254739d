using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>usage.report</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class UsageReportRequest : IStoreRequest
{
    /// <summary>The store's name.</summary>
    public required string Store { get; init; }

    /// <summary>A month in UTC, as <c>2026-11</c>.</summary>
    public required string Month { get; init; }
}

/// <summary>Answer of <c>usage.report</c></summary>
public sealed class UsageReportResult
{
    /// <summary>The store's name.</summary>
    public required string Store { get; init; }

    /// <summary>The month.</summary>
    public required string Month { get; init; }

    /// <summary>Every key that existed in the month, in the order of names.</summary>
    public required KeyUsageReport[] Keys { get; init; }
}

/// <summary>What one key was and did in a month.</summary>
public sealed class KeyUsageReport
{
    /// <summary>The tag.</summary>
    public required string Tag { get; init; }

    /// <summary>The name; of a deleted key the one it had last.</summary>
    public required string Name { get; init; }

    /// <summary>The type.</summary>
    public required KeyType Type { get; init; }

    /// <summary>Days in the state <c>enabled</c>, to a thousandth.</summary>
    public required double EnabledDays { get; init; }

    /// <summary>Days in the state <c>disabled</c>.</summary>
    public required double DisabledDays { get; init; }

    /// <summary>Days in the state <c>pendingDeletion</c>.</summary>
    public required double PendingDeletionDays { get; init; }

    /// <summary>The days for which it is billed: all three together.</summary>
    public required double BillableDays { get; init; }

    /// <summary>Requests that were carried out, as <see cref="KeyDescription.UsageCount"/> counts them.</summary>
    public required long Calls { get; init; }
}
