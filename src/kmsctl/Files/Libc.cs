using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kmsctl.Files;

/// <summary>What stands under a name.</summary>
internal enum FileKind
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>A file like any other.</summary>
    Regular = 1,

    /// <summary>A folder, link, device, socket or pipe.</summary>
    Other = 2,
}

/// <summary>The calls into the C library for which .NET has no name. See the manual page of each.</summary>
internal static partial class Libc
{
    private const int CurrentDirectory = -100; // AT_FDCWD
    private const int NoFollow = 0x100; // AT_SYMLINK_NOFOLLOW
    private const uint BasicStatus = 0x7ff; // STATX_BASIC_STATS
    private const int TypeMask = 0xf000; // S_IFMT
    private const int RegularFile = 0x8000; // S_IFREG
    private const int OpenFolder = 0x10000 | 0x80000; // O_DIRECTORY | O_CLOEXEC

    private const int NamelessFile = 0x400000 | 0x10000 | 1 | 0x80000; // O_TMPFILE | O_WRONLY | O_CLOEXEC
    private const uint OwnerOnly = 0b110_000_000;
    private const int FollowLink = 0x400; // AT_SYMLINK_FOLLOW

    public static FileKind KindOf(string path) =>
        GetStatus(CurrentDirectory, path, NoFollow, BasicStatus, out FileStatus status) != 0 ? FileKind.None
        : (status.Mode & TypeMask) == RegularFile ? FileKind.Regular
        : FileKind.Other;

    /// <summary>A file without a name in a folder, readable by its owner alone; null where the file system can't do that.</summary>
    public static SafeFileHandle? OpenNameless(string folder)
    {
        int file = Open(folder, NamelessFile, OwnerOnly);
        return file >= 0 ? new SafeFileHandle(file, ownsHandle: true) : null;
    }

    /// <exception cref="IOException">The name is in use, or can't be given.</exception>
    public static void GiveName(SafeFileHandle nameless, string path)
    {
        string self = string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{nameless.DangerousGetHandle()}");
        if (Link(CurrentDirectory, self, CurrentDirectory, path, FollowLink) != 0)
        {
            throw new IOException($"{path}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    /// <summary>Makes a name in a folder last through a power cut, where the file system can.</summary>
    public static void SyncFolder(string path)
    {
        int folder = Open(path, OpenFolder);
        if (folder >= 0)
        {
            _ = Sync(folder);
            _ = Close(folder);
        }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "linkat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(int fromDirectory, string from, int toDirectory, string to, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int GetStatus(int directory, string path, int flags, uint mask, out FileStatus status);

    /// <summary><c>struct statx</c>, as far as it is read here; 256 bytes in all.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 256)]
    private struct FileStatus
    {
        public uint Mask;
        public uint BlockSize;
        public ulong Attributes;
        public uint Links;
        public uint Uid;
        public uint Gid;
        public ushort Mode;
    }
}
