using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Kms.Hsm;

/// <summary>
/// Cells of locked memory that core dumps leave out and children don't inherit. Pages are cut into cells of a few sizes, so
/// that thousands of small secrets cost a few locked pages, not a page each.
/// </summary>
internal static partial class SecretMemory
{
    private const int SlabLength = 64 * 1024;

    private static readonly int[] s_cellLengths = [64, 256, 1024, 4096, SlabLength];
    private static readonly Stack<nint>[] s_free = [.. s_cellLengths.Select(_ => new Stack<nint>())];
    private static readonly Lock s_lock = new();

    /// <summary>The longest secret that a cell takes.</summary>
    public const int LongestInBytes = SlabLength;

    /// <exception cref="InsufficientMemoryException">The kernel gives no more locked memory (RLIMIT_MEMLOCK).</exception>
    public static nint Take(int length)
    {
        int index = IndexOf(length);
        lock (s_lock)
        {
            if (s_free[index].Count == 0)
            {
                Grow(index);
            }

            return s_free[index].Pop();
        }
    }

    /// <summary>Zeroes the cell, and gives it to the next who asks.</summary>
    public static unsafe void GiveBack(nint cell, int length)
    {
        int index = IndexOf(length);
        CryptographicOperations.ZeroMemory(new Span<byte>((void*)cell, s_cellLengths[index]));
        lock (s_lock)
        {
            s_free[index].Push(cell);
        }
    }

    private static int IndexOf(int length)
    {
        int index = 0;
        while (s_cellLengths[index] < length)
        {
            index++;
        }

        return index;
    }

    private static void Grow(int index)
    {
        nint slab = Mmap(0, SlabLength, ProtectRead | ProtectWrite, MapPrivate | MapAnonymous, -1, 0);
        if (slab == -1 || Mlock(slab, SlabLength) != 0 || Madvise(slab, SlabLength, DontDump) != 0
            || Madvise(slab, SlabLength, WipeOnFork) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (slab != -1)
            {
                _ = Munmap(slab, SlabLength);
            }

            throw new InsufficientMemoryException(
                $"No locked memory for a secret ({Marshal.GetPInvokeErrorMessage(error)}); raise RLIMIT_MEMLOCK (LimitMEMLOCK= in the unit).");
        }

        for (int offset = SlabLength - s_cellLengths[index]; offset >= 0; offset -= s_cellLengths[index])
        {
            s_free[index].Push(slab + offset);
        }
    }

    // mman-common.h and mman.h of Linux.
    private const int ProtectRead = 1;
    private const int ProtectWrite = 2;
    private const int MapPrivate = 2;
    private const int MapAnonymous = 0x20;
    private const int DontDump = 16;
    private const int WipeOnFork = 18;

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial nint Mmap(nint address, nint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Munmap(nint address, nint length);

    [LibraryImport("libc", EntryPoint = "mlock", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Mlock(nint address, nint length);

    [LibraryImport("libc", EntryPoint = "madvise", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Madvise(nint address, nint length, int advice);
}
