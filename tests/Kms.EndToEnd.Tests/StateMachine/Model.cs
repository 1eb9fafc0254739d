using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json.Nodes;

namespace Kms.EndToEnd.Tests.StateMachine;

/// <summary>A principal's place in the store.</summary>
internal sealed record ModelMember(string Principal, string Role, DateTimeOffset Since);

/// <summary>A principal's role on a key.</summary>
internal sealed record ModelGrant(string Principal, string Role, DateTimeOffset GrantedAt);

/// <summary>A version of a key.</summary>
internal sealed record ModelVersion(DateTimeOffset CreatedAt)
{
    public string State { get; init; } = "enabled";

    public DateTimeOffset StateChangedAt { get; init; } = CreatedAt;

    public int Calls { get; init; }

    public int Items { get; init; }

    public DateTimeOffset? LastUsedAt { get; init; }
}

/// <summary>A key. Its number is the model's own name for it, since the tag is the daemon's choice.</summary>
internal sealed record ModelKey(int Number, string Name, string Type, string Protection, DateTimeOffset CreatedAt)
{
    public string State { get; init; } = "enabled";

    public string Memo { get; init; } = "";

    public DateTimeOffset StateChangedAt { get; init; } = CreatedAt;

    public int Period { get; init; } = 90;

    public int? PendingPeriod { get; init; }

    public DateTimeOffset NextRotationAt { get; init; }

    public DateTimeOffset? DeleteAt { get; init; }

    public ImmutableList<ModelVersion> Versions { get; init; } = [new(CreatedAt)];

    public ImmutableList<ModelGrant> Grants { get; init; } = [];

    public int Calls { get; init; }

    public DateTimeOffset? LastUsedAt { get; init; }

    public ModelVersion? Version(long number) => number >= 1 && number <= Versions.Count ? Versions[(int)number - 1] : null;

    public ModelKey With(int version, Func<ModelVersion, ModelVersion> change) =>
        this with { Versions = Versions.SetItem(version - 1, change(Versions[version - 1])) };

    /// <summary>The timed rotation: one, however many periods passed; the next on the key's own grid.</summary>
    public ModelKey RotatedAt(DateTimeOffset now)
    {
        int period = PendingPeriod ?? Period;
        DateTimeOffset next = NextRotationAt;
        while (next <= now)
        {
            next = next.AddDays(period);
        }

        return this with { Versions = Versions.Add(new(now)), Period = period, PendingPeriod = null, NextRotationAt = next };
    }
}

/// <summary>What remains of a deleted key.</summary>
internal sealed record ModelDeleted(ModelKey Key, DateTimeOffset DeletedAt)
{
    public DateTimeOffset PurgeAt => DeletedAt.AddYears(1);
}

/// <summary>What bounds the daemon under test.</summary>
internal sealed record ModelLimits(int Keys, int Grants, int Members, int Versions);

/// <summary>
/// What the daemon must hold, in the words of <c>docs/api.md</c>: no storage, no cryptography, no threads, and no code of ours.
/// Every change gives another model, so that the one before is still there when nobody knows whether a change happened.
/// </summary>
internal sealed record Model(ModelLimits Limits, ImmutableArray<string> Caller, DateTimeOffset Now)
{
    private static readonly TimeSpan s_longestGap = TimeSpan.FromHours(24);

    private static readonly string[] s_roleOrder = ["manager", "encryptor", "decryptor", "encryptorDecryptor", "reviewer"];

    // The permission matrix; "store" is the store's manager.
    private static readonly Dictionary<string, string[]> s_allowed = new()
    {
        ["see"] = ["store", "manager", "encryptor", "decryptor", "encryptorDecryptor", "reviewer"],
        ["seeVersions"] = ["store", "manager", "reviewer"],
        ["manage"] = ["store", "manager"],
        ["encrypt"] = ["manager", "encryptor", "encryptorDecryptor"],
        ["decrypt"] = ["manager", "decryptor", "encryptorDecryptor"],
    };

    public ImmutableList<ModelMember> Members { get; init; } = [];

    public ImmutableList<ModelKey> Keys { get; init; } = [];

    public ImmutableList<ModelDeleted> Deleted { get; init; } = [];

    /// <summary>How many keys were ever made: the next number.</summary>
    public int Made { get; init; }

    /// <summary>How many entries the history has.</summary>
    public int Entries { get; init; } = 1;

    /// <summary>The time of the last look, and the one on the disk; whether deletions wait.</summary>
    public DateTimeOffset Seen { get; init; } = Now;

    public DateTimeOffset Stored { get; init; } = Now;

