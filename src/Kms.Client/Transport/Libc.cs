using System.Runtime.InteropServices;

namespace Kms.Client.Transport;

/// <summary>The calls into the C library for which .NET has no name. See the manual page of each.</summary>
internal static partial class Libc
{
    public const nuint AtSecure = 23;

    [LibraryImport("libc", EntryPoint = "getauxval")]
    public static partial nuint GetAuxiliaryValue(nuint type);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    public static partial uint GetEffectiveUserId();

    /// <summary>The uid of an account; null if there is none of that name.</summary>
    public static unsafe uint? FindUser(string name)
    {
        byte* buffer = stackalloc byte[16 * 1024];
        Passwd entry;
        Passwd* found;
        return GetUserByName(name, &entry, buffer, 16 * 1024, &found) == 0 && found is not null ? entry.Uid : null;
    }

    [LibraryImport("libc", EntryPoint = "getpwnam_r", StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int GetUserByName(string name, Passwd* entry, byte* buffer, nuint length, Passwd** result);

    /// <summary><c>struct passwd</c> of glibc on 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private unsafe struct Passwd
    {
        public byte* Name;
        public byte* Password;
        public uint Uid;
        public uint Gid;
        public byte* Gecos;
        public byte* Directory;
        public byte* Shell;
    }
}
