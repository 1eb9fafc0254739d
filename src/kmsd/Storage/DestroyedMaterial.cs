using Kmsd.Hosting;

namespace Kmsd.Storage;

/// <summary>
/// What destroyed keys and retired root generations leave in <c>version_material</c> until the next start: rows whose material is overwritten with zeros. Where
/// rows are removed SQLite joins half-empty pages, and leaves copies of rows that it moves in free space, which secure_delete doesn't
/// overwrite; so a key that is deleted later would still be there. While the daemon serves, rows of this table are therefore
/// appended, and overwritten in their place, and never removed or made longer.
/// </summary>
internal static class DestroyedMaterial
{
    /// <summary>The condition for a row that was overwritten: it decides nothing any more.</summary>
    public const string IsDestroyed = "blob = zeroblob(length(blob))";

    private const string Columns = "tag, version, generation, mechanism, token_family, blob, binding, mac_generation, encoding_version, row_code";

    /// <summary>Overwrites the material of a key.</summary>
    public static void Overwrite(Database database, byte[] tag) => database.Prepare(
        "UPDATE version_material SET blob = zeroblob(length(blob)), binding = zeroblob(length(binding)) WHERE tag = $1")
        .BindAll(tag).Execute();

    /// <summary>Overwrites the material of a version that one root generation carries.</summary>
    public static void Overwrite(Database database, byte[] tag, long version, long generation) => database.Prepare(
        "UPDATE version_material SET blob = zeroblob(length(blob)), binding = zeroblob(length(binding)) WHERE tag = $1 AND version = $2 AND generation = $3")
        .BindAll(tag, version, generation).ExecuteOne();

    /// <summary>At start: removes the rows that are left, and writes the others anew in their order, on pages that are zeroed before.</summary>
    public static void Sweep(Database database)
    {
        if (database.Prepare($"SELECT count(*) FROM version_material WHERE {IsDestroyed}").QueryNumber() == 0)
        {
            return;
        }

        database.Execute("BEGIN IMMEDIATE");
        database.Execute($"CREATE TEMP TABLE standing AS SELECT rowid AS place, {Columns} FROM version_material WHERE NOT ({IsDestroyed})");
        database.Execute("DELETE FROM version_material");
        database.Execute($"INSERT INTO version_material ({Columns}) SELECT {Columns} FROM standing ORDER BY place");
        database.Execute("DROP TABLE standing");
        database.Execute("COMMIT");
        FaultPoint.Reach("sweep.after-commit");
        _ = database.TryEmptyLog(); // What is left in it the writer empties.
    }
}
