using System.Runtime.InteropServices;

namespace Kmsd.Hosting;

internal static partial class Libc
{
    // Of fcntl.h: O_RDWR, O_NOCTTY, O_CLOEXEC.
    public const int ReadWriteNoControl = 2 | 0x100 | 0x80000;

    // Of fcntl.h: O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_CLOEXEC.
    public const int WriteNew = 1 | 0x40 | 0x80 | 0x20000 | 0x80000;

    public const int FlushThenSet = 2; // TCSAFLUSH
    public const int FlushInput = 0; // TCIFLUSH
    public const uint ProcessOutput = 1; // OPOST
    public const int InterruptedCall = 4; // EINTR

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    public static unsafe partial nint Read(int descriptor, byte* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    public static unsafe partial nint Write(int descriptor, byte* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "isatty")]
    public static partial int IsTerminal(int descriptor);

    [LibraryImport("libc", EntryPoint = "tcgetattr", SetLastError = true)]
    public static partial int GetTerminalModes(int descriptor, out TerminalModes modes);

    [LibraryImport("libc", EntryPoint = "tcsetattr", SetLastError = true)]
    public static partial int SetTerminalModes(int descriptor, int when, in TerminalModes modes);

    [LibraryImport("libc", EntryPoint = "cfmakeraw")]
    public static partial void MakeRaw(ref TerminalModes modes);

    [LibraryImport("libc", EntryPoint = "tcflush", SetLastError = true)]
    public static partial int FlushTerminal(int descriptor, int queue);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int GetDevice(int directory, string path, int flags, uint mask, out FileDevice device);

    /// <summary><c>struct termios</c> of Linux; 60 bytes in all.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 64)]
    public struct TerminalModes
    {
        public uint Input;
        public uint Output;
        public uint Control;
        public uint Local;
    }

    /// <summary>On which filesystem a file is: of <c>struct statx</c>, <c>stx_dev_major</c> and <c>stx_dev_minor</c>.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    public struct FileDevice
    {
        [FieldOffset(0x88)]
        public uint Major;

        [FieldOffset(0x8c)]
        public uint Minor;
    }
}
