using System.Globalization;
using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.EndToEnd.Tests.StateMachine;
using Kmsd.History;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.Tests.History;

/// <summary>
/// A history of more than a thousand entries, some of them purged and some erased for their age, changed in random ways that
/// need no older copy. Everything is found, and what is named is the first entry that is bad. Which that is, SQLite says, by
/// comparing the rows with those of before.
/// <c>KMS_TAMPERINGS</c>: how many ways; <c>KMS_TAMPER_SEED</c>: begin with those of this seed.
/// </summary>
public sealed class HistoryTamperingTests
{
    private const int TamperingsAConnection = 200;

    private static readonly string s_copies = """
        CREATE TEMP TABLE pristine AS SELECT * FROM history;
        CREATE TEMP TABLE pristine_head AS SELECT * FROM history_heads;
        CREATE UNIQUE INDEX temp.pristine_by_sequence ON pristine (sequence);
        CREATE TEMP VIEW erased AS SELECT sequence, purged_by FROM history WHERE salt IS NULL AND at IS NULL AND scope IS NULL AND store_id IS NULL
            AND tag IS NULL AND version IS NULL AND operation IS NULL AND principal IS NULL AND uid IS NULL AND pid IS NULL AND unit IS NULL
            AND outcome IS NULL AND detail IS NULL AND items IS NULL AND context_digest IS NULL AND purged_by > sequence;
        CREATE TEMP VIEW differing AS
            SELECT sequence FROM (SELECT * FROM history EXCEPT SELECT * FROM pristine)
            UNION SELECT sequence FROM (SELECT * FROM pristine EXCEPT SELECT * FROM history);
        CREATE TEMP VIEW touched AS SELECT d.sequence FROM differing d
            WHERE NOT EXISTS (SELECT 1 FROM erased e JOIN pristine p USING (sequence) WHERE e.sequence = d.sequence
                AND (SELECT digest || link FROM history h WHERE h.sequence = d.sequence) = p.digest || p.link);
        CREATE TEMP VIEW standing AS SELECT sequence FROM pristine WHERE operation = 'history.purge' AND sequence NOT IN (SELECT sequence FROM differing);
        CREATE TEMP TABLE pristine_erasures AS SELECT purged_by AS purge, group_concat(sequence) AS sequences
            FROM (SELECT sequence, purged_by FROM pristine WHERE salt IS NULL ORDER BY sequence) GROUP BY purged_by;
        CREATE TEMP VIEW erasures AS SELECT purged_by AS purge, min(sequence) AS first, group_concat(sequence) AS sequences
            FROM (SELECT * FROM erased ORDER BY sequence) GROUP BY purged_by;
        """;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Whatever_is_done_to_a_history_is_found_and_the_first_bad_entry_is_named()
    {
        int count = Count("KMS_TAMPERINGS", 2000);
        ulong seed = ulong.Parse(
            Environment.GetEnvironmentVariable("KMS_TAMPER_SEED") ?? Environment.GetEnvironmentVariable("KMS_WALK_RANDOM_SEED")
            ?? BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))).ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        await using Daemon daemon = await MakeAsync();
        HistoryShape shape = Shape(daemon);
        await daemon.StopAsync();
        using Verification verification = new(daemon);
        Assert.True(shape.Last > HistoryChain.EntriesAKey, $"{shape.Last}");
        Assert.True(shape is { Purges.Count: 2, Erased.Count: > 200 });
        Dictionary<string, int> found = [];
        int left = count;
        while (left > 0)
        {
            using var database = Database.Open(daemon.Path);
            foreach (string statement in s_copies.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
            {
                database.Execute(statement);
            }

            for (int i = 0; i < TamperingsAConnection && left > 0; i++, left--)
            {
                string outcome = Try(verification, database, unchecked(seed + (ulong)(count - left)), shape);
                found[outcome] = found.GetValueOrDefault(outcome) + 1;
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"from seed {seed} on: {string.Join(", ", found.Select(one => $"{one.Value} {one.Key}"))}");
        Assert.InRange(found.GetValueOrDefault("found"), count * 3 / 4, count);
    }

    /// <summary>One tampering, taken back at the end.</summary>
    private static string Try(Verification verification, Database database, ulong seed, HistoryShape shape)
    {
        var tampering = Tampering.Roll(new Dice(seed), shape);
        database.Execute("BEGIN");
        try
        {
            foreach (string statement in tampering.Statements)
            {
                database.Execute(statement);
            }
        }
        catch (SqliteException exception) when (exception.SqliteErrorCode is 19 or 20) // SQLITE_CONSTRAINT, SQLITE_MISMATCH
        {
            database.Execute("ROLLBACK");
            return "that SQLite itself refused";
        }

        long? expected = FirstBad(database, shape);
        HistoryVerdict verdict = verification.Run(database);
        database.Execute("ROLLBACK");
        Assert.True(
            verdict.FirstBad == expected,
            $"KMS_TAMPER_SEED={seed}: {tampering.What}: {expected?.ToString(CultureInfo.InvariantCulture) ?? "nothing"} expected, {verdict.FirstBad?.ToString(CultureInfo.InvariantCulture) ?? "nothing"} named. {string.Join("; ", tampering.Statements)}");
        return expected is null ? "that changed nothing" : "found";
    }

    /// <summary>
    /// By comparison with what was written; null: nothing differs. What stands beyond the end is bad where the end is. An entry
    /// that looks as if it had been purged is bad if the purge entry that it points to doesn't name it, which is only to be
    /// seen where that entry, and all before it, is as it was.
    /// </summary>
    private static long? FirstBad(Database database, HistoryShape shape)
    {
        const string Never = "0x7fffffffffffffff";
        bool isHeadTheSame = database.Prepare("SELECT count(*) FROM (SELECT * FROM history_heads INTERSECT SELECT * FROM pristine_head)").QueryNumber() == 1;
        long touched = database.Prepare($"SELECT coalesce(min(min(sequence), $1), {Never}) FROM touched").BindAll(shape.Last + 1).QueryNumber();
        long first = isHeadTheSame ? touched : Math.Min(touched, shape.Last + 1);
        first = database.Prepare($"""
            SELECT coalesce((SELECT coalesce(e.first, p.purge) FROM pristine_erasures p LEFT JOIN erasures e USING (purge)
                WHERE p.purge IN standing AND p.purge < $1 AND e.sequences IS NOT p.sequences ORDER BY p.purge LIMIT 1), $1)
            """).BindAll(first).QueryNumber();
        first = database.Prepare($"""
            SELECT min($1, coalesce((SELECT min(first) FROM erasures WHERE purge NOT IN standing AND (purge < $1 OR $1 = {Never})), $1))
            """).BindAll(first).QueryNumber();
        return first == long.MaxValue ? null : first;
    }

    /// <summary>Uses of two keys and of a unit, changes and refusals; a purged key, and uses that became old.</summary>
    private static async Task<Daemon> MakeAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        KeyDescription purged = await daemon.CreateKeyAsync("purged", ("uid:2000", KeyRole.EncryptorDecryptor));
        _ = await daemon.CreateKeyAsync("kept", ("uid:2000", KeyRole.EncryptorDecryptor), ("unit:nginx.service", KeyRole.EncryptorDecryptor));
        await UseAsync(daemon, 150, "purged", "kept");
        _ = await daemon.AddGrantAsync(Daemon.Manager, "kept", "uid:3000", KeyRole.Reviewer);
        _ = await daemon.Operations.RequestDeletion.RunAsync(
            Daemon.Manager, new DeleteKeyRequest { Key = "purged", ConfirmName = "purged" }, Cancellation);
        _ = await daemon.Operations.DeleteKey.RunAsync(Daemon.Manager, new DeleteKeyRequest { Key = "purged", ConfirmName = "purged" }, Cancellation);
        await UseAsync(daemon, 20, "kept");
        _ = await daemon.Operations.PurgeDeletedKey.RunAsync(
            Daemon.Operator, new PurgeDeletedKeyRequest { Tag = purged.Tag, Reason = "asked for" }, Cancellation);
        daemon.Clock.Advance(TimeSpan.FromDays(401));
        await UseAsync(daemon, 100, "kept");
        await daemon.Retention.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        _ = await daemon.CreateKeyAsync("late", ("uid:2000", KeyRole.EncryptorDecryptor));
        await UseAsync(daemon, 170, "kept", "late");
        return daemon;
    }

    /// <summary>So often each: encrypted by a user with a context and by a unit, and decrypted well or badly.</summary>
    private static async Task UseAsync(Daemon daemon, int times, params string[] keys)
    {
        for (int i = 0; i < times; i++)
        {
            foreach (string key in keys)
            {
                string ciphertext = await daemon.EncryptAsync(Daemon.Uid(2000), key, [1], i % 2 == 0 ? [(byte)i] : null);
                _ = i % 7 == 0 && key != "kept"
                    ? await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => daemon.DecryptAsync(Daemon.Uid(2000), key, ciphertext, [255, 254]))
                    : null;
                _ = key == "kept" ? await daemon.EncryptAsync(Daemon.Unit("nginx.service", 61184), key) : null;
            }
        }
    }

    private static HistoryShape Shape(Daemon daemon) => new(
        (long)daemon.Query("SELECT max(sequence) FROM history")!,
        Numbers(daemon, "SELECT sequence FROM history WHERE salt IS NULL"),
        Numbers(daemon, "SELECT sequence FROM history WHERE operation = 'history.purge'"));

    private static List<long> Numbers(Daemon daemon, string sql) => daemon.Run(sql, command =>
    {
        List<long> numbers = [];
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            numbers.Add(reader.GetInt64(0));
        }

        return numbers;
    });

    private static int Count(string name, int reduced) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : reduced;

    /// <summary>As <c>kmsd history verify</c> does it: with the token, and without a running daemon.</summary>
    private sealed class Verification : IDisposable
    {
        private readonly Daemon _daemon;
        private readonly GenerationKeys _rowKeys = new();
        private readonly GenerationKeys _historyKeys = new();

        public Verification(Daemon daemon)
        {
            _daemon = daemon;
            _rowKeys.Add(1, daemon.Root.DeriveKey(TokenAccess.RowsKeyLabel));
            _historyKeys.Add(1, daemon.Root.DeriveKey(TokenAccess.HistoryKeyLabel));
        }

        public HistoryVerdict Run(Database database)
        {
            RowAuthenticator authenticator = new(_rowKeys, _daemon.InstanceId, _daemon.Root.Generation);
            using HistoryVerifier verifier = new(_historyKeys, HistorySegment.ReadAll(database, authenticator), _daemon.InstanceId);
            HistoryHead? head = HistoryHead.ReadRow(database, authenticator)?.Head;
            while (verifier.ReadPage(database, long.MaxValue))
            {
            }

            return verifier.Finish(head);
        }

        public void Dispose()
        {
            _rowKeys.Dispose();
            _historyKeys.Dispose();
        }
    }
}
