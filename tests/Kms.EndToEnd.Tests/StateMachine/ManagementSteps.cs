using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json.Nodes;

namespace Kms.EndToEnd.Tests.StateMachine;

/// <summary>Random calls that change keys, grants and members, each with the model's word on it.</summary>
internal sealed class ManagementSteps(Dice dice, Known known, int mostRsaKeys)
{
    private const int WarnedPeriod = 365;

    private static readonly string[] s_names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta1", "theta"];
    private static readonly string[] s_others = ["uid:1000", "uid:2000", "gid:34", "uid:3000", "uid:4000", "gid:40"];
    private static readonly string[] s_roles = ["manager", "encryptor", "decryptor", "encryptorDecryptor", "reviewer"];
    private static readonly int[] s_periods = [1, 2, 30, 89, 90, 91, 365, 366, 730];
    private static readonly string[] s_memos = ["", "for the archive", "für das Archiv 🗄", "second"];

    public Step Make(Model model) => dice.PickWeighted<Func<Model, Step>>(
    [
        (model.Keys.Count < model.Limits.Keys ? 8 : 2, Create),
        (4, Update),
        (7, Rotate),
        (4, SetPeriod),
        (7, of => SetState(of, "keys.enable", "enabled")),
        (4, of => SetState(of, "keys.disable", "disabled")),
        (6, RequestDeletion),
        (3, CancelDeletion),
        (2, DeleteNow),
        (5, of => SetVersionState(of, "versions.enable", "enabled")),
        (6, of => SetVersionState(of, "versions.disable", "disabled")),
        (9, AddGrant),
        (4, RemoveGrant),
        (model.IsStoreManager ? 4 : 15, AddMember),
        (2, RemoveMember),
        (model.IsHeld ? 6 : 1, Release),
        (1, Purge),
    ])(model);

    /// <summary>Refers to a key by its name, its store and name, or its tag; now and then to one that isn't there.</summary>
    public (ModelKey? Key, string Reference) PickKey(Model model)
    {
        if (model.Keys.IsEmpty || dice.In100(4))
        {
            ModelDeleted? gone = model.Deleted.Count > 0 && dice.In100(50) ? dice.Pick(model.Deleted) : null;
            return gone is not null && known.Tags.TryGetValue(gone.Key.Number, out string? old) ? (null, old) : (null, "nowhere");
        }

        ModelKey key = dice.Pick(model.Keys);
        string name = dice.In100(20) ? key.Name.ToUpperInvariant() : key.Name;
        return (key, dice.Roll(3) switch
        {
            0 => name,
            1 => "default/" + name,
            _ => known.Tags.GetValueOrDefault(key.Number, name),
        });
    }

    private Step Create(Model model)
    {
        bool mayBeRsa = model.Keys.Count(key => key.Type == "RSA-2048") < mostRsaKeys;
        string type = dice.PickWeighted<string>([(6, "AES256-GCM96"), (mayBeRsa ? 2 : 0, "RSA-2048"), (4, "ECDSA-P256")]);
        string? protection = dice.Pick(["software", "hsm", null]);
        string name = dice.Pick(s_names);
        int? period = dice.In100(50) ? dice.Pick(s_periods) : null;
        string? memo = dice.In100(30) ? dice.Pick(s_memos) : null;
        List<(string Principal, string Role)> grants =
            [.. Enumerable.Range(0, dice.In100(70) ? 1 + dice.Roll(3) : 0).Select(number => number == 0 ? ("uid:0", PickOwnRole()) : (PickPrincipal(), dice.Pick(s_roles)))];
        JsonObject parameters = new() { ["name"] = name, ["type"] = type };
        Add(parameters, "protection", protection);
        Add(parameters, "rotationPeriodDays", period);
        Add(parameters, "memo", memo);
        if (grants.Count > 0)
        {
            parameters["grants"] = new JsonArray(
                [.. grants.Select(grant => new JsonObject { ["principal"] = grant.Principal, ["role"] = grant.Role })]);
        }

        // An operator who is no manager of the store is known there, and may not.
        List<string> causes = model.IsStoreManager ? [] : ["forbidden"];
        if (causes.Count == 0)
        {
            AddIf(causes, "alreadyExists", model.Find(name) is not null);
            AddIf(causes, "limitExceeded", model.Keys.Count >= model.Limits.Keys || grants.Count > model.Limits.Grants);
        }

        int number = model.Made;
        ModelKey key = new(number, name, type, protection ?? "software", model.Now)
        {
            Memo = memo ?? "",
            Period = period ?? 90,
            NextRotationAt = model.Now.AddDays(period ?? 90),
        };
        Model? next = model with { Keys = model.Keys.Add(key), Made = number + 1 };
        foreach ((string principal, string role) in grants)
        {
            next = next?.WithGrant(number, principal, role);
        }

        AddIf(causes, "limitExceeded", causes.Count == 0 && next is null);
        return causes.Count > 0
            ? Refused("keys.create", parameters, causes, model)
            : OfKey("keys.create", parameters, next!.Recorded, number);
    }

