using System.Collections.Immutable;

namespace Kmsd.Access;

/// <summary>Who is at the other end of a connection: the kernel's word, taken once when it connected.</summary>
internal sealed class Caller
{
    public Caller(int processId, uint uid, uint gid, ImmutableArray<uint> groups)
    {
        ProcessId = processId;
        Uid = uid;
        Gid = gid;
        Groups = groups;
        Principals = [.. Named(uid, gid, groups)];
    }

    public int ProcessId { get; }

    public uint Uid { get; }

    public uint Gid { get; }

    /// <summary>The supplementary groups.</summary>
    public ImmutableArray<uint> Groups { get; }

    /// <summary>Every principal that a grant to this caller may name.</summary>
    public ImmutableArray<Principal> Principals { get; }

    /// <summary>The one that history names.</summary>
    public Principal Primary => Principal.User(Uid);

    public bool Is(Principal principal) => Principals.Contains(principal);

    public override string ToString() => $"uid:{Uid} pid:{ProcessId}";

    private static IEnumerable<Principal> Named(uint uid, uint gid, ImmutableArray<uint> groups)
    {
        IEnumerable<Principal> all =
            [Principal.User(uid), Principal.Group(gid), .. groups.Where(group => group != gid).Select(Principal.Group)];
        return all.Where(principal => principal.CanBeGranted).Distinct();
    }
}
