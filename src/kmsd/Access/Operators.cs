using System.Collections.Immutable;
using Kms.Client.Protocol;

namespace Kmsd.Access;

/// <summary>The principals whom the configuration names as operators: they run the host and hold no right on any key.</summary>
internal sealed class Operators(ImmutableArray<Principal> principals)
{
    public bool Contains(Caller caller) => principals.Any(caller.Is);

    /// <exception cref="KmsException"><c>forbidden</c></exception>
    public void Require(Caller caller)
    {
        if (!Contains(caller))
        {
            throw new KmsException(KmsErrorCode.Forbidden, "Only operators may do this ([access] operators in the configuration).");
        }
    }
}
