using Kmsd.History;
using Kmsd.Storage;

namespace Kmsd.Integrity;

/// <summary>What a start makes of the database and the anchor.</summary>
internal enum AnchorVerdict
{
    /// <summary>No anchor is kept.</summary>
    None = 0,

    /// <summary>The database is the one that was settled.</summary>
    Settled = 1,

    /// <summary>The database is the one whose commit was announced: it happened, and is settled now.</summary>
    Pending = 2,

    /// <summary>The database is newer than the token knows: the token lost what was written to it last, as in a power cut.</summary>
    AnchorLostWrites = 3,

    /// <summary>The token holds no record that verifies.</summary>
    NoAnchor = 4,

    /// <summary>The database is older than the token knows.</summary>
    RolledBack = 5,

    /// <summary>Another set of rows stands in the epoch that the token knows.</summary>
    AnotherSet = 6,

    /// <summary>The token follows the database of another lineage: one that was accepted after this one was copied, or before.</summary>
    AnotherLineage = 7,

    /// <summary>The history ends before what the token knows, or says something else there.</summary>
    HistoryCut = 8,

    /// <summary>An operator accepted the database in place of exactly what the token knows; the token wasn't told of it any more.</summary>
    Accepted = 9,
}

/// <summary>The table of what happens at start. Pure: it reads and writes nothing.</summary>
internal static class AnchorPolicy
{
    /// <param name="lineage">The database's.</param>
    /// <param name="set">The database's, its root computed anew and found to be what the coded head row says.</param>
    /// <param name="linkAt">The link of an entry of the database's history; null if there is no such entry.</param>
    /// <param name="anchor">The token's; null if it has none that verifies.</param>
    /// <param name="supersedes">The name of the anchor that the database was accepted in place of; null if it never was.</param>
    public static AnchorVerdict Judge(byte[] lineage, SetState set, Func<long, byte[]?> linkAt, AnchorRecord? anchor, byte[]? supersedes = null)
    {
        if (anchor is null)
        {
            return AnchorVerdict.NoAnchor;
        }

        if (!anchor.Lineage.AsSpan().SequenceEqual(lineage))
        {
            // The token writes no name twice, so this holds only until it is told.
            return supersedes is not null && anchor.Name.AsSpan().SequenceEqual(supersedes) ? AnchorVerdict.Accepted : AnchorVerdict.AnotherLineage;
        }

        AnchorVerdict verdict = Judge(set, anchor.Settled, anchor.Pending);
        return Serves(verdict) && !Holds(anchor.History, linkAt) ? AnchorVerdict.HistoryCut : verdict;
    }

    /// <summary>True if the database may be served.</summary>
    public static bool Serves(AnchorVerdict verdict) =>
        verdict is AnchorVerdict.None or AnchorVerdict.Settled or AnchorVerdict.Pending or AnchorVerdict.AnchorLostWrites or AnchorVerdict.Accepted;

    /// <summary>For a person.</summary>
    public static string Describe(AnchorVerdict verdict) => verdict switch
    {
        AnchorVerdict.NoAnchor => "The token holds no anchor of this database that verifies: none at all, or one of a root generation whose keys are gone.",
        AnchorVerdict.RolledBack => "The database is older than what the token has seen of it.",
        AnchorVerdict.AnotherSet => "The database isn't the one that the token has seen: another state stands at the same place.",
        AnchorVerdict.AnotherLineage => "The token follows another lineage of this database: one of the two was put back before.",
        AnchorVerdict.HistoryCut => "The history of the database ends before what the token has seen of it, or differs.",
        _ => "The database is the one that the token knows.",
    };

    private static AnchorVerdict Judge(SetState set, SetState settled, SetState? pending) =>
        set.IsSameAs(settled) ? AnchorVerdict.Settled
        : pending is SetState announced && set.IsSameAs(announced) ? AnchorVerdict.Pending
        : set.Epoch < settled.Epoch ? AnchorVerdict.RolledBack
        : set.Epoch == settled.Epoch || set.Epoch == pending?.Epoch ? AnchorVerdict.AnotherSet
        : AnchorVerdict.AnchorLostWrites;

    private static bool Holds(HistoryHead anchored, Func<long, byte[]?> linkAt) =>
        linkAt(anchored.Sequence) is byte[] link && link.AsSpan().SequenceEqual(anchored.Link);
}
