using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kmsd.Hosting;

/// <summary>The state folder, held by one daemon at a time.</summary>
internal sealed class StateDirectory : IDisposable
{
    private const string LockFileName = "lock";
    private const uint OwnerOnly = 0b110_000_000;

    private readonly SafeFileHandle _lock;

    private StateDirectory(string path, SafeFileHandle lockFile)
    {
        Path = path;
        _lock = lockFile;
    }

    public string Path { get; }

    /// <exception cref="StartupException">73: it isn't there, can't be written, or another kmsd holds it.</exception>
    public static StateDirectory Open(string path)
    {
        // Not by File.Open, whose own locks would answer before flock does.
        int descriptor = Libc.Open(System.IO.Path.Combine(path, LockFileName), Libc.ReadWriteCreate, OwnerOnly);
        if (descriptor < 0)
        {
            throw new StartupException(
                ExitCode.CannotCreate, $"The state folder {path} can't be written: {Marshal.GetLastPInvokeErrorMessage()}.");
        }

        SafeFileHandle file = new(descriptor, ownsHandle: true);
        if (Libc.Lock(file, Libc.LockExclusiveNonBlocking) != 0)
        {
            file.Dispose();
            throw new StartupException(ExitCode.CannotCreate, $"The state folder {path} is in use by another kmsd. Stop it first: systemctl stop kmsd.socket kmsd.service");
        }

        return new StateDirectory(path, file);
    }

    public void Dispose() => _lock.Dispose();
}
