using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary>The params of a method that takes none.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class EmptyRequest;

/// <summary>Answer of <c>system.status</c></summary>
public sealed class StatusResult
{
    /// <summary><c>ok</c> or <c>degraded</c>.</summary>
    public required string Status { get; init; }

    /// <summary>The daemon's version.</summary>
    public required string Version { get; init; }

    /// <summary><c>ok</c> or <c>unavailable</c>.</summary>
    public required string Token { get; init; }

    /// <summary><c>ok</c>, <c>unavailable</c> or <c>integrityFailure</c>.</summary>
    public required string Database { get; init; }

    /// <summary>The root key; operators only.</summary>
    public RootDescription? Root { get; init; }

    /// <summary>What is weak in this installation, a sentence each; operators only.</summary>
    public string[]? Weaknesses { get; init; }

    /// <summary>What isn't served because what is stored of it doesn't verify; operators only, null if there is nothing.</summary>
    public QuarantineDescription? Quarantine { get; init; }

    /// <summary>Open connections; operators only.</summary>
    public int? Connections { get; init; }

    /// <summary>Requests waiting for the writer; operators only.</summary>
    public int? Queue { get; init; }
}

/// <summary>Answer of <c>system.metrics</c></summary>
public sealed class MetricsResult
{
    /// <summary>In Prometheus' text format, version 0.0.4.</summary>
    public required string Text { get; init; }
}

/// <summary>What isn't served: what is stored of it was changed from outside. A backup brings it back (<c>kmsd restore</c>).</summary>
public sealed class QuarantineDescription
{
    /// <summary>How many keys, not counting those of stores that are in quarantine as a whole.</summary>
    public required long Keys { get; init; }

    /// <summary>Their tags; the first 100.</summary>
    public required string[] Tags { get; init; }

    /// <summary>The names of stores of which nothing is served; the first 100.</summary>
    public required string[] Stores { get; init; }
}

/// <summary>The root key as operators see it.</summary>
public sealed class RootDescription
{
    /// <summary>The current generation.</summary>
    public required long Generation { get; init; }

    /// <summary><c>token</c> or <c>ceremony</c>.</summary>
    public required string Origin { get; init; }

    /// <summary>When the generation was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When it must have been replaced.</summary>
    public required DateTimeOffset RotateBy { get; init; }

    /// <summary><c>none</c>: nobody holds a share; the token's own backup is all there is.</summary>
    public required string Custody { get; init; }
}

/// <summary>Answer of <c>system.whoAmI</c>: what the kernel says of the caller.</summary>
public sealed class WhoAmIResult
{
    /// <summary>The user id.</summary>
    public required long Uid { get; init; }

    /// <summary>The primary group id.</summary>
    public required long Gid { get; init; }

    /// <summary>The supplementary group ids.</summary>
    public required long[] Groups { get; init; }

    /// <summary>The systemd unit, if the kernel can vouch for one.</summary>
    public string? Unit { get; init; }

    /// <summary>The principals that grants to this caller may name.</summary>
    public required string[] Principals { get; init; }

    /// <summary>Whether the configuration names the caller as an operator.</summary>
    public required bool Operator { get; init; }

    /// <summary>The stores of which the caller is a member.</summary>
    public required StoreMembership[] Stores { get; init; }
}

/// <summary>A store and the caller's role in it.</summary>
public sealed class StoreMembership
{
    /// <summary>The store's name.</summary>
    public required string Name { get; init; }

    /// <summary>The role.</summary>
    public required StoreRole Role { get; init; }
}

/// <summary>The <c>data</c> of an error.</summary>
public sealed class ErrorDetail
{
    /// <summary>What clients branch on: a name of <see cref="KmsErrorCode"/>.</summary>
    public required string Reason { get; init; }

    /// <summary>After how many milliseconds another try may succeed.</summary>
    public long? RetryAfterMs { get; init; }

    /// <summary>The id under which the journal explains an internal error.</summary>
    public string? Incident { get; init; }

    /// <summary>What the refusal is about, where it is one thing that the caller can look at: <see cref="KmsException.OfKey"/>.</summary>
    public string? Subject { get; init; }

    /// <summary>
    /// Who may do it, where no role on a key or in a store allows it: <see cref="KmsException.OperatorRole"/> or
    /// <see cref="KmsException.RootAdministratorRole"/>.
    /// </summary>
    public string? RequiredRole { get; init; }

    /// <summary>What crosses the socket of a refusal.</summary>
    /// <param name="refusal">The refusal.</param>
    public static ErrorDetail Of(KmsException refusal)
    {
        ArgumentNullException.ThrowIfNull(refusal);
        return new ErrorDetail
        {
            Reason = refusal.Code.ToReason(),
            RetryAfterMs = (long?)refusal.RetryAfter?.TotalMilliseconds,
            Subject = refusal.Subject,
            RequiredRole = refusal.RequiredRole,
        };
    }
}
