using System.Collections.Immutable;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>What remains of a key whose material is destroyed: kept for operators for a year, then purged.</summary>
internal sealed record DeletedKey
{
    public required KeyTag Tag { get; init; }

    public required StoreId StoreId { get; init; }

    public required string Store { get; init; }

    public required string Name { get; init; }

    public required KeyType Type { get; init; }

    public required KeyProtection Protection { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required DateTimeOffset RequestedAt { get; init; }

    public required DateTimeOffset DeletedAt { get; init; }

    public required DateTimeOffset PurgeAt { get; init; }

    public required long Versions { get; init; }

    public required long UsageCount { get; init; }

    public required long ItemCount { get; init; }

    public required DateTimeOffset? LastUsedAt { get; init; }

    /// <summary>Those that stood at the end.</summary>
    public required ImmutableArray<Grant> Grants { get; init; }

    /// <summary>The grants as they are stored: one a line, principal, role and time in milliseconds.</summary>
    public string GrantsText => string.Join('\n', Grants.Select(grant => string.Create(
        CultureInfo.InvariantCulture, $"{grant.Principal} {Wire.KeyRoles[grant.Role]} {grant.GrantedAt.ToUnixTimeMilliseconds()}")));

    /// <summary>Reads what <see cref="GrantsText"/> wrote.</summary>
    /// <exception cref="FormatException">It is something else.</exception>
    public static ImmutableArray<Grant> ParseGrants(string text) =>
    [
        .. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
            line.Split(' ') is [string principal, string name, string at] && Wire.KeyRoles.TryParse(name, out KeyRole role)
                ? new Grant(
                    Principal.FromStored(principal),
                    role,
                    DateTimeOffset.FromUnixTimeMilliseconds(long.Parse(at, NumberStyles.None, CultureInfo.InvariantCulture)))
                : throw new FormatException("This is no stored grant.")),
    ];
}
