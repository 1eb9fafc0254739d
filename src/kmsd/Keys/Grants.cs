using System.Globalization;
using System.Text;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Notifications;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>The grants on a key: <c>grants.list</c>.</summary>
internal sealed class ListGrants(CatalogueLedger catalogue)
{
    public GrantsResult Run(Caller caller, KeyRequest request) =>
        catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.Manage).DescribeGrants();
}

/// <summary>Gives a principal a role on a key: <c>grants.add</c>.</summary>
internal sealed class AddGrant(
    CatalogueLedger catalogue, GrantBook grants, HistoryLog history, NoticeLog notices, Writer writer, TimeProvider clock)
{
    public async Task<GrantsResult> RunAsync(Caller caller, GrantRequest request, CancellationToken cancellationToken)
    {
        var reference = KeyReference.Parse(request.Key);
        _ = catalogue.Current.Require(caller, reference, KeyAction.Manage);
        var principal = Principal.Parse(request.Principal);
        Key changed = await writer.ChangeAsync(
            () =>
            {
                Key key = catalogue.Staged.Require(caller, reference, KeyAction.Manage);
                DateTimeOffset now = clock.GetUtcNow();
                if (grants.Add(key.Tag, principal, request.Role, now))
                {
                    _ = history.Append(GrantEntries.Make("grants.add", caller, key, principal, request.Role, now));
                    notices.Append(catalogue.Staged.To([principal], key, NoticeKind.GrantAdded, caller, now, Wire.KeyRoles[request.Role]));
                }

                return catalogue.Staged.Keys[key.Tag];
            },
            cancellationToken);

        // Outside the writer: names come from the host's name service, which may be slow.
        return changed.DescribeGrants();
    }
}

/// <summary>Takes a role on a key away: <c>grants.remove</c>.</summary>
internal sealed class RemoveGrant(CatalogueLedger catalogue, HistoryLog history, NoticeLog notices, Writer writer, TimeProvider clock)
{
    public async Task<GrantsResult> RunAsync(Caller caller, GrantRequest request, CancellationToken cancellationToken)
    {
        var reference = KeyReference.Parse(request.Key);
        _ = catalogue.Current.Require(caller, reference, KeyAction.Manage);
        var principal = Principal.Parse(request.Principal);
        Key changed = await writer.ChangeAsync(
            () =>
            {
                Key key = catalogue.Staged.Require(caller, reference, KeyAction.Manage);
                Grant? held = key.Grants.FirstOrDefault(grant => grant.Principal == principal && grant.Role == request.Role);
                if (held is not null)
                {
                    catalogue.Remove(key.Tag, held);
                    DateTimeOffset now = clock.GetUtcNow();
                    _ = history.Append(GrantEntries.Make("grants.remove", caller, key, principal, request.Role, now));
                    notices.Append(catalogue.Staged.To([principal], key, NoticeKind.GrantRemoved, caller, now, Wire.KeyRoles[request.Role]));
                }

                return catalogue.Staged.Keys[key.Tag];
            },
            cancellationToken);

        // Outside the writer: names come from the host's name service, which may be slow.
        return changed.DescribeGrants();
    }
}

/// <summary>What the history keeps of a grant or its end.</summary>
internal static class GrantEntries
{
    // A key may have as many grants as is configured, a unit's name 255 characters: an entry names as many grants as fit.
    private const int MostCharacters = 1000;

    /// <param name="operation">The method.</param>
    /// <param name="caller">Who did it.</param>
    /// <param name="key">On which key.</param>
    /// <param name="principal">Whose grant it is or was.</param>
    /// <param name="role">His role.</param>
    /// <param name="now">The time.</param>
    /// <param name="why">What else is to be said; "": nothing.</param>
    public static HistoryEntry Make(
        string operation, Caller caller, Key key, Principal principal, KeyRole role, DateTimeOffset now, string why = "") => new()
        {
            At = now,
            Scope = HistoryScope.Key,
            Operation = operation,
            Caller = caller,
            StoreId = key.StoreId.ToBytes(),
            Tag = key.Tag,
            Detail = Describe(principal, role) + why,
        };

    /// <summary>The name of a key that is made, and who gets which role on it.</summary>
    public static string DescribeNew(Key key, IReadOnlyCollection<(Principal Principal, KeyRole Role)> grants)
    {
        StringBuilder text = new(key.Name);
        int told = 0;
        foreach (string grant in grants.Select(grant => Describe(grant.Principal, grant.Role)))
        {
            if (text.Length + grant.Length > MostCharacters)
            {
                break;
            }

            _ = text.Append(told++ == 0 ? ": " : ", ").Append(grant);
        }

        return told == grants.Count ? text.ToString() : text.Append(CultureInfo.InvariantCulture, $" and {grants.Count - told} more").ToString();
    }

    private static string Describe(Principal principal, KeyRole role) => $"{principal} {Wire.KeyRoles[role]}";
}
