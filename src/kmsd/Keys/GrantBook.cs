using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>
/// Adds and ends grants inside a change: whoever gets a role on a key becomes a member of its store. Every grant and membership
/// is made here, and none to whom <see cref="UnitRules"/> leave out. For the writer only.
/// </summary>
internal sealed class GrantBook(CatalogueLedger catalogue, KeyLimits limits, UnitRules units)
{
    public static KmsException TooMany(KeyLimits limits) =>
        new(KmsErrorCode.LimitExceeded, $"A key may have at most {limits.GrantsPerKey} grants ([limits] grants_per_key).");

    /// <summary>False if the grant was there.</summary>
    /// <exception cref="KmsException"><c>limitExceeded</c>, <c>unsupported</c> or <c>invalidParams</c></exception>
    public bool Add(KeyTag tag, Principal principal, KeyRole role, DateTimeOffset now)
    {
        units.Require(principal);
        Key key = catalogue.Staged.Keys[tag];
        if (key.Grants.Any(grant => grant.Principal == principal && grant.Role == role))
        {
            return false;
        }

        if (key.Grants.Length >= limits.GrantsPerKey)
        {
            throw TooMany(limits);
        }

        catalogue.Add(tag, new Grant(principal, role, now));
        KeyStore store = catalogue.Staged.Stores[key.StoreId];
        if (store.FindMember(principal) is null)
        {
            AddMember(store, new Member(principal, StoreRole.User, now), " Whoever gets a role on one of its keys becomes a member.");
        }

        return true;
    }

    /// <param name="store">Where.</param>
    /// <param name="member">Who, and what.</param>
    /// <param name="why">Why he becomes one, told where he is one too many; "": it was asked for.</param>
    /// <exception cref="KmsException"><c>limitExceeded</c>, <c>unsupported</c> or <c>invalidParams</c></exception>
    public void AddMember(KeyStore store, Member member, string why = "")
    {
        units.Require(member.Principal);
        if (store.FindMember(member.Principal) is null && store.Members.Length >= limits.MembersPerStore)
        {
            throw new KmsException(
                KmsErrorCode.LimitExceeded, $"The key store '{store.Name}' may have at most {limits.MembersPerStore} members ([limits] members_per_store).{why}");
        }

        catalogue.Put(store.Id, member);
    }

    /// <summary>Ends every grant of a principal on keys of a store; which they were.</summary>
    public IReadOnlyList<(Key Key, KeyRole Role)> EndAll(StoreId store, Principal principal)
    {
        List<(Key, KeyRole)> ended = [];
        foreach (Key key in catalogue.Staged.KeysOf(catalogue.Staged.Stores[store]).ToList())
        {
            foreach (Grant grant in key.Grants.Where(grant => grant.Principal == principal))
            {
                catalogue.Remove(key.Tag, grant);
                ended.Add((key, grant.Role));
            }
        }

        return ended;
    }
}
