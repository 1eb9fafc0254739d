using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>
/// Applies the permission matrix to a snapshot. Whoever has no right at all on a thing hears that it isn't there; whoever has
/// some right, but not this one, hears that he may not.
/// </summary>
internal static class Authorization
{
    /// <summary>True if the caller may do this with the key. A quarantined key still answers by the grants that verify.</summary>
    public static bool Allows(this Catalogue catalogue, Caller caller, Key key, KeyAction action) =>
        PermissionMatrix.Allows(catalogue.Stores[key.StoreId].RoleOf(caller), action)
        || key.Grants.Any(grant => PermissionMatrix.Allows(grant.Role, action) && caller.Is(grant.Principal));

    /// <exception cref="KmsException"><c>notFound</c>, <c>forbidden</c> or <c>integrityFailure</c>.</exception>
    public static Key Require(this Catalogue catalogue, Caller caller, KeyReference reference, KeyAction action)
    {
        // Every right on a key includes seeing it: who may not see it has none.
        if (catalogue.Find(reference) is not Key key || !catalogue.Allows(caller, key, KeyAction.See))
        {
            throw Refusals.NoSuchKey();
        }

        if (key.IsQuarantined || catalogue.Stores[key.StoreId].IsQuarantined)
        {
            throw new KmsException(
                KmsErrorCode.IntegrityFailure, "What is stored of this key doesn't match its authentication code; it isn't served.");
        }

        return catalogue.Allows(caller, key, action)
            ? key
            : throw new KmsException(KmsErrorCode.Forbidden, $"Your roles on the key '{key.Name}' don't allow this.");
    }

    /// <exception cref="KmsException"><c>notFound</c>, <c>forbidden</c> or <c>integrityFailure</c>.</exception>
    public static KeyStore Require(
        this Catalogue catalogue, Caller caller, Operators operators, string storeName, StoreAction action)
    {
        KeyStore? store = catalogue.FindStore(storeName);
        StoreRole role = store?.RoleOf(caller) ?? StoreRole.None;
        bool isOperator = operators.Contains(caller);
        if (store is null || (role == StoreRole.None && !isOperator))
        {
            throw Refusals.NoSuchStore(storeName);
        }

        if (store.IsQuarantined)
        {
            throw new KmsException(
                KmsErrorCode.IntegrityFailure, "What is stored of this key store doesn't match its authentication code; it isn't served.");
        }

        return PermissionMatrix.Allows(role, action) || (isOperator && PermissionMatrix.OperatorMay(action))
            ? store
            : throw new KmsException(KmsErrorCode.Forbidden, $"Your role in the key store '{store.Name}' doesn't allow this.");
    }
}
