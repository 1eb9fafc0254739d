using System.Collections.Immutable;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>A key store: one customer's keys, and who belongs to it.</summary>
internal sealed record KeyStore(StoreId Id, string Name, DateTimeOffset CreatedAt)
{
    /// <summary>The store that exists from <c>kmsd init</c> on; a bare key name means a key of it.</summary>
    public const string Default = "default";

    public ImmutableArray<Member> Members { get; init; } = [];

    /// <summary>The names in use; compared without regard to case.</summary>
    public ImmutableSortedDictionary<string, KeyTag> Names { get; init; } =
        ImmutableSortedDictionary.Create<string, KeyTag>(StringComparer.OrdinalIgnoreCase);

    /// <summary>A row of the store or of its members doesn't match its code: nothing in it is served.</summary>
    public bool IsQuarantined { get; init; }

    /// <summary>The caller's role; the stronger one if several principals of his are members.</summary>
    public StoreRole RoleOf(Caller caller)
    {
        StoreRole found = StoreRole.None;
        foreach (Member member in Members)
        {
            if (caller.Is(member.Principal) && found != StoreRole.Manager)
            {
                found = member.Role;
            }
        }

        return found;
    }

    public Member? FindMember(Principal principal) => Members.FirstOrDefault(member => member.Principal == principal);
}