    private Step Update(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model);
        string? name = dice.In100(60) ? dice.Pick(s_names) : null;
        string? memo = dice.In100(60) ? dice.Pick(s_memos) : null;
        JsonObject parameters = new() { ["key"] = reference };
        Add(parameters, "name", name);
        Add(parameters, "memo", memo);
        return OnKey("keys.update", parameters, model, key, key =>
        {
            if (name is not null && model.Find(name) is ModelKey holder && holder.Number != key.Number)
            {
                return Refused("keys.update", parameters, ["alreadyExists"], model);
            }

            ModelKey changed = key with { Name = name ?? key.Name, Memo = memo ?? key.Memo };
            return OfKey("keys.update", parameters, Changed(model, key, changed), key.Number);
        });
    }

    private Step Rotate(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model);
        JsonObject parameters = new() { ["key"] = reference };
        return OnKey("keys.rotate", parameters, model, key, key =>
        {
            List<string> causes = [];
            AddIf(causes, "invalidState", key.State == "pendingDeletion");
            AddIf(causes, "limitExceeded", key.Versions.Count >= model.Limits.Versions);
            if (causes.Count > 0)
            {
                return Refused("keys.rotate", parameters, causes, model);
            }

            // The schedule stays as it was.
            Step step = OfKey("keys.rotate", parameters, model.With(key with { Versions = key.Versions.Add(new(model.Now)) }).Recorded, key.Number);
            return step with
            {
                Check = answer =>
                {
                    string advice = answer["advice"]!.GetValue<string>();
                    Assert.Contains($"version {key.Versions.Count} ", advice, StringComparison.Ordinal);
                    _ = answer.Remove("advice");
                    step.Check(answer);
                },
            };
        });
    }

    private Step SetPeriod(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model);
        int days = dice.Pick(s_periods);
        JsonObject parameters = new() { ["key"] = reference, ["days"] = days };
        return OnKey("keys.setRotationPeriod", parameters, model, key, key => OfKey(
            "keys.setRotationPeriod",
            parameters,
            Changed(model, key, key with { PendingPeriod = days == key.Period ? null : days }),
            key.Number));
    }

    private Step SetState(Model model, string method, string state)
    {
        (ModelKey? key, string reference) = PickKey(model);
        JsonObject parameters = new() { ["key"] = reference };
        return OnKey(method, parameters, model, key, key => key.State == "pendingDeletion"
            ? Refused(method, parameters, ["invalidState"], model)
            : OfKey(
                method,
                parameters,
                key.State == state ? model : model.With(key with { State = state, StateChangedAt = model.Now }).Recorded,
                key.Number));
    }

    private Step RequestDeletion(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model);
        JsonObject parameters = Confirmed(key, reference, out bool isConfirmed);
        return OnKey("keys.requestDeletion", parameters, model, key, key =>
        {
            // The state is checked first.
            string? cause = key.State == "pendingDeletion" ? "invalidState" : isConfirmed ? null : "confirmationRequired";
            ModelKey changed = key with { State = "pendingDeletion", StateChangedAt = model.Now, DeleteAt = model.Now.AddHours(72) };
            return cause is not null
                ? Refused("keys.requestDeletion", parameters, [cause], model)
                : OfKey("keys.requestDeletion", parameters, model.With(changed).Recorded, key.Number);
        });
    }

    private Step CancelDeletion(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model);
        JsonObject parameters = new() { ["key"] = reference };
        return OnKey("keys.cancelDeletion", parameters, model, key, key => key.State == "pendingDeletion"
            ? OfKey(
                "keys.cancelDeletion",
                parameters,
                model.With(key with { State = "disabled", StateChangedAt = model.Now, DeleteAt = null }).Recorded,
                key.Number)
            : Refused("keys.cancelDeletion", parameters, ["invalidState"], model));
    }

    private Step DeleteNow(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model);
        JsonObject parameters = Confirmed(key, reference, out bool isConfirmed);
        return OnKey("keys.deleteNow", parameters, model, key, key =>
        {
            List<string> causes = [];
            AddIf(causes, "invalidState", key.State != "pendingDeletion");
            AddIf(causes, "confirmationRequired", !isConfirmed);
            return causes.Count > 0
                ? Refused("keys.deleteNow", parameters, causes, model)
                : new Step("keys.deleteNow", parameters, [], model.Destroyed(key).Recorded)
                {
                    Check = answer => Assert.Equal(1, answer["recoverableUntil"]!.GetValue<int>()),
                };
        });
    }

    private Step SetVersionState(Model model, string method, string state)
    {
        (ModelKey? key, string reference) = PickKey(model);
        int number = 1 + dice.Roll((key?.Versions.Count ?? 0) + 1);
        JsonObject parameters = new() { ["key"] = reference, ["version"] = number };
        return OnKey(method, parameters, model, key, key =>
        {
            List<string> causes = [];
            AddIf(causes, "invalidState", key.State != "enabled" || number == key.Versions.Count);
            AddIf(causes, "notFound", number > key.Versions.Count);
            if (causes.Count > 0)
            {
                return Refused(method, parameters, causes, model);
            }

            ModelKey changed = key.With(
                number, version => version.State == state ? version : version with { State = state, StateChangedAt = model.Now });
            Model next = Changed(model, key, changed, key.Versions[number - 1] == changed.Versions[number - 1]);
            return new Step(method, parameters, [], next)
            {
                Check = answer => Json.Same(Model.Describe(next.Find(key.Number)!, number), answer),
            };
        });
    }

    private Step AddGrant(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model);
        bool isOwn = key is not null && !model.Allows(key, "encrypt") && dice.In100(60);
        (string principal, string role) = isOwn ? ("uid:0", PickOwnRole()) : (PickPrincipal(), dice.Pick(s_roles));
        JsonObject parameters = new() { ["key"] = reference, ["principal"] = principal, ["role"] = role };
        return OnKey("grants.add", parameters, model, key, key =>
        {
            Model? granted = model.WithGrant(key.Number, principal, role);
            return granted is null
                ? Refused("grants.add", parameters, ["limitExceeded"], model)
                : OfGrants("grants.add", parameters, ReferenceEquals(granted, model) ? model : granted.Recorded, key.Number);
        });
    }

    private Step RemoveGrant(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model);
        ModelGrant? held = key is { Grants.IsEmpty: false } && dice.In100(80) ? dice.Pick(key.Grants) : null;
        (string principal, string role) = (held?.Principal ?? PickPrincipal(), held?.Role ?? dice.Pick(s_roles));
        JsonObject parameters = new() { ["key"] = reference, ["principal"] = principal, ["role"] = role };
        return OnKey("grants.remove", parameters, model, key, key =>
        {
            ImmutableList<ModelGrant> left = key.Grants.RemoveAll(grant => grant.Principal == principal && grant.Role == role);
            return OfGrants(
                "grants.remove", parameters, left.Count == key.Grants.Count ? model : model.With(key with { Grants = left }).Recorded, key.Number);
        });
    }

    // An operator manages the members of every store.
    private Step AddMember(Model model)
    {
        string principal = model.IsStoreManager && dice.In100(90) ? dice.Pick(s_others) : PickPrincipal();
        string role = dice.In100(60) ? "manager" : "user";
        JsonObject parameters = new() { ["store"] = "default", ["principal"] = principal, ["role"] = role };
        ModelMember? held = model.Members.Find(member => member.Principal == principal);
        return held is null && model.Members.Count >= model.Limits.Members
            ? Refused("members.add", parameters, ["limitExceeded"], model)
            : OfMembers("members.add", parameters, held?.Role == role ? model : model.WithMember(principal, role).Recorded);
    }

    private Step RemoveMember(Model model)
    {
        string principal = dice.In100(10) ? "uid:0" : dice.Pick(s_others);
        string? role = dice.Pick(["manager", "user", null, null]);
        JsonObject parameters = new() { ["store"] = "default", ["principal"] = principal };
        Add(parameters, "role", role);
        ModelMember? held = model.Members.Find(member => member.Principal == principal);
        return OfMembers(
            "members.remove",
            parameters,
            held is null || (role is not null && role != held.Role) ? model : model.WithoutMember(held).Recorded);
    }

    // What waited is deleted at the next look.
    private Step Release(Model model) =>
        new(Walk.ReleaseMethod, [], [], (model with { IsHeld = false, Stored = model.Now }).Recorded.Looked());

    private Step Purge(Model model)
    {
        ModelDeleted? deleted = model.Deleted.Count > 0 ? dice.Pick(model.Deleted) : null;
        string tag = deleted is null ? new string('0', 32) : known.Tags.GetValueOrDefault(deleted.Key.Number, new string('0', 32));
        JsonObject parameters = new() { ["tag"] = tag, ["reason"] = "its owner asked" };
        return deleted is null || !known.Tags.ContainsKey(deleted.Key.Number)
            ? Refused("deletedKeys.purge", parameters, ["notFound"], model)
            : new Step("deletedKeys.purge", parameters, [], (model with { Deleted = model.Deleted.Remove(deleted) }).Recorded);
    }

    /// <summary>One that lets the caller use the key, more often than not.</summary>
    private string PickOwnRole() => dice.In100(70) ? dice.Pick(["manager", "encryptorDecryptor"]) : dice.Pick(s_roles);

    /// <summary>The caller himself more often than others.</summary>
    private string PickPrincipal() => dice.In100(25) ? "uid:0" : dice.Pick(s_others);

    private JsonObject Confirmed(ModelKey? key, string reference, out bool isConfirmed)
    {
        string? typed = dice.PickWeighted<string?>([(70, key?.Name), (15, null), (15, key?.Name.ToUpperInvariant())]);
        isConfirmed = key is null || key.Grants.IsEmpty || typed == key.Name;
        JsonObject parameters = new() { ["key"] = reference };
        Add(parameters, "confirmName", typed);
        return parameters;
    }

    private static Step OnKey(string method, JsonObject parameters, Model model, ModelKey? key, Func<ModelKey, Step> make) =>
        model.Denies(key, "manage") is string reason ? Refused(method, parameters, [reason], model) : make(key!);

    private static Step Refused(string method, JsonObject parameters, IEnumerable<string> reasons, Model model) =>
        new(method, parameters, [.. reasons.Distinct()], model);

    /// <summary>What is as it was before is no change, and not in the history.</summary>
    private static Model Changed(Model model, ModelKey before, ModelKey after, bool? isSame = null) =>
        isSame ?? before == after ? model : model.With(after).Recorded;

    /// <summary>A success that answers with the key.</summary>
    private Step OfKey(string method, JsonObject parameters, Model next, int number) =>
        new(method, parameters, [], next) { Check = answer => CheckKey(next, number, answer) };

    /// <summary>Every member of a key, exactly.</summary>
    public void CheckKey(Model model, int number, JsonObject answer)
    {
        string tag = known.Tags.TryGetValue(number, out string? learned) ? learned : answer["tag"]!.GetValue<string>();
        known.Tags[number] = tag;
        ModelKey key = model.Find(number)!;
        string warnings = answer["warnings"]?.ToJsonString() ?? "";
        _ = answer.Remove("warnings");
        foreach (int days in new[] { key.Period, key.PendingPeriod ?? key.Period }.Distinct())
        {
            Assert.Equal(days > WarnedPeriod, warnings.Contains(string.Create(CultureInfo.InvariantCulture, $" {days} days"), StringComparison.Ordinal));
        }

        Json.Same(model.Describe(key, tag), answer);
    }

    private static Step OfGrants(string method, JsonObject parameters, Model next, int number) => new(method, parameters, [], next)
    {
        Check = answer => Json.Same(Model.DescribeGrants(next.Find(number)!), Json.WithoutNames(answer["grants"]!)),
    };

    private static Step OfMembers(string method, JsonObject parameters, Model next) => new(method, parameters, [], next)
    {
        Check = answer => Json.Same(next.DescribeMembers(), Json.WithoutNames(answer["members"]!)),
    };

    private static void Add(JsonObject parameters, string name, JsonNode? value)
    {
        if (value is not null)
        {
            parameters[name] = value;
        }
    }

    private static void AddIf(List<string> causes, string cause, bool applies)
    {
        if (applies)
        {
            causes.Add(cause);
        }
    }
}
