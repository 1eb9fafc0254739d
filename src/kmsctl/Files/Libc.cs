using System.Runtime.InteropServices;

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

    public static FileKind KindOf(string path) =>
        GetStatus(CurrentDirectory, path, NoFollow, BasicStatus, out FileStatus status) != 0 ? FileKind.None
        : (status.Mode & TypeMask) == RegularFile ? FileKind.Regular
        : FileKind.Other;

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
