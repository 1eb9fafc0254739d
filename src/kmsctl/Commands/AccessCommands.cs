using System.CommandLine;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

internal static class AccessCommands
{
    public static Command Grant()
    {
        Argument<KeyRole> role = CommonOptions.WireArgument("ROLE", Wire.KeyRoles);
        GrantRequest Request(Session session) => new()
        {
            Key = session.Get(CommonOptions.Key),
            Principal = session.Get(CommonOptions.Principal),
            Role = session.Get(role),
        };

        return new("grant", "Say who may do what with a key.")
        {
            Session.Command(
                "add", "Give a principal a role on a key.",
                async session => Write(session, await session.Client.AddGrantAsync(Request(session), session.CancellationToken)),
                CommonOptions.Key, CommonOptions.Principal, role),
            Session.Command(
                "list", "List the grants on a key.",
                async session => Write(session, await session.Client.ListGrantsAsync(
                    new KeyRequest { Key = session.Get(CommonOptions.Key) }, session.CancellationToken)),
                CommonOptions.Key),
            Session.Command(
                "remove", "Take a role on a key away from a principal.",
                async session => await RemoveAsync(session, Request(session)),
                CommonOptions.Key, CommonOptions.Principal, role),
        };
    }

    public static Command Member()
    {
        Argument<StoreRole> role = CommonOptions.WireArgument("ROLE", Wire.StoreRoles);
        Option<StoreRole?> only = CommonOptions.WireOption("--role", "Only if this is the role; default: whichever it is", Wire.StoreRoles);
        return new("member", "Say who belongs to a key store.")
        {
            Session.Command(
                "add", "Make a principal a member of a store, or change its role.",
                async session => Write(session, await session.Client.AddMemberAsync(
                    new AddMemberRequest
                    {
                        Store = session.Get(CommonOptions.Store),
                        Principal = session.Get(CommonOptions.Principal),
                        Role = session.Get(role),
                    },
                    session.CancellationToken)),
                CommonOptions.Store, CommonOptions.Principal, role),
            Session.Command(
                "list", "List the members of a store.",
                async session => Write(session, await session.Client.ListMembersAsync(
                    new ListMembersRequest { Store = session.Get(CommonOptions.Store) }, session.CancellationToken)),
                CommonOptions.Store),
            Session.Command(
                "remove", "End a membership and all grants that the principal has in the store.",
                async session => Write(session, await session.Client.RemoveMemberAsync(
                    new RemoveMemberRequest
                    {
                        Store = session.Get(CommonOptions.Store),
                        Principal = session.Get(CommonOptions.Principal),
                        Role = session.Get(only),
                    },
                    session.CancellationToken)),
                CommonOptions.Store, CommonOptions.Principal, only),
        };
    }

    /// <summary>What isn't there is removed without a word by the daemon; a person who revokes must not think that it was.</summary>
    private static async Task RemoveAsync(Session session, GrantRequest request)
    {
        GrantsResult before = await session.Client.ListGrantsAsync(new KeyRequest { Key = request.Key }, session.CancellationToken);
        GrantsResult after = await session.Client.RemoveGrantAsync(request, session.CancellationToken);
        Write(session, after);
        if (before.Grants.Length == after.Grants.Length)
        {
            await Failure.WriteAsync(
                $"{request.Principal} had no role {Wire.KeyRoles[request.Role]} on '{request.Key}'; nothing was changed. The list shows who has which.");
        }
    }

    private static void Write(Session session, GrantsResult result) =>
        session.Report.Write(result, ProtocolJsonContext.Default.GrantsResult, () =>
        {
            var sheet = new Sheet("Grants", "principal", "now called", "role", "since");
            foreach (GrantDescription grant in result.Grants)
            {
                sheet.Add(grant.Principal, grant.Display ?? Text.None, Wire.KeyRoles[grant.Role], Text.Of(grant.GrantedAt));
            }

            return sheet;
        });

    private static void Write(Session session, MembersResult result) =>
        session.Report.Write(result, ProtocolJsonContext.Default.MembersResult, () =>
        {
            var sheet = new Sheet("Members", "principal", "now called", "role", "since");
            foreach (MemberDescription member in result.Members)
            {
                sheet.Add(member.Principal, member.Display ?? Text.None, Wire.StoreRoles[member.Role], Text.Of(member.Since));
            }

            return sheet;
        });
}
