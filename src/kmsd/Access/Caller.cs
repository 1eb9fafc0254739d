using System.Collections.Immutable;

namespace Kmsd.Access;

/// <summary>Who is at the other end of a connection: the kernel's word, taken once when it connected.</summary>
internal sealed class Caller
{
    public Caller(int processId, uint uid, uint gid, ImmutableArray<uint> groups, UnitName? unit = null)
    {
        ProcessId = processId;
        Uid = uid;
        Gid = gid;
        Groups = groups;
        // Somebody whose uid isn't mapped isn't of this host, whatever his control group is called.
        Unit = unit is { RunsOthersPrograms: false } && !Principal.IsUnmapped(uid) ? unit : null;
        Principals = [.. Named(uid, gid, groups, Unit)];
        Primary = Unit is UnitName own && Principal.IsDynamicUser(uid) ? Principal.Of(own) : Principal.User(uid);
        PrimaryText = Primary.ToString();
    }

    public int ProcessId { get; }

    public uint Uid { get; }

    public uint Gid { get; }

    /// <summary>The supplementary groups.</summary>
    public ImmutableArray<uint> Groups { get; }

    /// <summary>The systemd unit, if he is in one that can be a principal.</summary>
    public UnitName? Unit { get; }

    /// <summary>Every principal that a grant to this caller may name.</summary>
    public ImmutableArray<Principal> Principals { get; }

    /// <summary>The one that history names: the user, but the unit where systemd only lends it a user.</summary>
    public Principal Primary { get; }

    /// <summary>As it is written.</summary>
    public string PrimaryText { get; }

    public bool Is(Principal principal) => Principals.Contains(principal);

    public override string ToString() => Unit is null ? $"uid:{Uid} pid:{ProcessId}" : $"uid:{Uid} pid:{ProcessId} unit:{Unit}";

    private static IEnumerable<Principal> Named(uint uid, uint gid, ImmutableArray<uint> groups, UnitName? unit)
    {
        IEnumerable<Principal> all =
        [
            Principal.User(uid),
            .. unit is UnitName name ? [Principal.Of(name)] : Array.Empty<Principal>(),
            Principal.Group(gid),
            .. groups.Where(group => group != gid).Select(Principal.Group),
        ];
        return all.Where(principal => principal.CanBeGranted).Distinct();
    }
}
