using System.Collections.Immutable;
using Kms.Client.Protocol;

namespace Kmsd.Access;

/// <summary>
/// The principals whom the configuration names: operators, who run the host and hold no right on any key, and root
/// administrators, who look after the root key.
/// </summary>
/// <param name="operators">Of <c>[access] operators</c>.</param>
/// <param name="rootAdministrators">Of <c>[root] administrators</c>; null: the operators.</param>
internal sealed class Operators(ImmutableArray<Principal> operators, ImmutableArray<Principal>? rootAdministrators = null)
{
    public ImmutableArray<Principal> RootAdministrators { get; } = rootAdministrators ?? operators;

    /// <summary>Everybody whom the root key concerns.</summary>
    public ImmutableArray<Principal> All { get; } = [.. operators.Concat(rootAdministrators ?? []).Distinct()];

    public bool Contains(Caller caller) => operators.Any(caller.Is);

    /// <exception cref="KmsException"><c>forbidden</c></exception>
    public void Require(Caller caller)
    {
        if (!Contains(caller))
        {
            throw new KmsException(KmsErrorCode.Forbidden, "Only operators may do this ([access] operators in the configuration).")
            {
                RequiredRole = KmsException.OperatorRole,
            };
        }
    }

    /// <exception cref="KmsException"><c>forbidden</c></exception>
    public void RequireRootAdministrator(Caller caller)
    {
        if (!RootAdministrators.Any(caller.Is))
        {
            throw new KmsException(KmsErrorCode.Forbidden, "Only root administrators may do this ([root] administrators in the configuration).")
            {
                RequiredRole = KmsException.RootAdministratorRole,
            };
        }
    }
}
