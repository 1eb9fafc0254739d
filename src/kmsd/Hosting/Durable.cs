using System.Runtime.InteropServices;

namespace Kmsd.Hosting;

/// <summary>Changes of folders that survive a power cut.</summary>
internal static class Durable
{
    private const int OpenDirectory = 0x10000 | 0x80000; // O_DIRECTORY | O_CLOEXEC

    /// <summary>Renames within one folder, file first and folder after on the disk. What has the name already is in the way.</summary>
    /// <exception cref="StartupException">73</exception>
    public static void Rename(string from, string to) => Move(from, to, overwrite: false);

    /// <summary>As <see cref="Rename"/>; what had the name before is replaced in one step.</summary>
    /// <exception cref="StartupException">73</exception>
    public static void Replace(string from, string to) => Move(from, to, overwrite: true);

    /// <summary>Gives a file a second name in its folder, which nothing may have.</summary>
    /// <exception cref="StartupException">73</exception>
    public static void Link(string path, string second)
    {
        try
        {
            if (Libc.Link(path, second) != 0)
            {
                throw new IOException(Marshal.GetLastPInvokeErrorMessage());
            }

            SyncDirectory(Path.GetDirectoryName(second)!);
        }
        catch (IOException exception)
        {
            throw new StartupException(ExitCode.CannotCreate, $"{second} can't be made: {exception.Message}", exception);
        }
    }

    private static void Move(string from, string to, bool overwrite)
    {
        try
        {
            using (FileStream file = new(from, FileMode.Open, FileAccess.ReadWrite))
            {
                file.Flush(flushToDisk: true);
            }

            File.Move(from, to, overwrite);
            SyncDirectory(Path.GetDirectoryName(to)!);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(ExitCode.CannotCreate, $"{to} can't be made: {exception.Message}", exception);
        }
    }

    /// <exception cref="IOException">The disk fails.</exception>
    public static void SyncDirectory(string path)
    {
        int descriptor = Libc.Open(path, OpenDirectory);
        if (descriptor < 0 || Libc.Sync(descriptor) != 0)
        {
            throw new IOException($"{path}: {Marshal.GetLastPInvokeErrorMessage()}");
        }

        _ = Libc.Close(descriptor);
    }
}
