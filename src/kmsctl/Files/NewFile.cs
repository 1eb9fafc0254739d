using System.Security.Cryptography;
using Kmsctl.Output;
using Microsoft.Win32.SafeHandles;

namespace Kmsctl.Files;

/// <summary>
/// A file that appears under its name only when it is whole and on the disk, readable by its owner alone unless told otherwise. Until then it has no
/// name at all (O_TMPFILE, open(2)), so that whatever ends the process leaves nothing behind; a file system that can't do that
/// gets a hidden name beside it, which goes with <see cref="Dispose"/>.
/// </summary>
internal sealed class NewFile : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly string _path;
    private readonly string _temporary;
    private readonly bool _replace;
    private readonly UnixFileMode _mode;
    private readonly bool _isNameless;
    private readonly FileStream _stream;
    private bool _committed;

    private NewFile(string path, string temporary, bool replace, UnixFileMode mode)
    {
        _path = path;
        _temporary = temporary;
        _replace = replace;
        _mode = mode;
#pragma warning disable IDISP001 // The stream takes it over.
        SafeFileHandle? nameless = Libc.OpenNameless(Path.GetDirectoryName(path) ?? "/");
#pragma warning restore IDISP001
        _isNameless = nameless is not null;
        _stream = nameless is not null
            ? new FileStream(nameless, FileAccess.Write, bufferSize: 0)
            : new FileStream(temporary, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                Share = FileShare.None,
                BufferSize = 0,
                UnixCreateMode = OwnerOnly,
            });
    }

    public Stream Stream => _stream;

    /// <exception cref="CommandException">It exists already, or can't be made.</exception>
    public static NewFile Create(string path, bool replace) => Create(path, replace, OwnerOnly);

    /// <exception cref="CommandException">It exists already, or can't be made.</exception>
    public static NewFile Create(string path, bool replace, UnixFileMode mode)
    {
        if (path == "-")
        {
            throw new CommandException(
                ExitCode.Usage, "OUT can't be '-': the output appears only when it is whole. Name a file (./- for one of that name).");
        }

        if (path.Length == 0)
        {
            throw new CommandException(ExitCode.Usage, "The name of the file to write is empty; name a file.");
        }

        string full = Path.GetFullPath(path);
        switch (Libc.KindOf(full))
        {
            case FileKind.None:
                break;
            case FileKind.Regular when replace:
                break;
            case FileKind.Regular:
                throw Exists(path, null);
            default:
                throw new CommandException(ExitCode.CannotCreate, $"'{path}' exists and is not a regular file; choose another name.");
        }

        string folder = Path.GetDirectoryName(full) ?? "/";
        string temporary = Path.Combine(folder, $".kmsctl-{RandomNumberGenerator.GetHexString(16, lowercase: true)}.tmp");
        try
        {
            return new NewFile(full, temporary, replace, mode);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(
                ExitCode.CannotCreate, $"'{path}' can't be made: its folder doesn't exist or may not be written to; choose another place.",
                exception);
        }
    }

    public void Write(ReadOnlySpan<byte> bytes) => _stream.Write(bytes);

    /// <exception cref="CommandException">Somebody else has made a file of that name meanwhile.</exception>
    /// <exception cref="IOException">The disk refuses.</exception>
    public void Commit()
    {
        if (_mode != OwnerOnly)
        {
            File.SetUnixFileMode(_stream.SafeFileHandle, _mode); // Whatever the umask is.
        }

        _stream.Flush(flushToDisk: true);
        try
        {
            if (_isNameless && !_replace)
            {
                Libc.GiveName(_stream.SafeFileHandle, _path);
            }
            else
            {
                if (_isNameless)
                {
                    Libc.GiveName(_stream.SafeFileHandle, _temporary);
                }

                File.Move(_temporary, _path, _replace);
            }

            _committed = true;
        }
        catch (IOException exception) when (!_replace && File.Exists(_path))
        {
            throw Exists(_path, exception);
        }

        Libc.SyncFolder(Path.GetDirectoryName(_path) ?? "/");
    }

    public void Dispose()
    {
        _stream.Dispose();
        if (!_committed)
        {
            File.Delete(_temporary);
        }
    }

    private static CommandException Exists(string path, Exception? inner) =>
        new(ExitCode.CannotCreate, $"'{path}' exists; give --force to replace it.", inner);
}
