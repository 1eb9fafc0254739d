using System.Collections.Immutable;

namespace Kmsd.Access;

/// <summary>The principals whom the configuration names as operators: they run the host and hold no right on any key.</summary>
internal sealed class Operators(ImmutableArray<Principal> principals)
{
    public bool Contains(Caller caller) => principals.Any(caller.Is);
}
