using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Kmsd.Hosting;

/// <summary>The listening socket: handed over by systemd (sd_listen_fds(3)) or bound here.</summary>
internal static class ServiceSocket
{
    private const int FirstHandedOver = 3; // SD_LISTEN_FDS_START
    private const int Backlog = 1024;
    private const int LongestPathInBytes = 107;

    /// <summary>The socket that systemd hands over, if it does.</summary>
    /// <exception cref="StartupException">78: it hands over something else.</exception>
    public static Socket? TakeHandedOver()
    {
        string? count = Environment.GetEnvironmentVariable("LISTEN_FDS");
        string? process = Environment.GetEnvironmentVariable("LISTEN_PID");
        if (count is null || process != Environment.ProcessId.ToString(CultureInfo.InvariantCulture))
        {
            return null;
        }

        if (count != "1")
        {
            throw new StartupException(
                ExitCode.Configuration, $"systemd hands over {count} sockets; kmsd takes one: check ListenStream= in kmsd.socket.");
        }

        _ = Libc.Fcntl(FirstHandedOver, Libc.FcntlSetFlags, Libc.SetCloseOnExec);
#pragma warning disable IDISP004 // The socket takes the handle over.
        Socket socket = new(new SafeSocketHandle(FirstHandedOver, ownsHandle: true));
#pragma warning restore IDISP004
        if (socket.AddressFamily == AddressFamily.Unix && socket.SocketType == SocketType.Stream && Listens(socket))
        {
            return socket;
        }

#pragma warning disable IDISP017 // On the good way it is the caller's.
        socket.Dispose();
#pragma warning restore IDISP017
        throw new StartupException(ExitCode.Configuration, "systemd hands over a socket that is no listening Unix stream socket.");
    }

    /// <summary>SO_ACCEPTCONN of SOL_SOCKET (socket(7)).</summary>
    private static bool Listens(Socket socket)
    {
        const int SocketLevel = 1;
        const int AcceptsConnections = 30;
        Span<byte> value = stackalloc byte[sizeof(int)];
        _ = socket.GetRawSocketOption(SocketLevel, AcceptsConnections, value);
        return value[0] != 0;
    }

    /// <summary>Binds the path. A socket that a dead daemon left is replaced; one that answers is not.</summary>
    /// <exception cref="StartupException">73: it is in use or can't be made; 78: the group isn't there.</exception>
    public static Socket Bind(string path, UnixFileMode mode, string group)
    {
        uint? gid = Accounts.FindGroup(group);
        if (gid is null)
        {
            throw new StartupException(
                ExitCode.Configuration, $"There is no group '{group}' for the socket; make it (groupadd --system {group}) or set [daemon] socket_group.");
        }

        if (System.Text.Encoding.UTF8.GetByteCount(path) > LongestPathInBytes)
        {
            throw new StartupException(
                ExitCode.CannotCreate, $"The socket's path is longer than {LongestPathInBytes} bytes, which unix(7) allows; set [daemon] socket.");
        }

        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            RemoveLeftOver(path);
            UnixDomainSocketEndPoint endPoint = new(path);
            socket.Bind(endPoint); // The umask keeps everybody out until owner and mode are set.
            if (Libc.ChangeOwner(path, uint.MaxValue, gid.Value) != 0)
            {
                throw new StartupException(
                    ExitCode.CannotCreate, $"The socket {path} can't be given to group '{group}': {Marshal.GetLastPInvokeErrorMessage()}.");
            }

            File.SetUnixFileMode(path, mode);
            socket.Listen(Backlog);
            return socket;
        }
        catch (Exception exception) when (exception is SocketException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            socket.Dispose();
            throw new StartupException(ExitCode.CannotCreate, $"The socket {path} can't be made: {exception.Message}", exception);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static void RemoveLeftOver(string path)
    {
        if (Libc.GetStatus(Libc.CurrentDirectory, path, Libc.NoFollow, Libc.BasicStatus, out Libc.FileStatus status) != 0)
        {
            return; // Nothing is there; whatever else is wrong, Bind says.
        }

        if ((status.Mode & Libc.FileTypeMask) != Libc.SocketFile)
        {
            throw new StartupException(ExitCode.CannotCreate, $"{path} is there, and is no socket; move it away or set [daemon] socket.");
        }

        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException exception) when (exception.SocketErrorCode == SocketError.ConnectionRefused)
        {
            File.Delete(path);
            return;
        }

        throw new StartupException(ExitCode.CannotCreate, $"A daemon serves on {path} already.");
    }
}
