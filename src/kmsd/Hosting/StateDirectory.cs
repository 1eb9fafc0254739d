namespace Kmsd.Hosting;

/// <summary>The state folder, held by one daemon at a time.</summary>
internal sealed class StateDirectory : IDisposable
{
    private const string LockFileName = "lock";

    private readonly FileStream _lock;

    private StateDirectory(string path, FileStream lockFile)
    {
        Path = path;
        _lock = lockFile;
    }

    public string Path { get; }

    /// <exception cref="StartupException">73: it isn't there, can't be written, or another kmsd holds it.</exception>
    public static StateDirectory Open(string path)
    {
        FileStream? file = null;
        try
        {
            file = new FileStream(
                System.IO.Path.Combine(path, LockFileName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite);
            if (Libc.Lock(file.SafeFileHandle, Libc.LockExclusiveNonBlocking) != 0)
            {
                throw new StartupException(ExitCode.CannotCreate, $"The state folder {path} is in use by another kmsd.");
            }

            return new StateDirectory(path, file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            file?.Dispose();
            throw new StartupException(
                ExitCode.CannotCreate, $"The state folder {path} can't be written: {exception.Message}", exception);
        }
        catch
        {
            file?.Dispose();
            throw;
        }
    }

    public void Dispose() => _lock.Dispose();
}
