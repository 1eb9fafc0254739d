using System.Text;

namespace Kmsd.Access;

/// <summary>
/// Finds the unit of a process by its control group, as the kernel shows it (<c>/proc/PID/cgroup</c>, cgroups(7)). Only below
/// <c>/system.slice</c> does systemd alone, as root, decide who is where: <c>/system.slice/[system-….slice/…]NAME.service[/…]</c>.
/// What lies deeper was delegated to that unit, whatever it calls it.
/// </summary>
internal static class ControlGroup
{
    private const string SliceSuffix = ".slice";

    /// <param name="text">All of <c>/proc/PID/cgroup</c>. Lines of version 1 hierarchies are passed over: systemd keeps its own in version 2.</param>
    public static UnitName? FindUnit(ReadOnlySpan<byte> text)
    {
        ReadOnlySpan<byte> root = "/system.slice/"u8;
        return TryFindUnifiedPath(text, out ReadOnlySpan<byte> path) && path.StartsWith(root) && !path.EndsWith(" (deleted)"u8)
            ? FindBelow("system", path[root.Length..])
            : null;
    }

    /// <summary>False where processes are in hierarchies of version 1 alone: then no unit is ever found.</summary>
    public static bool HasUnifiedHierarchy(ReadOnlySpan<byte> text) => TryFindUnifiedPath(text, out _);

    private static bool TryFindUnifiedPath(ReadOnlySpan<byte> text, out ReadOnlySpan<byte> path)
    {
        ReadOnlySpan<byte> mark = "0::"u8;
        path = default;
        int found = 0;
        foreach (Range range in text.Split((byte)'\n'))
        {
            if (text[range].StartsWith(mark))
            {
                path = text[range][mark.Length..];
                found++;
            }
        }

        return found == 1; // The kernel writes one. If there are two, one of them is somebody's invention.
    }

    private static UnitName? FindBelow(string slice, ReadOnlySpan<byte> path)
    {
        foreach (Range range in path.Split((byte)'/'))
        {
            string part = Unescape(Encoding.Latin1.GetString(path[range]));
            if (!part.EndsWith(SliceSuffix, StringComparison.Ordinal))
            {
                return UnitName.TryParse(part, out UnitName unit) ? unit : null;
            }

            string stem = part[..^SliceSuffix.Length];
            if (!IsChild(stem, slice))
            {
                return null;
            }

            slice = stem;
        }

        return null;
    }

    /// <summary>A slice's name says which one it is in (systemd.slice(5)): <c>system-getty.slice</c> is in <c>system.slice</c>.</summary>
    private static bool IsChild(string slice, string parent) =>
        slice.Length > parent.Length + 1
        && slice.StartsWith(parent, StringComparison.Ordinal)
        && slice.LastIndexOf('-') == parent.Length;

    /// <summary>systemd puts a <c>_</c> before names that the kernel keeps for itself, and before those that begin with one.</summary>
    private static string Unescape(string part) => part.StartsWith('_') ? part[1..] : part;
}
