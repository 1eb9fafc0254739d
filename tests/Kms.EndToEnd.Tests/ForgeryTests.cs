using System.Globalization;
using Kms.EndToEnd.Tests.StateMachine;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>
/// Somebody writes the database with the sqlite3 tool, and may have yesterday's copy and another installation's, but not the token: what
/// he wrote is refused or seen at the next start, and gives him nothing.
/// </summary>
public sealed class ForgeryTests(ForgeryScene scene) : IClassFixture<ForgeryScene>
{
    [Theory]
    [InlineData("a grant for oneself", "INSERT INTO grants SELECT tag, 'uid:6666', role, granted_at, mac_generation, encoding_version, row_code FROM grants LIMIT 1", "Refused")]
    [InlineData("a grant that was taken away, with its own code", "INSERT INTO grants SELECT * FROM old.grants WHERE tag = [alpha] AND principal = 'uid:6666'", "Refused")]
    [InlineData("a member that was taken away, with its own code", "INSERT INTO members SELECT * FROM old.members WHERE principal = 'uid:6666'", "Refused")]
    [InlineData("another's grant taken over", "UPDATE grants SET principal = 'uid:6666' WHERE principal = 'uid:2000' AND tag = [alpha]", "Refused")]
    [InlineData("a higher role", "UPDATE grants SET role = 'manager' WHERE principal = 'uid:2000' AND tag = [alpha]", "Refused")]
    [InlineData("a grant removed", "DELETE FROM grants WHERE principal = 'uid:2000' AND tag = [alpha]", "Refused")]
    [InlineData("grants of two keys exchanged", "UPDATE grants SET tag = x'00' WHERE tag = [alpha] AND principal = 'uid:2000'; UPDATE grants SET tag = [alpha] WHERE tag = [beta] AND principal = 'uid:2000'; UPDATE grants SET tag = [beta] WHERE tag = x'00'", "Refused")]
    [InlineData("a deleted key revived from yesterday's rows", "INSERT INTO keys SELECT * FROM old.keys WHERE tag = [victim]; INSERT INTO versions SELECT * FROM old.versions WHERE tag = [victim]; DELETE FROM version_material WHERE tag = [victim]; INSERT INTO version_material SELECT * FROM old.version_material WHERE tag = [victim]; INSERT INTO grants SELECT * FROM old.grants WHERE tag = [victim]; DELETE FROM deleted_keys", "Refused")]
    [InlineData("only the material of a deleted key put back", "DELETE FROM version_material WHERE tag = [victim]; INSERT INTO version_material SELECT * FROM old.version_material WHERE tag = [victim]", "Refused")]
    [InlineData("what remains of a deleted key removed", "DELETE FROM deleted_keys", "Refused")]
    [InlineData("blobs of two keys exchanged", "CREATE TEMP TABLE t AS SELECT tag, blob FROM version_material WHERE tag IN ([alpha], [beta]); UPDATE version_material SET blob = (SELECT blob FROM t WHERE t.tag <> version_material.tag) WHERE tag IN ([alpha], [beta])", "Detected")]
    [InlineData("blobs and codes of two keys exchanged", "CREATE TEMP TABLE t AS SELECT tag, blob, row_code FROM version_material WHERE tag IN ([alpha], [beta]); UPDATE version_material SET (blob, row_code) = (SELECT blob, row_code FROM t WHERE t.tag <> version_material.tag) WHERE tag IN ([alpha], [beta])", "Refused")]
    [InlineData("blobs of two versions exchanged", "CREATE TEMP TABLE t AS SELECT version, blob FROM version_material WHERE tag = [gamma]; UPDATE version_material SET blob = (SELECT blob FROM t WHERE t.version = CASE version_material.version WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 3 END) WHERE tag = [gamma]", "Detected")]
    [InlineData("versions renumbered", "UPDATE version_material SET version = version + 10 WHERE tag = [gamma]; UPDATE version_material SET version = CASE version WHEN 11 THEN 2 WHEN 12 THEN 1 ELSE 3 END WHERE tag = [gamma]", "Refused")]
    [InlineData("material zeroed as if it were destroyed", "UPDATE version_material SET blob = zeroblob(length(blob)) WHERE tag = [alpha]", "Refused")]
    [InlineData("a key moved to another store", "UPDATE keys SET store_id = (SELECT store_id FROM keys WHERE tag = [moved]) WHERE tag = [alpha]", "Detected")]
    [InlineData("a member moved to another store", "UPDATE members SET store_id = (SELECT store_id FROM stores WHERE name = 'other') WHERE principal = 'uid:2001'", "Refused")]
    [InlineData("stores renamed", "UPDATE stores SET name = CASE name WHEN 'other' THEN 'default2' ELSE name END", "Detected")]
    [InlineData("a key's counter lowered", "UPDATE keys SET usage_count = 0 WHERE tag = [alpha]", "Detected")]
    [InlineData("a version's counter lowered", "UPDATE versions SET item_count = 0, usage_count = 0 WHERE tag = [alpha]", "Detected")]
    [InlineData("a reservation lowered", "UPDATE versions SET encryptions_reserved = 0 WHERE tag = [alpha]", "Detected")]
    [InlineData("counters replaced by yesterday's, with their codes", "UPDATE keys SET (usage_count, last_used_at, usage_code) = (SELECT usage_count, last_used_at, usage_code FROM old.keys o WHERE o.tag = keys.tag) WHERE tag = [alpha]; UPDATE versions SET (usage_count, item_count, last_used_at, usage_code) = (SELECT usage_count, item_count, last_used_at, usage_code FROM old.versions o WHERE o.tag = versions.tag AND o.version = versions.version) WHERE tag = [alpha]", "Detected")]
    [InlineData("deleteAt set back", "UPDATE keys SET delete_at = delete_at - 259200000 WHERE tag = [pending]", "Detected")]
    [InlineData("deleteAt put off", "UPDATE keys SET delete_at = delete_at + 259200000 WHERE tag = [pending]", "Detected")]
    [InlineData("a deletion cancelled", "UPDATE keys SET state = 'enabled', delete_at = NULL WHERE tag = [pending]", "Detected")]
    [InlineData("a deletion cancelled by yesterday's row", "DELETE FROM keys WHERE tag = [pending]; INSERT INTO keys SELECT * FROM old.keys WHERE tag = [pending]", "Refused")]
    [InlineData("a disabled version enabled by yesterday's row", "DELETE FROM versions WHERE tag = [gamma] AND version = 1; INSERT INTO versions SELECT * FROM old.versions WHERE tag = [gamma] AND version = 1", "Refused")]
    [InlineData("a row replaced by its own older version", "DELETE FROM keys WHERE tag = [alpha]; INSERT INTO keys SELECT * FROM old.keys WHERE tag = [alpha]", "Refused")]
    [InlineData("the newest version removed", "DELETE FROM versions WHERE tag = [gamma] AND version = 3; DELETE FROM version_material WHERE tag = [gamma] AND version = 3", "Refused")]
    [InlineData("names of two keys exchanged", "UPDATE keys SET name = 'between' WHERE tag = [alpha]; UPDATE keys SET name = 'alpha' WHERE tag = [beta]; UPDATE keys SET name = 'beta' WHERE tag = [alpha]", "Detected")]
    [InlineData("public keys exchanged", "UPDATE versions SET public_key = (SELECT public_key FROM versions v WHERE v.tag = [signer2]) WHERE tag = [signer]", "Detected")]
    [InlineData("a rotation put off", "UPDATE keys SET next_rotation_at = next_rotation_at + 315360000000 WHERE tag = [alpha]", "Detected")]
    [InlineData("a row of another installation", "INSERT INTO grants SELECT [alpha], 'uid:6667', role, granted_at, mac_generation, encoding_version, row_code FROM foreign_.grants LIMIT 1", "Refused")]
    [InlineData("rows of a key of another installation", "INSERT INTO keys SELECT tag, (SELECT store_id FROM stores WHERE name = 'other'), 'foreign', type, protection, state, memo, created_at, state_changed_at, rotation_period_days, pending_rotation_period_days, next_rotation_at, delete_at, current_version, mac_generation, encoding_version, row_code, usage_count, last_used_at, usage_code FROM foreign_.keys LIMIT 1", "Refused")]
    [InlineData("all rows of yesterday and its head, but today's history", "DELETE FROM keys; INSERT INTO keys SELECT * FROM old.keys; DELETE FROM versions; INSERT INTO versions SELECT * FROM old.versions; DELETE FROM grants; INSERT INTO grants SELECT * FROM old.grants; DELETE FROM members; INSERT INTO members SELECT * FROM old.members; DELETE FROM version_material; INSERT INTO version_material SELECT * FROM old.version_material; DELETE FROM deleted_keys; DELETE FROM history_heads; INSERT INTO history_heads SELECT * FROM old.history_heads", "Refused")]
    [InlineData("yesterday's head", "DELETE FROM history_heads; INSERT INTO history_heads SELECT * FROM old.history_heads", "Refused")]
    [InlineData("another lineage", "UPDATE instance SET lineage = randomblob(16)", "Refused")]
    [InlineData("an acceptance that no operator gave", "UPDATE instance SET supersedes = randomblob(56)", "Refused")]
    [InlineData("no anchor any more", "UPDATE instance SET anchored = 0", "Refused")]
    [InlineData("the root key's date", "UPDATE root_generations SET rotate_by = rotate_by + 315360000000", "Refused")]
    [InlineData("a clock put forward", "UPDATE last_seen SET at = at + 259200000", "Refused")]
    [InlineData("the history's end cut", "DELETE FROM history WHERE sequence = (SELECT max(sequence) FROM history)", "Refused")]
    [InlineData("the history's end cut and the head with it", "DELETE FROM history WHERE sequence > (SELECT sequence FROM old.history_heads); DELETE FROM history_heads; INSERT INTO history_heads SELECT * FROM old.history_heads", "Refused")]
    [InlineData("an entry of the history changed", "UPDATE history SET principal = 'uid:1' WHERE sequence = 5", "FoundInHistory")]
    [InlineData("an entry of the history removed", "DELETE FROM history WHERE sequence = 5", "FoundInHistory")]
    [InlineData("an entry of the history erased as by a purge", "UPDATE history SET at = NULL, scope = NULL, store_id = NULL, tag = NULL, version = NULL, operation = NULL, principal = NULL, uid = NULL, pid = NULL, outcome = NULL, detail = NULL, items = NULL, context_digest = NULL, salt = NULL, purged_by = 9 WHERE sequence = 5", "FoundInHistory")]
    [InlineData("a notification removed", "DELETE FROM notifications WHERE principal = 'uid:0' AND sequence = (SELECT max(sequence) FROM notifications WHERE principal = 'uid:0')", "Detected")]
    [InlineData("all notifications removed", "DELETE FROM notifications", "Detected")]
    [InlineData("a notification for somebody else", "UPDATE notifications SET principal = 'uid:6667' WHERE principal = 'uid:0' AND sequence = (SELECT max(sequence) FROM notifications WHERE principal = 'uid:0')", "Detected")]
    [InlineData("a notification that says something else", "UPDATE notifications SET kind = 'key.enabled' WHERE principal = 'uid:0' AND sequence = (SELECT max(sequence) FROM notifications WHERE principal = 'uid:0')", "Detected")]
    [InlineData("notifications removed, and what vouches for their day", "DELETE FROM notifications; DELETE FROM notification_days", "Refused")]
    [InlineData("what somebody acknowledged moved on", "UPDATE notification_cursors SET sequence = sequence + 100 WHERE reader = 'uid:0'", "Detected")]
    [InlineData("what somebody acknowledged forgotten", "DELETE FROM notification_cursors WHERE reader = 'uid:0'", "Refused")]
    [InlineData("a trigger that gives grants", "CREATE TRIGGER t AFTER INSERT ON history BEGIN DELETE FROM grants; END", "Refused")]
    [InlineData("a constraint taken away", "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'UNIQUE (tag, principal, role)', 'UNIQUE (tag, principal, role, granted_at)') WHERE name = 'grants'", "Refused")]
    public async Task What_is_forged_gains_nothing(string what, string sql, string expected)
    {
        (ForgeryOutcome outcome, string how) = await scene.ForgeAsync(sql);
        TestContext.Current.TestOutputHelper?.WriteLine($"{what}: {outcome} ({how})");
        Assert.True(expected == outcome.ToString(), $"{what}: {outcome} ({how})");
        Assert.True(outcome != ForgeryOutcome.FoundInHistory || how.StartsWith("history: entry 5 isn't as it was written", StringComparison.Ordinal), how);
    }

