using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Kmsd.Access;
using Kmsd.Hosting;
using Microsoft.Win32.SafeHandles;

namespace Kmsd.Rpc;

/// <summary>
/// The systemd unit of whoever connected. The kernel gives a pidfd of him (SO_PEERPIDFD, since Linux 6.5), which says which
/// number he has; the number says which control group he is in; and a last look at the pidfd says that he lived all the while,
/// so that the number was nobody else's. See <c>docs/adr/0014-the-unit-of-a-caller.md</c>.
/// </summary>
internal static class PeerUnit
{
    private const int SolSocket = 1;
    private const int SoPeerPidFd = 77;

    // Of errno(3).
    private const int NoSuchProcess = 3;
    private const int InvalidArgument = 22;
    private const int NoData = 61;
    private const int NoSuchOption = 92;

    // A line of at most PATH_MAX for each of the hierarchies, of which there is a dozen.
    private const int LongestFileInBytes = 64 * 1024;

    /// <summary>The unit; null if he is in none, or is gone.</summary>
    /// <exception cref="SocketException">The kernel has no room for another descriptor.</exception>
    public static UnitName? Read(Socket socket)
    {
        int error = Open(socket, out SafeFileHandle pidfd);
        using (pidfd)
        {
            return error switch
            {
                0 => Of(pidfd),
                NoSuchOption or NoSuchProcess or InvalidArgument or NoData => null,
                _ => throw new SocketException((int)SocketError.NoBufferSpaceAvailable, Marshal.GetPInvokeErrorMessage(error)),
            };
        }
    }

    /// <summary>Why units can't be told on this host: a sentence, or null if they can.</summary>
    public static string? WhyNot()
    {
        using Socket unconnected = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        int error = Open(unconnected, out SafeFileHandle none);
        none.Dispose();
        if (error == NoSuchOption)
        {
            return "This host's kernel can't vouch for systemd units: SO_PEERPIDFD is there since Linux 6.5. Grant to a uid or a gid.";
        }

        return TryReadFile("/proc/self/cgroup") is byte[] own && ControlGroup.HasUnifiedHierarchy(own)
            ? null
            : "This host can't vouch for systemd units: it has no control groups of version 2. Grant to a uid or a gid.";
    }

    /// <summary>The unit of the process that <paramref name="pidfd"/> refers to.</summary>
    internal static UnitName? Of(SafeFileHandle pidfd)
    {
        string descriptor = pidfd.DangerousGetHandle().ToString(CultureInfo.InvariantCulture);
        return TryReadFile($"/proc/self/fdinfo/{descriptor}") is byte[] description
            && FindProcessId(description) is int processId
            && TryReadFile(string.Create(CultureInfo.InvariantCulture, $"/proc/{processId}/cgroup")) is byte[] controlGroup
            && IsAlive(pidfd)
                ? ControlGroup.FindUnit(controlGroup)
                : null;
    }

    /// <summary>The line <c>Pid:</c> of a pidfd: -1 once the process is gone, 0 if it isn't of our namespace (proc(5)).</summary>
    private static int? FindProcessId(ReadOnlySpan<byte> description)
    {
        foreach (Range range in description.Split((byte)'\n'))
        {
            ReadOnlySpan<byte> line = description[range];
            if (line.StartsWith("Pid:\t"u8))
            {
                return int.TryParse(line["Pid:\t"u8.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out int id) && id > 0 ? id : null;
            }
        }

        return null;
    }

    /// <summary>A pidfd becomes readable when its process ends (pidfd_open(2)). Until it is reaped nobody else gets its number.</summary>
    private static bool IsAlive(SafeFileHandle pidfd)
    {
        Libc.PollRequest request = new() { Descriptor = (int)pidfd.DangerousGetHandle(), Events = Libc.PollIn };
        return Libc.Poll(ref request, 1, 0) == 0;
    }

    private static int Open(Socket socket, out SafeFileHandle pidfd)
    {
        uint length = sizeof(int);
        bool isOpen = Libc.GetSocketOption(socket.SafeHandle, SolSocket, SoPeerPidFd, out int descriptor, ref length) == 0;
        pidfd = new SafeFileHandle(isOpen ? descriptor : -1, ownsHandle: true);
        return isOpen ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>All of a small file of <c>/proc</c>; null if it isn't there (any more) or is longer than it can be.</summary>
    private static byte[]? TryReadFile(string path)
    {
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
            byte[] buffer = new byte[4096];
            int length = 0;
            while (file.Read(buffer, length, buffer.Length - length) is int read and > 0)
            {
                length += read;
                if (length > LongestFileInBytes)
                {
                    return null;
                }

                Array.Resize(ref buffer, length == buffer.Length ? 2 * length : buffer.Length);
            }

            return buffer[..length];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
