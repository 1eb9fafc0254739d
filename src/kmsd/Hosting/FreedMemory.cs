using System.Collections;
using System.Runtime.InteropServices;

namespace Kmsd.Hosting;

/// <summary>
/// OpenSSL, and a module such as SoftHSM, leave copies of private keys in memory that they free. The C library overwrites
/// what is freed if it is told so before the process begins (glibc.malloc.perturb, and no cache of freed blocks, which skips
/// that); so a daemon that was started without it starts itself again with it, as the same process.
/// </summary>
internal static class FreedMemory
{
    private const string Variable = "GLIBC_TUNABLES";
    private const string Perturb = "glibc.malloc.perturb=";
    private const string NoCache = "glibc.malloc.tcache_count=0";
    private const string Wanted = Perturb + "165:" + NoCache;
    private const int AuxiliarySecure = 23; // AT_SECURE: there the loader takes the variable away (ld.so(8)).

    /// <summary>Doesn't return where the process has to begin anew.</summary>
    /// <exception cref="StartupException">70: the program can't be started again.</exception>
    public static void EnsureOverwritten()
    {
        string present = Environment.GetEnvironmentVariable(Variable) ?? "";
        bool isTold = present.Contains(Perturb, StringComparison.Ordinal) && present.Contains(NoCache, StringComparison.Ordinal);
        if (isTold || Libc.GetAuxiliaryValue(AuxiliarySecure) != 0)
        {
            return;
        }

        List<string> environment = [];
        foreach (DictionaryEntry entry in Environment.GetEnvironmentVariables())
        {
            if ((string)entry.Key != Variable)
            {
                environment.Add($"{entry.Key}={entry.Value}");
            }
        }

        environment.Add($"{Variable}={(present.Length > 0 ? present + ":" : "")}{Wanted}");
        _ = Libc.Execute(Environment.ProcessPath!, ToNative(Environment.GetCommandLineArgs()), ToNative(environment));
        throw new StartupException(ExitCode.Internal, $"kmsd can't start itself with {Variable}: {Marshal.GetLastPInvokeErrorMessage()}.");
    }

    /// <summary>Ended by a null pointer; never freed, since the process begins anew or ends.</summary>
    private static nint[] ToNative(IReadOnlyList<string> texts) => [.. texts.Select(Marshal.StringToCoTaskMemUTF8), 0];
}