    [Fact]
    public async Task Files_put_in_the_place_of_the_database_gain_nothing()
    {
        Assert.Equal(ForgeryOutcome.Refused, (await scene.ReplaceAsync(File.ReadAllBytes(scene.Yesterday))).Outcome);
        Assert.Equal(ForgeryOutcome.Refused, (await scene.ReplaceAsync(File.ReadAllBytes(scene.Foreign))).Outcome);
        Assert.Equal(ForgeryOutcome.Refused, (await scene.ReplaceAsync([])).Outcome);
    }

    /// <summary>A forgery that nobody sees would be found: a daemon that doesn't look at codes is no longer one of these tests.</summary>
    [Fact]
    public async Task Random_edits_gain_nothing()
    {
        int edits = Repository.Count("KMS_FORGERIES", 60);
        ulong seed = ulong.Parse(Environment.GetEnvironmentVariable("KMS_FORGERY_SEED") ?? "1", CultureInfo.InvariantCulture);
        Dice dice = new(seed);

        // This decides nothing: how often strangers knocked.
        IReadOnlyList<(string Table, string[] Columns, int Rows)> tables = [.. (await scene.ReadTablesAsync()).Where(table => table.Table != "refusals")];
        SortedDictionary<ForgeryOutcome, int> outcomes = [];
        for (int i = 0; i < edits; i++)
        {
            string sql = Draw(dice, tables);
            (ForgeryOutcome outcome, string how) = await scene.ForgeAsync(sql);
            Assert.True(outcome != ForgeryOutcome.Gained, $"edit {i} of seed {seed}: {sql}: {how}");

            // A row that is written anew as it was stands elsewhere, and that is all. The time that was seen is no secret, and may be an older one.
            Assert.True(
                outcome != ForgeryOutcome.WithoutEffect || sql.StartsWith("REPLACE INTO", StringComparison.Ordinal) || sql.Contains(" last_seen ", StringComparison.Ordinal),
                $"edit {i} of seed {seed}: {sql}: nobody sees it");
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
        }

        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{edits} edits, seed {seed}: {string.Join(", ", outcomes.Select(one => $"{one.Value} {(one.Key == ForgeryOutcome.None ? "that SQLite refuses" : one.Key)}"))}");
        Assert.True(outcomes.GetValueOrDefault(ForgeryOutcome.Refused) + outcomes.GetValueOrDefault(ForgeryOutcome.Detected) > edits / 4);
    }

