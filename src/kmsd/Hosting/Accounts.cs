using System.Runtime.InteropServices;

namespace Kmsd.Hosting;

/// <summary>Names of users and groups, as the host's name service knows them (getpwnam_r(3), getgrnam_r(3)).</summary>
internal static unsafe class Accounts
{
    private const int FirstBufferLength = 4096;
    private const int LastBufferLength = 1 << 20;
    private const int BufferTooSmall = 34; // ERANGE

    public static uint? FindUser(string name) => Find(buffer =>
    {
        Libc.Passwd entry = default;
        Libc.Passwd* found = null;
        int error = Libc.GetUserByName(name, &entry, buffer.Pointer, buffer.Length, &found);
        return (error, found is null ? (uint?)null : entry.Uid);
    });

    public static uint? FindGroup(string name) => Find(buffer =>
    {
        Libc.Group entry = default;
        Libc.Group* found = null;
        int error = Libc.GetGroupByName(name, &entry, buffer.Pointer, buffer.Length, &found);
        return (error, found is null ? (uint?)null : entry.Gid);
    });

    public static string? NameOfUser(uint uid) => Find(buffer =>
    {
        Libc.Passwd entry = default;
        Libc.Passwd* found = null;
        int error = Libc.GetUserById(uid, &entry, buffer.Pointer, buffer.Length, &found);
        return (error, found is null ? null : Marshal.PtrToStringUTF8((nint)entry.Name));
    });

    public static string? NameOfGroup(uint gid) => Find(buffer =>
    {
        Libc.Group entry = default;
        Libc.Group* found = null;
        int error = Libc.GetGroupById(gid, &entry, buffer.Pointer, buffer.Length, &found);
        return (error, found is null ? null : Marshal.PtrToStringUTF8((nint)entry.Name));
    });

    private static T Find<T>(Func<NativeBuffer, (int Error, T Result)> call)
    {
        for (int length = FirstBufferLength; ; length *= 4)
        {
            byte* pointer = (byte*)NativeMemory.Alloc((nuint)length);
            try
            {
                (int error, T result) = call(new NativeBuffer(pointer, (nuint)length));
                if (error != BufferTooSmall || length >= LastBufferLength)
                {
                    return result;
                }
            }
            finally
            {
                NativeMemory.Free(pointer);
            }
        }
    }

    private readonly struct NativeBuffer(byte* pointer, nuint length)
    {
        public byte* Pointer { get; } = pointer;

        public nuint Length { get; } = length;
    }
}
