using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.Storage;

namespace Kmsd.Stores;

/// <summary>The members of a store: <c>members.list</c>.</summary>
internal sealed class ListMembers(CatalogueLedger catalogue, Operators operators)
{
    public MembersResult Run(Caller caller, ListMembersRequest request) =>
        catalogue.Current.Require(caller, operators, request.Store, StoreAction.ManageMembers).DescribeMembers();
}

/// <summary>Makes a principal a member, or changes his role: <c>members.add</c>.</summary>
internal sealed class AddMember(
    CatalogueLedger catalogue, GrantBook grants, HistoryLog history, Writer writer, Operators operators, TimeProvider clock)
{
    public async Task<MembersResult> RunAsync(Caller caller, AddMemberRequest request, CancellationToken cancellationToken)
    {
        _ = catalogue.Current.Require(caller, operators, request.Store, StoreAction.ManageMembers);
        var principal = Principal.Parse(request.Principal);
        KeyStore changed = await writer.ChangeAsync(
            () =>
            {
                KeyStore store = catalogue.Staged.Require(caller, operators, request.Store, StoreAction.ManageMembers);
                Member? held = store.FindMember(principal);
                if (held?.Role != request.Role)
                {
                    LastManager.Keep(store, held, operators, caller);
                    DateTimeOffset now = clock.GetUtcNow();
                    grants.AddMember(store, new Member(principal, request.Role, now));
                    _ = history.Append(MemberDescriptions.Entry(
                        "members.add", caller, store, $"{principal} {Wire.StoreRoles[request.Role]}", now));
                }

                return catalogue.Staged.Stores[store.Id];
            },
            cancellationToken);

        // Outside the writer: names come from the host's name service, which may be slow.
        return changed.DescribeMembers();
    }
}

/// <summary>Ends a membership and every grant that went with it: <c>members.remove</c>.</summary>
internal sealed class RemoveMember(
    CatalogueLedger catalogue, GrantBook grants, HistoryLog history, NoticeLog notices, Writer writer, Operators operators, TimeProvider clock)
{
    public async Task<MembersResult> RunAsync(Caller caller, RemoveMemberRequest request, CancellationToken cancellationToken)
    {
        _ = catalogue.Current.Require(caller, operators, request.Store, StoreAction.ManageMembers);
        var principal = Principal.Parse(request.Principal);
        KeyStore changed = await writer.ChangeAsync(
            () =>
            {
                KeyStore store = catalogue.Staged.Require(caller, operators, request.Store, StoreAction.ManageMembers);
                if (store.FindMember(principal) is Member held && (request.Role is null || request.Role == held.Role))
                {
                    LastManager.Keep(store, held, operators, caller);
                    DateTimeOffset now = clock.GetUtcNow();
                    IReadOnlyList<(Key Key, KeyRole Role)> ended = grants.EndAll(store.Id, principal);
                    catalogue.Remove(store.Id, held);
                    _ = history.Append(MemberDescriptions.Entry(
                        "members.remove", caller, store, $"{principal} {Wire.StoreRoles[held.Role]}, {ended.Count} {(ended.Count == 1 ? "grant" : "grants")} ended", now));
                    foreach ((Key key, KeyRole role) in ended)
                    {
                        // For whoever may read the history of that key, but not the store's.
                        _ = history.Append(GrantEntries.Make("grants.remove", caller, key, principal, role, now, ", ended with the membership"));
                    }

                    foreach (IGrouping<Key, KeyRole> lost in ended.GroupBy(grant => grant.Key, grant => grant.Role))
                    {
                        notices.Append(catalogue.Staged.To(
                            [principal], lost.Key, NoticeKind.GrantRemoved, caller, now, string.Join(", ", lost.Select(role => Wire.KeyRoles[role]))));
                    }
                }

                return catalogue.Staged.Stores[store.Id];
            },
            cancellationToken);

        // Outside the writer: names come from the host's name service, which may be slow.
        return changed.DescribeMembers();
    }
}

/// <summary>A store keeps its last manager, unless an operator takes him away.</summary>
internal static class LastManager
{
    /// <exception cref="KmsException"><c>forbidden</c>: <paramref name="leaving"/> is the last manager.</exception>
    public static void Keep(KeyStore store, Member? leaving, Operators operators, Caller caller)
    {
        bool isLast = leaving?.Role == StoreRole.Manager
            && store.Members.Count(member => member.Role == StoreRole.Manager) == 1;
        if (isLast && !operators.Contains(caller))
        {
            throw new KmsException(
                KmsErrorCode.Forbidden, $"This is the last manager of '{store.Name}': name another first, or ask an operator.");
        }
    }
}

/// <summary>Members as they are told to a caller and to the history.</summary>
internal static class MemberDescriptions
{
    public static MembersResult DescribeMembers(this KeyStore store) => new()
    {
        Members =
        [
            .. store.Members.Select(member => new MemberDescription
            {
                Principal = member.Principal.ToString(),
                Display = member.Principal.Display,
                Role = member.Role,
                Since = member.Since,
            }),
        ],
    };

    public static HistoryEntry Entry(string operation, Caller caller, KeyStore store, string detail, DateTimeOffset now) => new()
    {
        At = now,
        Scope = HistoryScope.Store,
        Operation = operation,
        Caller = caller,
        StoreId = store.Id.ToBytes(),
        Detail = detail,
    };
}
