using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Audit;

/// <summary>Whom a refused change of rights was about, as the history keeps it: numbers, units and roles, never a text of the client's.</summary>
internal static class RefusedRequest
{
    private const string Nobody = "no principal";

    /// <summary>Null for requests that are about nobody's rights.</summary>
    public static string? Describe(object request, KmsErrorCode code) => request switch
    {
        GrantRequest grant => $"{Find(grant.Principal, code)} {Wire.KeyRoles[grant.Role]}",
        AddMemberRequest member => $"{Find(member.Principal, code)} {Wire.StoreRoles[member.Role]}",
        RemoveMemberRequest { Role: StoreRole role } member => $"{Find(member.Principal, code)} {Wire.StoreRoles[role]}",
        RemoveMemberRequest member => Find(member.Principal, code),
        _ => null,
    };

    private static string Find(string text, KmsErrorCode code)
    {
        string? named = text.StartsWith("user:", StringComparison.Ordinal) ? "a user by name"
            : text.StartsWith("group:", StringComparison.Ordinal) ? "a group by name"
            : null;
        if (named is not null && code == KmsErrorCode.Forbidden)
        {
            return named; // The host's name service, which may be slow, isn't asked for one who may not do this.
        }

        try
        {
            return Principal.ParseForSearch(text).ToString();
        }
        catch (KmsException)
        {
            return named ?? Nobody; // Which is why it was refused.
        }
    }
}
