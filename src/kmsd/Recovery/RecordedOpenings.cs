using Kmsd.History;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Recovery;

/// <summary>
/// Which openings of custody a database has on record. What records them may be cut off before it removes the notes, and whatever comes
/// next finds these again: an opening is known by its time and by what is said of it, which its entry in the history holds.
/// </summary>
internal static class RecordedOpenings
{
    private const string Operation = "root.restore";

    // The entry's own code isn't looked at: in its place another would have to be missing, which the proof of the whole history finds.
    private const string Select = """
        SELECT 1 FROM history
        WHERE tag IS NULL AND store_id IS NULL AND salt IS NOT NULL AND scope = $1 AND operation = $2 AND at = $3 AND detail = $4 LIMIT 1
        """;

    /// <summary>The entry by which it is known.</summary>
    public static HistoryEntry EntryOf(OpeningNote opening) =>
        new() { At = opening.At, Scope = HistoryScope.Root, Operation = Operation, Detail = opening.Description };

    public static bool Holds(Database database, OpeningNote opening)
    {
        bool isThere = false;
        database.Prepare(Select).BindAll(HistoryScope.Root, Operation, opening.At.ToUnixTimeMilliseconds(), opening.Description).Query(_ => isThere = true);
        return isThere;
    }
}
