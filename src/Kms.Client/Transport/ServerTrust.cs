using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Kms.Client.Transport;

/// <summary>Which accounts may be the server: root (systemd holds the socket), the daemon's own account, or the caller itself.</summary>
internal sealed class ServerTrust(Func<IReadOnlyCollection<uint>> uids)
{
    public const string Account = "kmsd";

    private const int SolSocket = 1;
    private const int SoPeerCred = 17;

    public static ServerTrust Default { get; } = new(() =>
        Libc.FindUser(Account) is uint kmsd ? [0, kmsd, Libc.GetEffectiveUserId()] : [0, Libc.GetEffectiveUserId()]);

    /// <summary>What the kernel says of everybody whom the caller's user namespace doesn't map: it may be anybody, even where the caller is one himself.</summary>
    private const uint Overflow = 65534;

    /// <exception cref="KmsUnreachableException">The server runs as somebody else.</exception>
    public void Check(Socket socket, string path)
    {
        Span<uint> credentials = stackalloc uint[3]; // struct ucred: pid, uid, gid
        _ = socket.GetRawSocketOption(SolSocket, SoPeerCred, MemoryMarshal.AsBytes(credentials));
        if (credentials[1] is Overflow or uint.MaxValue || !uids().Contains(credentials[1]))
        {
            throw new KmsUnreachableException(
                $"The server at '{path}' runs as uid {credentials[1]}, which is neither root, '{Account}' nor the caller; nothing was sent to it.");
        }
    }
}
