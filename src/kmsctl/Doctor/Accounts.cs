using System.Runtime.InteropServices;
using Kmsctl.Output;

namespace Kmsctl.Doctor;

/// <summary>Whether a number is somebody's, as this host's name service knows it now (getpwuid_r(3), getgrgid_r(3)).</summary>
internal static unsafe partial class Accounts
{
    private const int FirstBufferLength = 16 * 1024;
    private const int LastBufferLength = 1 << 20;

    // Of errno(3): what says that the service failed, and not that it knows nobody.
    private const int Interrupted = 4;
    private const int InputOutput = 5;
    private const int NoMemory = 12;
    private const int TooManyFiles = 23;
    private const int TooManyOwnFiles = 24;
    private const int BufferTooSmall = 34;

    // struct passwd and struct group of glibc are smaller; nothing of them is read here.
    private const int EntryLength = 128;

    /// <exception cref="CommandException">The name service doesn't answer: nothing is certain then.</exception>
    public static bool HasUser(uint uid) => Has(uid, &FindUser);

    /// <exception cref="CommandException">The name service doesn't answer: nothing is certain then.</exception>
    public static bool HasGroup(uint gid) => Has(gid, &FindGroup);

    private static bool Has(uint id, delegate*<uint, byte*, byte*, nuint, byte**, int> find)
    {
        byte* entry = stackalloc byte[EntryLength];
        for (int length = FirstBufferLength; ; length *= 4)
        {
            byte[] buffer = new byte[length];
            byte* found = null;
            int error;
            fixed (byte* pointer = buffer)
            {
                error = find(id, entry, pointer, (nuint)length, &found);
            }

            switch (error)
            {
                case BufferTooSmall when length < LastBufferLength:
                case Interrupted:
                    continue;
                case BufferTooSmall or InputOutput or NoMemory or TooManyFiles or TooManyOwnFiles:
                    throw new CommandException(
                        ExitCode.Internal, $"The name service doesn't answer ({Marshal.GetPInvokeErrorMessage(error)}); try again when it does.");
                default:
                    return found is not null;
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "getpwuid_r")]
    private static partial int FindUser(uint uid, byte* entry, byte* buffer, nuint length, byte** found);

    [LibraryImport("libc", EntryPoint = "getgrgid_r")]
    private static partial int FindGroup(uint gid, byte* entry, byte* buffer, nuint length, byte** found);
}
