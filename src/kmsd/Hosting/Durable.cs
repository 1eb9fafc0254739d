using System.Runtime.InteropServices;

namespace Kmsd.Hosting;

/// <summary>Changes of folders that survive a power cut.</summary>
internal static class Durable
{
    private const int OpenDirectory = 0x10000 | 0x80000; // O_DIRECTORY | O_CLOEXEC

    /// <summary>Renames within one folder, file first and folder after on the disk.</summary>
    /// <exception cref="StartupException">73</exception>
    public static void Rename(string from, string to)
    {
        try
        {
            using (FileStream file = new(from, FileMode.Open, FileAccess.ReadWrite))
            {
                file.Flush(flushToDisk: true);
            }

            File.Move(from, to);
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
