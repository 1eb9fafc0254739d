using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Integrity;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Rpc;

/// <summary>Whether the service is well; more of it for operators: <c>system.status</c>.</summary>
internal sealed class ReadStatus(
    CatalogueLedger catalogue, ProveHistory history, ProveNotices notices, RootKey root, RootStatus rootStatus, Anchor? anchor, Writer writer, Operators operators,
    ConnectionCounter connections, TimeProvider clock)
{
    private const string Ok = "ok";
    private const string Unavailable = "unavailable";
    private const int MostNamed = 100;
    private const string FindOut = "Find out who did; put the database back from a backup: kmsd restore FILE.";

    public StatusResult Run(Caller caller)
    {
        string token = root.IsAvailable ? Ok : Unavailable;
        string database = catalogue.Current.HasQuarantine || history.Last?.Verdict.IsGood == false || notices.Bad > 0
            ? KmsErrorCode.IntegrityFailure.ToReason()
            : writer.IsHealthy ? Ok : Unavailable;
        bool isOverdue = rootStatus.IsOverdue(clock.GetUtcNow());
        StoredGeneration current = rootStatus.Current;
        StatusResult status = new()
        {
            Status = token == Ok && database == Ok && !isOverdue && anchor?.IsBehind != true ? Ok : "degraded",
            Version = ProductVersion.Text,
            Token = token,
            Database = database,
        };
        return operators.Contains(caller)
            ? new StatusResult
            {
                Status = status.Status,
                Version = status.Version,
                Token = token,
                Database = database,
                Root = new RootDescription
                {
                    Generation = current.Number,
                    Origin = current.Origin,
                    CreatedAt = current.CreatedAt,
                    RotateBy = current.RotateBy,
                    Custody = current.Custody,
                },
                Quarantine = DescribeQuarantine(),
                Weaknesses = [.. Weaknesses(isOverdue)],
                Connections = connections.Count,
                Queue = writer.QueueLength,
            }
            : status;
    }

    /// <summary>As they are stored, with the tag or the id that the journal gives.</summary>
    private IEnumerable<string> NamesOfQuarantined()
    {
        Catalogue snapshot = catalogue.Current;
        IEnumerable<string> keys = snapshot.Quarantined.Select(tag => snapshot.Keys.TryGetValue(tag, out Key? key)
            ? $"key {snapshot.Stores[key.StoreId].Name}/{key.Name}, {tag.Text}"
            : $"key {tag.Text}, of which nothing more can be read");
        IEnumerable<string> stores = snapshot.Stores.Values.Where(store => store.IsQuarantined)
            .OrderBy(store => store.Name, StringComparer.Ordinal).Select(store => $"store {store.Name}, {store.Id}");
        return keys.Take(MostNamed).Concat(stores.Take(MostNamed));
    }

    private QuarantineDescription? DescribeQuarantine()
    {
        Catalogue snapshot = catalogue.Current;
        if (!snapshot.HasQuarantine)
        {
            return null;
        }

        QuarantineDescription found = new()
        {
            Keys = snapshot.Quarantined.Length,
            Tags = [.. snapshot.Quarantined.Take(MostNamed).Select(tag => tag.Text)],
            Stores = [.. snapshot.Stores.Values.Where(store => store.IsQuarantined).Select(store => store.Name).Order(StringComparer.Ordinal).Take(MostNamed)],
        };
        return found.Keys > 0 || found.Stores.Length > 0 ? found : null;
    }

    private IEnumerable<string> Weaknesses(bool isOverdue)
    {
        if (DescribeQuarantine() is { } quarantine)
        {
            yield return string.Create(
                CultureInfo.InvariantCulture,
                $"quarantine: {quarantine.Keys} {(quarantine.Keys == 1 ? "key" : "keys")} and {quarantine.Stores.Length} {(quarantine.Stores.Length == 1 ? "store" : "stores")} aren't served: what is stored of them was changed from outside, maybe their names as well ({string.Join(", ", NamesOfQuarantined())}). {FindOut}");
        }

        if (catalogue.Current.BadRemains is > 0 and int bad)
        {
            yield return string.Create(
                CultureInfo.InvariantCulture,
                $"database: what remains of {bad} deleted {(bad == 1 ? "key" : "keys")} was changed from outside, and isn't listed; the journal says which (3005). {FindOut}");
        }

        if (catalogue.Current.IsOrphaned)
        {
            yield return "database: rows of keys belong to nothing, or counters don't add up; the journal says which (3003, 3004). The database was changed from outside. " + FindOut;
        }

        if (history.Last?.Verdict.FirstBad is long badEntry)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"history: entry {badEntry} isn't as it was written, is missing, or was erased without a purge. The database was changed from outside.");
        }

        if (notices.Bad > 0)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"notifications: {notices.Bad} of them, of their days, or of their readers' marks aren't as they were written. The database was changed from outside.");
        }

        if (rootStatus.Current.Shares is null)
        {
            yield return "custody: none. Nobody holds a share of the root key: if the token is lost, every key is. Back the token up.";
        }

        if (anchor is null)
        {
            yield return "anchor: off. A database replaced as a whole by an older copy of itself isn't noticed.";
        }
        else if (anchor.IsBehind)
        {
            yield return "anchor: behind. The token couldn't be told of the last change; it will be once it answers.";
        }

        if (root.TokenFamily.Contains("SoftHSM", StringComparison.OrdinalIgnoreCase))
        {
            yield return "token: SoftHSM keeps its keys in files of this host. It is for trials.";
        }

        if (isOverdue)
        {
            yield return "root: the root key is past its rotation date.";
        }
    }
}

/// <summary>What the kernel says of the caller, and what follows from it: <c>system.whoAmI</c>.</summary>
internal sealed class DescribeCaller(CatalogueLedger catalogue, Operators operators)
{
    public WhoAmIResult Run(Caller caller) => new()
    {
        Uid = caller.Uid,
        Gid = caller.Gid,
        Groups = [.. caller.Groups.Select(group => (long)group)],
        Unit = caller.Unit?.Text,
        Principals = [.. caller.Principals.Select(principal => principal.ToString())],
        Operator = operators.Contains(caller),
        Stores =
        [
            .. catalogue.Current.StoreNames.Values.Select(id => catalogue.Current.Stores[id])
                .Select(store => (Store: store, Role: store.RoleOf(caller)))
                .Where(membership => membership.Role != StoreRole.None)
                .Select(membership => new StoreMembership { Name = membership.Store.Name, Role = membership.Role }),
        ],
    };
}
