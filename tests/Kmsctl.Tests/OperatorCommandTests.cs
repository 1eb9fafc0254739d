using System.Globalization;
using System.Text;

namespace Kmsctl.Tests;

/// <summary>Stores, usage, deleted keys, the root key, metrics.</summary>
public sealed class OperatorCommandTests : IDisposable
{
    private const UnixFileMode EverybodyReads =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    private const string Metrics = "# HELP kmsd_a_total Ants.\n# TYPE kmsd_a_total counter\nkmsd_a_total{kind=\"\\t\"} 1\n";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kmsctl-");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string TextFile => Path.Combine(_folder.FullName, "kmsd.prom");

    public void Dispose() => _folder.Delete(recursive: true);

    [Theory]
    [InlineData("store create acme --manager user:alice", "stores.create", """{"name":"acme","manager":"user:alice"}""", "name\tacme\ncreated\t2026-11-24T01:02:03Z\nyour role\t-\n")]
    [InlineData("store list", "stores.list", "{}", "acme\t2026-11-24T01:02:03Z\t-\ndefault\t2026-11-23T01:02:03Z\tmanager\n")]
    [InlineData("usage --store acme --month 2026-11", "usage.report", """{"store":"acme","month":"2026-11"}""", "mail\t00112233445566778899aabbccddeeff\tRSA-2048\t20.5\t1\t0.125\t21.625\t17\n")]
    [InlineData("deleted list --store acme", "deletedKeys.list", """{"store":"acme"}""", "mail\t00112233445566778899aabbccddeeff\tdefault\tECDSA-P256\t2026-11-24T00:00:00Z\t2027-11-24T00:00:00Z\t2\t3\tnever\tuid:0=encryptor gid:9=reviewer\n")]
    [InlineData("deleted history abc --limit 7 --operation keys.create", "deletedKeys.history", """{"tag":"abc","limit":7,"operation":"keys.create"}""", "")]
    [InlineData("root status", "root.status", "{}", "generation\t2\norigin\ttoken\nmade\t2026-11-20T00:00:00Z\nrotate by\t2027-11-20T00:00:00Z\ncustody\tnone\nversions under it\t4 of 7\ngeneration 1\told, from the token, made 2025-11-20T00:00:00Z, carries 3 versions\ngeneration 2\tcurrent, from the token, made 2026-11-20T00:00:00Z, carries 4 versions\n")]
    [InlineData("backup", "backup.create", "{}", "backed up\tkmsd's database, without the root key\nfile\t/var/lib/kmsd/backups/kms-20261125T031500000Z.db\nsize\t147456 bytes\nsha256\t00ff\nhistory entries\t12\n")]
    [InlineData("metrics", "system.metrics", "{}", Metrics)]
    [InlineData("deletions release --yes", "deletions.release", "{}", "released\n")]
    public async Task What_is_asked_is_sent_and_the_answer_printed(string line, string method, string parameters, string output)
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, line.Split(' '));
        Assert.Equal((0, output), (run.ExitCode, run.Text));
        Assert.Equal(parameters, records.Only(method).Params.GetRawText());
        Run json = await Console.RunAsync(records.Daemon, [.. line.Split(' '), "--json"]);
        Assert.Equal(0, json.ExitCode);
        using var document = System.Text.Json.JsonDocument.Parse(json.Text);
        Assert.Equal(1, json.Text.Count(character => character == '\n'));
    }

    [Fact]
    public async Task Usage_is_of_the_present_month_and_the_default_store_unless_others_are_named()
    {
        await using var records = new RecordsDaemon();
        Assert.Equal(0, (await Console.RunAsync(records.Daemon, "usage")).ExitCode);
        Assert.Equal("default", records.Only("usage.report").Text("store"));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        Assert.Contains(
            records.Only("usage.report").Text("month"),
            new[] { now, now.AddMinutes(-2) }.Select(time => time.ToString("yyyy-MM", CultureInfo.InvariantCulture)));
        Assert.Contains("acme, ", (await Console.RunOnTerminalAsync(records.Daemon, "usage")).Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("y\n", 0)]
    [InlineData("n\n", 2)]
    [InlineData("", 2)]
    public async Task A_purge_says_what_it_erases_and_asks(string answer, int exitCode)
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, Encoding.UTF8.GetBytes(answer), "deleted", "purge", RecordsDaemon.Tag, "--reason", "as they asked");
        Assert.Equal(exitCode, run.ExitCode);
        Assert.Contains("Key 'mail' of 'default', deleted on 2026-11-24T00:00:00Z, 3 uses; kept until 2027-11-24T00:00:00Z.", run.Errors, StringComparison.Ordinal);
        Assert.Contains("Purge it? [y/N]", run.Errors, StringComparison.Ordinal);
        Assert.Equal(exitCode == 0 ? ["deletedKeys.list", "deletedKeys.purge"] : ["deletedKeys.list"], records.Methods);
        if (exitCode == 0)
        {
            Assert.Equal($$"""{"tag":"{{RecordsDaemon.Tag}}","reason":"as they asked"}""", records.Only("deletedKeys.purge").Params.GetRawText());
        }
    }

    [Fact]
    public async Task With_yes_a_purge_does_not_ask_and_without_a_reason_it_is_none()
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, "deleted", "purge", RecordsDaemon.Tag, "--reason", "x", "--yes");
        Assert.Equal((0, "purged\n"), (run.ExitCode, run.Text));
        Assert.DoesNotContain("[y/N]", run.Errors, StringComparison.Ordinal);
        Assert.Equal(64, (await Console.RunAsync(records.Daemon, "deleted", "purge", RecordsDaemon.Tag, "--yes")).ExitCode);
    }

    [Theory]
    [InlineData("y\n", 0)]
    [InlineData("\n", 2)]
    public async Task A_release_says_what_it_does_and_asks(string answer, int exitCode)
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, Encoding.UTF8.GetBytes(answer), "deletions", "release");
        Assert.Equal(exitCode, run.ExitCode);
        Assert.Contains("destroys at once every key whose 72 hours are over", run.Errors, StringComparison.Ordinal);
        Assert.Equal(exitCode == 0 ? ["deletions.release"] : [], records.Methods);
    }

    [Fact]
    public async Task A_text_file_is_replaced_whole_and_everybody_may_read_it()
    {
        await using var records = new RecordsDaemon();
        await File.WriteAllTextAsync(TextFile, "older", Cancellation);
        Run run = await Console.RunAsync(records.Daemon, "metrics", "--textfile", TextFile);
        Assert.Equal((0, string.Empty, string.Empty), (run.ExitCode, run.Text, run.Errors));
        Assert.Equal(Metrics, await File.ReadAllTextAsync(TextFile, Cancellation));
        Assert.Equal(EverybodyReads, File.GetUnixFileMode(TextFile));
        Assert.Equal(["kmsd.prom"], _folder.GetFiles().Select(file => file.Name));
        string[] renames = await Console.TraceAsync(records.Daemon, "rename,renameat,renameat2,openat,fsync", "metrics", "--textfile", TextFile);
        Assert.Contains(renames, call => call.Contains("rename", StringComparison.Ordinal) && call.Contains("kmsd.prom\"", StringComparison.Ordinal));
        Assert.DoesNotContain(renames, call => call.Contains("openat", StringComparison.Ordinal) && call.Contains("kmsd.prom\"", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_text_file_stays_as_it_was_when_the_daemon_refuses()
    {
        await using var records = new RecordsDaemon
        {
            Refusal = ("system.metrics", """{"code":2,"message":"Only operators may do this.","data":{"reason":"forbidden"}}"""),
        };
        await File.WriteAllTextAsync(TextFile, "older", Cancellation);
        Assert.Equal(12, (await Console.RunAsync(records.Daemon, "metrics", "--textfile", TextFile)).ExitCode);
        Assert.Equal("older", await File.ReadAllTextAsync(TextFile, Cancellation));
        Assert.Equal(64, (await Console.RunAsync(records.Daemon, "metrics", "--textfile", "-")).ExitCode);
        Run unnamed = await Console.RunAsync(records.Daemon, "metrics", "--textfile", "");
        Assert.Equal((64, "kmsctl: The name of the file to write is empty; name a file.\n"), (unnamed.ExitCode, unnamed.Errors));
    }

    /// <summary>Whoever cleans up by age would otherwise remove the last backup that can be put back.</summary>
    [Theory]
    [InlineData()]
    [InlineData("--json")]
    public async Task A_backup_of_a_changed_database_is_made_and_ends_with_21(params string[] options)
    {
        await using var records = new RecordsDaemon { Database = "integrityFailure" };
        Run run = await Console.RunAsync(records.Daemon, ["backup", .. options]);
        Assert.Equal(21, run.ExitCode);
        Assert.Contains("kms-20261125T031500000Z.db", run.Text, StringComparison.Ordinal);
        Assert.Contains("'kmsd restore' may refuse this backup. Keep the older ones", run.Errors, StringComparison.Ordinal);
    }

    /// <summary>A restored backup of its time needs the old generation's shares, so an operator must see where they lie.</summary>
    [Fact]
    public async Task Who_holds_shares_of_an_old_generation_is_shown_beside_those_of_the_current_one()
    {
        await using var records = new RecordsDaemon { HasShares = true };
        Run run = await Console.RunAsync(records.Daemon, "root", "status");
        Assert.Equal(
            [
                "custody\tset 0b0b, any 1 of 1 shares",
                "shares last proven\t2026-11-20T00:00:00Z",
                "share 1\tAda Byron; paper, serial M-1; seal S-2; safe 1, Berlin; proven 2026-11-20T00:00:00Z",
                "versions under it\t4 of 7",
                "generation 1\told, from the ceremony, made 2025-11-20T00:00:00Z, carries 3 versions",
                "generation 1 custody\tset 0a0a, any 1 of 1 shares",
                "generation 1 shares last proven\t2026-11-10T00:00:00Z",
                "generation 1 share 1\tAda Byron; paper, serial M-1; seal S-1; safe 1, Berlin; proven 2026-11-10T00:00:00Z",
                "generation 2\tcurrent, from the ceremony, made 2026-11-20T00:00:00Z, carries 4 versions",
            ],
            run.Text.TrimEnd().Split('\n').Skip(4));
        Assert.Contains("generation 1 custody", (await Console.RunOnTerminalAsync(records.Daemon, "root", "status")).Text, StringComparison.Ordinal);
        var json = System.Text.Json.JsonElement.Parse((await Console.RunAsync(records.Daemon, "root", "status", "--json")).Text);
        Assert.Equal(
            ["0a0a", "0b0b"],
            json.GetProperty("generations").EnumerateArray().Select(one => one.GetProperty("custody").GetProperty("set").GetString()));
    }

    /// <summary>No role on a key makes anybody an operator.</summary>
    [Theory]
    [InlineData("backup", "backup.create", "operator", "ask an operator")]
    [InlineData("root status", "root.status", "rootAdministrator", "ask a root administrator")]
    public async Task Who_isnt_an_operator_isnt_sent_to_the_manager_of_a_key(string line, string method, string role, string advice)
    {
        await using var records = new RecordsDaemon
        {
            Refusal = (method, $$"""{"code":2,"message":"That isn't yours.","data":{"reason":"forbidden","requiredRole":"{{role}}"} }"""),
        };
        Run run = await Console.RunAsync(records.Daemon, line.Split(' '));
        Assert.Equal(12, run.ExitCode);
        Assert.Contains(advice, run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("grant add", run.Errors, StringComparison.Ordinal);
    }

    /// <summary>What the daemon says for programs decides, never its sentence.</summary>
    [Theory]
    [InlineData("""{"code":1,"message":"Gone.","data":{"reason":"notFound","subject":"key"}}""", "Gone. See 'kmsctl key list' and 'kmsctl whoami' for what you may use.")]
    [InlineData("""{"code":1,"message":"There is no such key.","data":{"reason":"notFound"}}""", "There is no such key.")]
    [InlineData("""{"code":3,"message":"It rests.","data":{"reason":"invalidState","subject":"key"}}""", "It rests. See 'kmsctl key show' and 'kmsctl version list'.")]
    [InlineData("""{"code":3,"message":"The key 'mail' rests.","data":{"reason":"invalidState","subject":"something later"}}""", "The key 'mail' rests.")]
    [InlineData("""{"code":2,"message":"Only operators may do this.","data":{"reason":"forbidden"}}""", "Only operators may do this.")]
    [InlineData("""{"code":2,"message":"Others may.","data":{"reason":"forbidden","requiredRole":"something later"}}""", "Others may.")]
    [InlineData("""{"code":3,"message":"It is pendingDeletion; to use it, call its deletion off (keys.cancelDeletion) and enable it (keys.enable).","data":{"reason":"invalidState","subject":"key"}}""", "It is pendingDeletion; to use it, call its deletion off (kmsctl key undelete) and enable it (kmsctl key enable).")]
    [InlineData("""{"code":3,"message":"It is disabled; enable it to use it (versions.list, versions.enable).","data":{"reason":"invalidState","subject":"key"}}""", "It is disabled; enable it to use it (kmsctl version list, kmsctl version enable).")]
    [InlineData("""{"code":3,"message":"The key 'mail' is pendingDeletion; cancel its deletion first (keys.cancelDeletion).","data":{"reason":"invalidState","subject":"key"}}""", "The key 'mail' is pendingDeletion; cancel its deletion first (kmsctl key undelete).")]
    [InlineData("""{"code":11,"message":"Entry 7 of the history isn't as it was written; an operator should run history.verify.","data":{"reason":"integrityFailure"}}""", "Entry 7 of the history isn't as it was written; an operator should run kmsctl history verify.")]
    [InlineData("""{"code":7,"message":"3 grants stand on it; to delete it nevertheless, give its name as confirmName.","data":{"reason":"confirmationRequired"}}""", "3 grants stand on it; to delete it nevertheless, give its name as --confirm-name.")]
    [InlineData("""{"code":5,"message":"The plaintext is longer than 9 bytes. Encrypt long data with a data key (crypto.createDataKey).","data":{"reason":"tooLarge"}}""", "The plaintext is longer than 9 bytes. Encrypt long data with a data key (kmsctl data-key).")]
    [InlineData("""{"code":10,"message":"See /srv/keys.list or unit keys.list.service.","data":{"reason":"storageUnavailable"}}""", "See /srv/keys.list or unit keys.list.service. Tell the operator; the daemon's journal says more (journalctl -u kmsd).")]
    [InlineData("""{"code":8,"message":"There are too many.","data":{"reason":"limitExceeded","retryAfterMs":55}}""", "There are too many. Try again in 1 s.")]
    [InlineData("""{"code":8,"message":"There are too many.","data":{"reason":"limitExceeded"}}""", "There are too many.")]
    public async Task What_to_do_follows_from_the_data_of_the_error(string error, string sentence)
    {
        await using var records = new RecordsDaemon { Refusal = ("stores.list", error) };
        Run run = await Console.RunAsync(records.Daemon, "store", "list");
        Assert.Equal($"kmsctl: {sentence}\n", run.Errors);
    }

    /// <summary>Whom to ask follows from what was asked for: nobody's key has to do with the history of a store.</summary>
    [Theory]
    [InlineData("history mail", "history.list", "A manager of the key or of its store can give you a role on it: kmsctl grant add.")]
    [InlineData("history --store acme", "history.list", "A manager of the store may; he or an operator can make you one: kmsctl member add.")]
    [InlineData("usage", "usage.report", "A manager of the store may; he or an operator can make you one: kmsctl member add.")]
    [InlineData("key show mail", "keys.get", "A manager of the key or of its store can give you a role on it: kmsctl grant add.")]
    [InlineData("member remove acme uid:1", "members.remove", "")]
    public async Task Whom_to_ask_for_a_right_follows_from_what_it_is_about(string line, string method, string advice)
    {
        await using var records = new RecordsDaemon
        {
            Refusal = (method, """{"code":2,"message":"This is the last manager: name another first, or ask an operator.","data":{"reason":"forbidden"} }"""),
        };
        Run run = await Console.RunAsync(records.Daemon, line.Split(' '));
        Assert.Equal((12, $"kmsctl: This is the last manager: name another first, or ask an operator. {advice}".TrimEnd() + "\n"), (run.ExitCode, run.Errors));
    }

    [Theory]
    [InlineData("encrypt mail --context")]
    [InlineData("reencrypt mail --new-context")]
    public async Task A_context_that_is_too_long_isnt_sent_to_the_encryption_of_files(string line)
    {
        await using var key = new ManagedKey();
        Run run = await Console.RunAsync(key.Daemon, [.. line.Split(' '), new string('x', 1_025)]);
        Assert.Equal((15, $"kmsctl: {line.Split(' ')[^1]} is longer than 1024 bytes; of something longer give a digest.\n"), (run.ExitCode, run.Errors));
        Assert.NotEqual(15, (await Console.RunAsync(key.Daemon, Encoding.UTF8.GetBytes(ManagedKey.Seal(1, [1])), [.. line.Split(' '), new string('x', 1_024)])).ExitCode);
    }

    [Theory]
    [InlineData("history")]
    [InlineData("history verify")]
    [InlineData("history export")]
    [InlineData("usage")]
    [InlineData("store create")]
    [InlineData("store list")]
    [InlineData("deleted list")]
    [InlineData("deleted history")]
    [InlineData("deleted purge")]
    [InlineData("deletions release")]
    [InlineData("root status")]
    [InlineData("notifications")]
    [InlineData("metrics")]
    public async Task Each_has_help(string command)
    {
        Run run = await Console.RunAsync(null, [.. command.Split(' '), "--help"]);
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        Assert.Matches($"kmsctl [^\n]*{command.Split(' ')[^1]}", run.Text);
    }
}
