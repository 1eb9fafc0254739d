using System.Runtime.InteropServices;

namespace Kmsd.Hosting;

/// <summary>No core files, no reading of this process by others of its uid, no files that others may read.</summary>
internal static class ProcessHardening
{
    private const uint OwnerOnly = 0b000_111_111; // 0077

    public static void Apply()
    {
        _ = Libc.SetUmask(OwnerOnly);
        if (Libc.Prctl(Libc.PrSetDumpable, 0, 0, 0, 0) != 0)
        {
            throw Failed("prctl(PR_SET_DUMPABLE)");
        }

        if (Libc.SetResourceLimit(Libc.RlimitCore, new Libc.ResourceLimit { Soft = 0, Hard = 0 }) != 0)
        {
            throw Failed("setrlimit(RLIMIT_CORE)");
        }
    }

    private static StartupException Failed(string call) => new(
        ExitCode.Internal, $"The process can't be protected: {call} failed: {Marshal.GetLastPInvokeErrorMessage()}.");
}
