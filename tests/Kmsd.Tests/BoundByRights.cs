using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Kmsd.Tests;

/// <summary>
/// One whom the modes of files bind, also where the tests run as root: a thread of its own without <c>CAP_DAC_OVERRIDE</c> and
/// <c>CAP_DAC_READ_SEARCH</c>, which are a thread's (capabilities(7)).
/// </summary>
internal static unsafe partial class BoundByRights
{
    private const uint Version3 = 0x20080522;
    private const uint OverrideAndSearch = (1 << 1) | (1 << 2);

    /// <summary>What it threw.</summary>
    public static Exception? Run(Action act)
    {
        Exception? thrown = null;
        Thread thread = new(() => thrown = Record.Exception(() =>
        {
            GiveUp();
            act();
        }));
        thread.Start();
        thread.Join();
        return thrown;
    }

    private static void GiveUp()
    {
        // The header: version, thread (0: this one). Two sets, each effective, permitted, inheritable.
        uint* header = stackalloc uint[2] { Version3, 0 };
        uint* sets = stackalloc uint[6];
        if (GetCapabilities(header, sets) != 0)
        {
            throw new Win32Exception();
        }

        sets[0] &= ~OverrideAndSearch;
        if (SetCapabilities(header, sets) != 0)
        {
            throw new Win32Exception();
        }
    }

    [LibraryImport("libc", EntryPoint = "capget", SetLastError = true)]
    private static partial int GetCapabilities(uint* header, uint* sets);

    [LibraryImport("libc", EntryPoint = "capset", SetLastError = true)]
    private static partial int SetCapabilities(uint* header, uint* sets);
}
