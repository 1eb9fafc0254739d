#if KMS_TEST_HOOKS
using System.Diagnostics;
using System.Globalization;

namespace Kmsd.Hosting;

/// <summary>
/// <c>KMSD_TEST_FAULT=name:n</c> kills the process with SIGKILL when it reaches the point <c>name</c> for the n-th time.
/// </summary>
internal static partial class FaultPoint
{
    private static readonly string? s_name;
    private static int s_left;

    static FaultPoint()
    {
        string[] parts = (Environment.GetEnvironmentVariable("KMSD_TEST_FAULT") ?? "").Split(':');
        if (parts.Length == 2)
        {
            s_name = parts[0];
            s_left = int.Parse(parts[1], CultureInfo.InvariantCulture);
        }
    }

    static partial void ReachCore(string name)
    {
        if (name == s_name && Interlocked.Decrement(ref s_left) == 0)
        {
            Process.GetCurrentProcess().Kill();
            Thread.Sleep(Timeout.Infinite);
        }
    }
}
#endif
