using System.Diagnostics;

namespace Kmsd.Hosting;

/// <summary>Places at which a test makes the daemon die. They don't exist in a release build.</summary>
internal static partial class FaultPoint
{
    [Conditional("KMS_TEST_HOOKS")]
    public static void Reach(string name) => ReachCore(name);

    static partial void ReachCore(string name);
}
