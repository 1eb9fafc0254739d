using System.Collections.Immutable;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Kmsd.Access;

namespace Kmsd.Rpc;

/// <summary>Who connected, by the kernel's word (unix(7), SO_PEERCRED; SO_PEERGROUPS since Linux 4.13), and his unit.</summary>
internal static class PeerCredentials
{
    private const int SolSocket = 1;
    private const int SoPeerCred = 17;
    private const int SoPeerGroups = 59;

    // A process can be in at most 65,536 groups (NGROUPS_MAX).
    private const int MostGroups = 65_536;

    /// <exception cref="SocketException">The kernel doesn't say.</exception>
    public static Caller Read(Socket socket, UnitRules units)
    {
        Span<int> credentials = stackalloc int[3]; // struct ucred: pid, uid, gid
        _ = socket.GetRawSocketOption(SolSocket, SoPeerCred, MemoryMarshal.AsBytes(credentials));
        return new Caller(
            credentials[0], unchecked((uint)credentials[1]), unchecked((uint)credentials[2]), ReadGroups(socket),
            units.Filter(PeerUnit.Read(socket)));
    }

    private static ImmutableArray<uint> ReadGroups(Socket socket)
    {
        for (int count = 64; ; count = MostGroups)
        {
            uint[] groups = new uint[count];
            try
            {
                int length = socket.GetRawSocketOption(SolSocket, SoPeerGroups, MemoryMarshal.AsBytes(groups.AsSpan()));
                return [.. groups.AsSpan(0, length / sizeof(uint))];
            }
            catch (SocketException) when (count < MostGroups)
            {
                // ERANGE: there are more groups than fitted; the next try has room for all that there can be.
            }
        }
    }
}