    private static string Draw(Dice dice, IReadOnlyList<(string Table, string[] Columns, int Rows)> tables)
    {
        (string table, string[] columns, int rows) = dice.Pick(tables);
        string column = dice.Pick(columns);
        string row = $"(SELECT rowid FROM {table} {ForgeryScene.Holding(table)} ORDER BY rowid LIMIT 1 OFFSET {dice.Roll(rows)})";
        string another = $"(SELECT {column} FROM {table} ORDER BY rowid LIMIT 1 OFFSET {dice.Roll(rows)})";
        string flipped = string.Create(CultureInfo.InvariantCulture, $"{dice.Roll(1000)}");
        return dice.Roll(8) switch
        {
            0 => $"UPDATE {table} SET {column} = {another} WHERE rowid = {row}",
            1 => $"UPDATE {table} SET {column} = CASE typeof({column}) WHEN 'integer' THEN {column} + {dice.Roll(3) - 1} * {flipped} WHEN 'text' THEN {column} || 'x' ELSE randomblob(length({column})) END WHERE rowid = {row}",
            2 => $"DELETE FROM {table} WHERE rowid = {row}",
            3 => $"UPDATE {table} SET {column} = (SELECT {column} FROM old.{table} o WHERE o.rowid = {table}.rowid) WHERE rowid = {row}",
            4 => $"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM old.{table}",
            5 => $"REPLACE INTO {table} SELECT * FROM old.{table} ORDER BY rowid LIMIT 1 OFFSET {dice.Roll(rows)}",
            6 => $"UPDATE {table} SET ({string.Join(", ", columns)}) = (SELECT {string.Join(", ", columns)} FROM foreign_.{table} o WHERE o.rowid = {table}.rowid) WHERE rowid = {row}",
            _ => $"UPDATE {table} SET {column} = CASE typeof({column}) WHEN 'integer' THEN {dice.Roll(3)} WHEN 'text' THEN upper({column}) ELSE zeroblob(length({column})) END WHERE rowid = {row}",
        };
    }
}
