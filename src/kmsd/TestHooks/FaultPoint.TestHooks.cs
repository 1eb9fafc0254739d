#if KMS_TEST_HOOKS
using System.Diagnostics;
using System.Globalization;

namespace Kmsd.Hosting;

/// <summary>
/// <c>KMSD_TEST_FAULT=name:n</c> kills the process with SIGKILL when it reaches the point <c>name</c> for the n-th time;
/// <c>name:n:file</c> makes the file then, and goes on once it is gone. Several are separated by commas.
/// </summary>
internal static partial class FaultPoint
{
    private static readonly Fault[] s_faults =
    [
        .. (Environment.GetEnvironmentVariable("KMSD_TEST_FAULT") ?? "").Split(',').Select(fault => fault.Split(':')).Where(parts => parts.Length >= 2)
            .Select(parts => new Fault(parts[0], parts.ElementAtOrDefault(2)) { Left = int.Parse(parts[1], CultureInfo.InvariantCulture) }),
    ];

    static partial void ReachCore(string name)
    {
        foreach (Fault fault in s_faults.Where(fault => fault.Name == name && Interlocked.Decrement(ref fault.Left) == 0))
        {
            if (fault.File is null)
            {
                Process.GetCurrentProcess().Kill();
                Thread.Sleep(Timeout.Infinite);
                return;
            }

            File.WriteAllText(fault.File, "");
            while (File.Exists(fault.File))
            {
                Thread.Sleep(10);
            }
        }
    }

    private sealed record Fault(string Name, string? File)
    {
        public int Left;
    }
}
#endif
