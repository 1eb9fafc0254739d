using System.Runtime.InteropServices;
using Kmsd.Hosting;

namespace Kmsd.Configuration;

/// <summary>
/// Files that decide over the daemon must be out of others' reach: the file, every folder above it and every symbolic link
/// on the way belong to root or to the daemon's user, and others can't write them. A sticky folder counts as not writable.
/// </summary>
internal static class TrustedPath
{
    private const int MostLinks = 40;
    private const uint GroupOrOthersWrite = 0b010_010;
    private const uint GroupOrOthersRead = 0b100_100;
    private const uint OthersRead = 0b000_100;

    /// <exception cref="StartupException">78: it isn't there, or somebody else could change it.</exception>
    public static void Check(string path, string what)
    {
        int links = 0;
        Walk("/", path, what, ref links);
    }

    /// <summary>As above, and a regular file: a pipe would be waited for without end.</summary>
    public static void CheckFile(string path, string what)
    {
        Check(path, what);
        if ((Status(path, follow: true, what).Mode & Libc.FileTypeMask) != Libc.RegularFile)
        {
            throw Refused($"{what} {path} is no regular file.");
        }
    }

    /// <summary>The PIN's file: as above, and nobody else reads it. systemd's credentials show their ACL as group bits.</summary>
    public static void CheckSecret(string path, string what)
    {
        CheckFile(path, what);
        Libc.FileStatus status = Status(path, follow: true, what);
        string? credentials = Environment.GetEnvironmentVariable("CREDENTIALS_DIRECTORY");
        bool isCredential = credentials is not null && path.StartsWith(credentials + "/", StringComparison.Ordinal);
        if ((status.Mode & (isCredential ? OthersRead : GroupOrOthersRead)) != 0)
        {
            throw Refused($"{what} {path} can be read by others; run: chmod 600 {path}");
        }
    }

    private static void Walk(string from, string path, string what, ref int links)
    {
        string current = path.StartsWith('/') ? "/" : from;
        CheckOne(current, what, out _);
        foreach (string part in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            string parent = current;
            current = part == ".." ? Path.GetDirectoryName(parent) ?? "/" : part == "." ? parent : Path.Combine(parent, part);
            CheckOne(current, what, out bool isLink);
            if (isLink)
            {
                if (++links > MostLinks)
                {
                    throw Refused($"{what} {path} leads through too many symbolic links.");
                }

                string target = new FileInfo(current).LinkTarget ?? throw Refused($"{what}: {current} changed while it was checked.");
                Walk(parent, target, what, ref links);
                current = Path.GetFullPath(target, parent);
            }
        }
    }

    private static void CheckOne(string path, string what, out bool isLink)
    {
        Libc.FileStatus status = Status(path, follow: false, what);
        isLink = (status.Mode & Libc.FileTypeMask) == Libc.SymbolicLink;
        uint own = Libc.GetEffectiveUserId();
        if (status.Uid != 0 && status.Uid != own)
        {
            throw Refused(own == 0
                ? $"{what}: {path} belongs to uid {status.Uid}, but kmsd runs as root. Run it as that user (runuser -u, or User= of the unit)."
                : $"{what}: {path} belongs to uid {status.Uid}; it must belong to root or to uid {own}; run: chown {own} {path}");
        }

        // The mode of a symbolic link says nothing (symlink(7)); a sticky folder lets nobody replace what isn't his.
        if (!isLink && (status.Mode & GroupOrOthersWrite) != 0 && (status.Mode & Libc.Sticky) == 0)
        {
            throw Refused($"{what}: {path} can be written by others; run: chmod go-w {path}");
        }
    }

    private static Libc.FileStatus Status(string path, bool follow, string what)
    {
        if (Libc.GetStatus(Libc.CurrentDirectory, path, follow ? 0 : Libc.NoFollow, Libc.BasicStatus, out Libc.FileStatus status) != 0)
        {
            throw Refused($"{what}: {path}: {Marshal.GetLastPInvokeErrorMessage()}.");
        }

        return status;
    }

    private static StartupException Refused(string message) => new(ExitCode.Configuration, message);
}
