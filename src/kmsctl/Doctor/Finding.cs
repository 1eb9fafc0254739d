using System.Text.Json.Serialization;
using Kms.Client.Protocol;

namespace Kmsctl.Doctor;

/// <summary>What is wrong with a principal. The names are those of <c>--json</c>. The zero is nothing.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Problem>))]
internal enum Problem
{
    [JsonStringEnumMemberName("none")]
    None = 0,

    /// <summary>Whoever gets the number next gets the right.</summary>
    [JsonStringEnumMemberName("noAccount")]
    NoAccount = 1,

    [JsonStringEnumMemberName("noGroup")]
    NoGroup = 2,

    [JsonStringEnumMemberName("noUnit")]
    NoUnit = 3,

    /// <summary>The unit runs under another name, so the right is never anybody's.</summary>
    [JsonStringEnumMemberName("aliasUnit")]
    AliasUnit = 4,

    [JsonStringEnumMemberName("maskedUnit")]
    MaskedUnit = 5,

    /// <summary>A store whose keys nobody can make, share or delete.</summary>
    [JsonStringEnumMemberName("noManager")]
    NoManager = 6,
}

/// <summary>A right that nobody who is there holds, or a store that nobody manages.</summary>
internal sealed class Finding
{
    public required string Store { get; init; }

    /// <summary>The key's name; null for a membership.</summary>
    public string? Key { get; init; }

    public string? Tag { get; init; }

    /// <summary>Null of a store that nobody manages.</summary>
    public string? Principal { get; init; }

    public string? Role { get; init; }

    public required Problem Problem { get; init; }

    /// <summary>A sentence for a person.</summary>
    public required string Explanation { get; init; }
}

/// <summary>What <c>doctor --json</c> prints.</summary>
internal sealed class DoctorReport
{
    public required Finding[] Findings { get; init; }

    /// <summary>What the daemon doesn't serve because it was changed from outside; null if nothing, or if the caller is no operator.</summary>
    public QuarantineDescription? Quarantine { get; init; }

    /// <summary>As the daemon's status says it: <c>ok</c>, <c>unavailable</c> or <c>integrityFailure</c>.</summary>
    public string? Database { get; init; }

    /// <summary>Whether the daemon's status is <c>degraded</c>.</summary>
    public required bool Degraded { get; init; }

    /// <summary>What the daemon's status calls weak, a sentence each; null if the caller is no operator.</summary>
    public string[]? Weaknesses { get; init; }

    /// <summary>Keys whose grants were looked at.</summary>
    public required int Keys { get; init; }

    /// <summary>Stores whose members were looked at.</summary>
    public required int Stores { get; init; }

    /// <summary>All other keys, as far as the caller knows of them: those of the next three.</summary>
    public required long KeysNotLookedAt { get; init; }

    /// <summary>Keys that the caller sees, but not their grants.</summary>
    public required int KeysThatHideTheirGrants { get; init; }

    /// <summary>Keys that the caller sees, and that aren't served because what is stored of them was changed from outside.</summary>
    public required int KeysInQuarantine { get; init; }

    /// <summary>Keys that an operator doesn't see, since he has no right on them; the daemon counts them.</summary>
    public required long KeysNotSeen { get; init; }
}