    public bool IsHeld { get; init; }

    public bool IsStoreManager => Members.Any(member => member.Role == "manager" && Caller.Contains(member.Principal));

    public ModelKey? Find(string name) => Keys.Find(key => key.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    public ModelKey? Find(int number) => Keys.Find(key => key.Number == number);

    public Model With(ModelKey key) => this with { Keys = Keys.SetItem(Keys.FindIndex(old => old.Number == key.Number), key) };

    /// <summary>With one entry more in the history.</summary>
    public Model Recorded => this with { Entries = Entries + 1 };

    /// <summary>
    /// What is refused is an entry as well, unless it was carried out and is one already, or the caller has no right to the key
    /// and may not even know of it.
    /// </summary>
    public Step WithRefusal(Step step, Known known)
    {
        bool isRefused = !step.Reasons.IsEmpty && step.Next.Entries == Entries && step.Method != "keys.getPublicKey";
        if (!isRefused || (step.Parameters["key"] is JsonNode reference && !IsSeen(reference.GetValue<string>(), known)))
        {
            return step;
        }

        return step with { Next = step.Next.Recorded };
    }

    private bool IsSeen(string reference, Known known)
    {
        int number = known.Tags.Where(tag => tag.Value == reference).Select(tag => tag.Key).FirstOrDefault(-1);
        ModelKey? key = number >= 0 ? Find(number) : Find(reference[(reference.IndexOf('/', StringComparison.Ordinal) + 1)..]);
        return key is not null && Allows(key, "see");
    }

    public bool Allows(ModelKey key, string action) => (IsStoreManager && s_allowed[action].Contains("store"))
        || key.Grants.Any(grant => Caller.Contains(grant.Principal) && s_allowed[action].Contains(grant.Role));

    /// <summary>Why the caller may not, if he may not.</summary>
    public string? Denies(ModelKey? key, string action) =>
        key is null || !Allows(key, "see") ? "notFound" : Allows(key, action) ? null : "forbidden";

    /// <summary>A daemon that looks at its clock.</summary>
    public Model Looked()
    {
        bool isHeld = IsHeld || Now - Seen > s_longestGap;
        Model model = this with
        {
            Seen = Now,
            IsHeld = isHeld,
            Stored = isHeld || (Now - Stored).Duration() < TimeSpan.FromMinutes(1) ? Stored : Now,
        };
        foreach (ModelKey key in Keys.Where(key => key.NextRotationAt <= Now))
        {
            model = model.With(key.RotatedAt(Now)).Recorded;
        }

        foreach (ModelKey key in model.Keys.Where(key => !isHeld && key.State == "pendingDeletion" && key.DeleteAt <= Now))
        {
            model = model.Destroyed(key).Recorded;
        }

        foreach (ModelDeleted deleted in model.Deleted.Where(deleted => deleted.PurgeAt <= Now))
        {
            model = (model with { Deleted = model.Deleted.Remove(deleted) }).Recorded;
        }

        return model;
    }

    /// <summary>A daemon that starts, whatever ended the one before.</summary>
    public Model Restarted() => (this with { Seen = Stored, IsHeld = false }).Looked();

    public Model Destroyed(ModelKey key) => this with { Keys = Keys.Remove(key), Deleted = Deleted.Add(new(key, Now)) };

    /// <summary>Who gets a role on a key becomes a member.</summary>
    public Model WithMember(string principal, string role)
    {
        ModelMember made = new(principal, role, Now);
        int index = Members.FindIndex(member => member.Principal == principal);
        return this with { Members = index < 0 ? Members.Add(made) : Members.SetItem(index, made) };
    }

    /// <summary>Null where a limit is passed.</summary>
    public Model? WithGrant(int number, string principal, string role)
    {
        ModelKey key = Find(number)!;
        if (key.Grants.Any(grant => grant.Principal == principal && grant.Role == role))
        {
            return this;
        }

        bool isMember = Members.Any(member => member.Principal == principal);
        if (key.Grants.Count >= Limits.Grants || (!isMember && Members.Count >= Limits.Members))
        {
            return null;
        }

        Model granted = With(key with { Grants = key.Grants.Add(new(principal, role, Now)) });
        return isMember ? granted : granted.WithMember(principal, "user");
    }

    /// <summary>Each grant that ends with the membership has an entry of its own.</summary>
    public Model WithoutMember(ModelMember member) => this with
    {
        Entries = Entries + Keys.Sum(key => key.Grants.Count(grant => grant.Principal == member.Principal)),
        Members = Members.Remove(member),
        Keys = [.. Keys.Select(key => key with { Grants = key.Grants.RemoveAll(grant => grant.Principal == member.Principal) })],
    };

    /// <summary>A request that was carried out: the key counts one, and each version it touched one, with the items it sealed.</summary>
    public Model Used(ModelKey key, params IEnumerable<(int Version, int Sealed)> touched)
    {
        ModelKey used = key with { Calls = key.Calls + 1, LastUsedAt = Now };
        foreach ((int version, int count) in touched)
        {
            used = used.With(version, old => old with { Calls = old.Calls + 1, Items = old.Items + count, LastUsedAt = Now });
        }

        return With(used).Recorded;
    }

    // ---- as the daemon tells it ----

    public JsonObject Describe(ModelKey key, string? tag)
    {
        IEnumerable<string> roles = s_roleOrder.Where(
            role => key.Grants.Any(grant => grant.Role == role && Caller.Contains(grant.Principal)));
        return WithoutNulls(new()
        {
            ["tag"] = tag,
            ["name"] = key.Name,
            ["store"] = "default",
            ["type"] = key.Type,
            ["protection"] = key.Protection,
            ["state"] = key.State,
            ["memo"] = key.Memo,
            ["currentVersion"] = key.Versions.Count,
            ["createdAt"] = Text(key.CreatedAt),
            ["stateChangedAt"] = Text(key.StateChangedAt),
            ["rotationPeriodDays"] = key.Period,
            ["pendingRotationPeriodDays"] = key.PendingPeriod,
            ["nextRotationAt"] = Text(key.NextRotationAt),
            ["deleteAt"] = Text(key.DeleteAt),
            ["usageCount"] = key.Calls,
            ["lastUsedAt"] = Text(key.LastUsedAt),
            ["myRoles"] = new JsonArray([.. roles.Concat(IsStoreManager ? ["store:manager"] : []).Select(role => JsonValue.Create(role))]),
        });
    }

    public static JsonObject Describe(ModelKey key, int number)
    {
        ModelVersion version = key.Versions[number - 1];
        return WithoutNulls(new()
        {
            ["version"] = number,
            ["state"] = version.State,
            ["effectiveState"] = key.State == "enabled" ? version.State : key.State,
            ["createdAt"] = Text(version.CreatedAt),
            ["stateChangedAt"] = Text(version.StateChangedAt),
            ["usageCount"] = version.Calls,
            ["itemCount"] = version.Items,
            ["lastUsedAt"] = Text(version.LastUsedAt),
            ["rootGeneration"] = 1,
        });
    }

    public static JsonObject Describe(ModelDeleted deleted, string? tag) => WithoutNulls(new()
    {
        ["tag"] = tag,
        ["name"] = deleted.Key.Name,
        ["store"] = "default",
        ["type"] = deleted.Key.Type,
        ["protection"] = deleted.Key.Protection,
        ["createdAt"] = Text(deleted.Key.CreatedAt),
        ["deletionRequestedAt"] = Text(deleted.Key.StateChangedAt),
        ["deletedAt"] = Text(deleted.DeletedAt),
        ["purgeAt"] = Text(deleted.PurgeAt),
        ["versions"] = deleted.Key.Versions.Count,
        ["usageCount"] = deleted.Key.Calls,
        ["itemCount"] = deleted.Key.Versions.Sum(version => version.Items),
        ["lastUsedAt"] = Text(deleted.Key.LastUsedAt),
        ["grants"] = DescribeGrants(deleted.Key),
    });

    /// <summary>Without the names of principals, which are the host's affair; in the order of principal and role.</summary>
    public static JsonArray DescribeGrants(ModelKey key) => Sorted(key.Grants.Select(grant => new JsonObject
    {
        ["principal"] = grant.Principal,
        ["role"] = grant.Role,
        ["grantedAt"] = Text(grant.GrantedAt),
    }));

    public JsonArray DescribeMembers() => Sorted(Members.Select(member => new JsonObject
    {
        ["principal"] = member.Principal,
        ["role"] = member.Role,
        ["since"] = Text(member.Since),
    }));

    public static JsonArray Sorted(IEnumerable<JsonNode?> nodes) =>
        new([.. nodes.OrderBy(node => node!.ToJsonString(), StringComparer.Ordinal).Select(node => node!.DeepClone())]);

    private static JsonObject WithoutNulls(JsonObject made)
    {
        foreach (string name in made.Where(member => member.Value is null).Select(member => member.Key).ToList())
        {
            _ = made.Remove(name);
        }

        return made;
    }

    private static string? Text(DateTimeOffset? time) => time?.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);
}
