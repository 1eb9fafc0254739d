using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Keys and grants as they are told to a caller.</summary>
internal static class KeyDescriptions
{
    public static KeyDescription Describe(this Catalogue catalogue, Key key, Caller caller, string? advice = null)
    {
        Usage usage = key.Usage.Committed;
        KeyStore store = catalogue.Stores[key.StoreId];
        return new KeyDescription
        {
            Tag = key.Tag.Text,
            Name = key.Name,
            Store = store.Name,
            Type = key.Type,
            Protection = key.Protection,
            State = key.State,
            Memo = key.Memo,
            CurrentVersion = key.Versions.Length,
            CreatedAt = key.CreatedAt,
            StateChangedAt = key.StateChangedAt,
            RotationPeriodDays = key.RotationPeriodDays,
            PendingRotationPeriodDays = key.PendingRotationPeriodDays,
            NextRotationAt = key.NextRotationAt,
            DeleteAt = key.DeleteAt,
            UsageCount = usage.Calls,
            LastUsedAt = usage.LastUsedAt,
            MyRoles = [.. RolesOf(store, key, caller)],
            Advice = advice,
            Warnings = WarningsOf(key),
        };
    }

    public static VersionDescription Describe(this Key key, KeyVersion version)
    {
        Usage usage = version.Usage.Committed;
        return new VersionDescription
        {
            Version = version.Number,
            State = version.State == KeyState.Enabled ? VersionState.Enabled : VersionState.Disabled,
            EffectiveState = key.EffectiveStateOf(version),
            CreatedAt = version.CreatedAt,
            StateChangedAt = version.StateChangedAt,
            UsageCount = usage.Calls,
            ItemCount = usage.Items,
            LastUsedAt = usage.LastUsedAt,
            RootGeneration = version.Material.Generation,
        };
    }

    public static GrantsResult DescribeGrants(this Key key) => new() { Grants = [.. key.Grants.Select(Describe)] };

    public static GrantDescription Describe(Grant grant) => new()
    {
        Principal = grant.Principal.ToString(),
        Display = grant.Principal.Display,
        Role = grant.Role,
        GrantedAt = grant.GrantedAt,
    };

    private static string[]? WarningsOf(Key key)
    {
        List<string> warnings = [];
        if (key.IsQuarantined)
        {
            warnings.Add("What is stored of this key doesn't match its authentication code; it isn't served.");
        }

        // Of the one that is to come too: its setter must hear it now.
        int[] periods = [key.RotationPeriodDays, key.PendingRotationPeriodDays ?? key.RotationPeriodDays];
        warnings.AddRange(periods.Distinct().Where(days => days > Limits.RotationPeriodDaysWarned)
            .Select(days => $"The rotation period of {days} days is longer than {Limits.RotationPeriodDaysWarned}."));

        return warnings.Count > 0 ? [.. warnings] : null;
    }

    private static IEnumerable<string> RolesOf(KeyStore store, Key key, Caller caller)
    {
        IEnumerable<string> roles = key.Grants.Where(grant => caller.Is(grant.Principal))
            .Select(grant => grant.Role).Distinct().Order().Select(role => Wire.KeyRoles[role]);
        return store.RoleOf(caller) == StoreRole.Manager ? roles.Append("store:" + Wire.StoreRoles[StoreRole.Manager]) : roles;
    }
}
