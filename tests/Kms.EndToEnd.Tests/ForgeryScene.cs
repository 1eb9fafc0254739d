using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Kms.EndToEnd.Tests.Support;
using Kmsd.Tests.Metrics;

namespace Kms.EndToEnd.Tests;

/// <summary>What came of a forgery at the next start.</summary>
internal enum ForgeryOutcome
{
    None = 0,

    /// <summary>The daemon doesn't start.</summary>
    Refused = 1,

    /// <summary>It serves everything else, says that it is degraded, and gives the forger nothing.</summary>
    Detected = 2,

    /// <summary>The daemon finds it in the history by itself, soon after the start, and says that it is degraded; everything else is as it was.</summary>
    FoundInHistory = 3,

    /// <summary>Everything is as it was.</summary>
    WithoutEffect = 4,

    /// <summary>Something is otherwise than it was, and nobody says so.</summary>
    Gained = 5,

    /// <summary>The database holds what it held.</summary>
    Unchanged = 6,
}

/// <summary>
/// A daemon's two days, stopped: yesterday's copy of its database, today's, and the token. Each forgery begins from today's; what the
/// forged database then gives away is compared with what today's does.
/// </summary>
public sealed partial class ForgeryScene : IAsyncLifetime
{
    private static readonly string[] s_names = ["alpha", "beta", "gamma", "pending", "signer", "signer2", "other/moved"];

    private readonly Dictionary<string, string> _tags = [];
    private readonly List<(string Key, string Ciphertext)> _ciphertexts = [];
    private Dictionary<string, string> _truth = [];

    // Every notification that uid 0 ever got, also those that he has acknowledged.
    private string[] _notices = [];
    private byte[] _today = [];

    internal Installation Host { get; private set; } = null!;

    internal string Yesterday => Path.Combine(Host.Path, "yesterday.db");

    /// <summary>The database of another installation, with keys and grants of the same names.</summary>
    internal string Foreign => Path.Combine(Host.Path, "foreign.db");

    private string TodayCopy => Path.Combine(Host.Path, "today.db");

    private string TokenCopy => Path.Combine(Host.Path, "tokens.today");

    private string Tokens => Path.Combine(Host.Path, "tokens");

    public async ValueTask InitializeAsync()
    {
        Host = await Installation.MakeAsync();
        await LiveYesterdayAsync(Host);
        File.Copy(Host.Database, Yesterday);
        await using (Daemon daemon = await Host.StartAsync())
        await using (Wire wire = await Wire.ConnectAsync(Host.Socket))
        {
            _ = await wire.ResultAsync("grants.remove", """{"key":"alpha","principal":"uid:6666","role":"encryptorDecryptor"}""");
            _ = await wire.ResultAsync("keys.update", """{"key":"alpha","memo":"today"}""");
            _ = await wire.ResultAsync("keys.rotate", """{"key":"gamma"}""");
            _ = await wire.ResultAsync("versions.disable", """{"key":"gamma","version":1}""");
            _ = await wire.ResultAsync("keys.requestDeletion", """{"key":"pending","confirmName":"pending"}""");
            _ = await wire.ResultAsync("keys.requestDeletion", """{"key":"victim","confirmName":"victim"}""");
            _ = await wire.ResultAsync("keys.deleteNow", """{"key":"victim","confirmName":"victim"}""");
            _ = await wire.ResultAsync("members.remove", """{"store":"default","principal":"uid:6666"}""");
            for (int i = 0; i < 5; i++)
            {
                _ciphertexts.Add(("alpha", await wire.EncryptAsync("alpha", "today"u8.ToArray())));
            }

            _ = await wire.ResultAsync("keys.update", """{"key":"beta","memo":"today"}""");
            _notices = Notices(await wire.ResultAsync("notifications.list"));
            Assert.True(_notices.Length > 8, $"{_notices.Length}");
            _ = await wire.ResultAsync("notifications.acknowledge", """{"upTo":4}""");
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        await using (Installation other = await Installation.MakeAsync())
        {
            await LiveYesterdayAsync(other);
            File.Copy(other.Database, Foreign);
        }

        _today = File.ReadAllBytes(Host.Database);
        File.Copy(Host.Database, TodayCopy);
        _ = await Shell.SucceedAsync("cp", "-a", Tokens, TokenCopy);

        // Sweeping what was destroyed writes; afterwards nothing does.
        _truth = (await ObserveAsync()).Seen;
        Assert.Equal("ok", _truth["database"]);
        Assert.Equal("good", _truth["history"]);
        await PutBackAsync();
        Assert.Equal(ForgeryOutcome.WithoutEffect, (await JudgeAsync()).Outcome);
        Assert.Equal(ForgeryOutcome.Unchanged, (await ForgeAsync("SELECT 1")).Outcome);
    }

    public async ValueTask DisposeAsync() => await Host.DisposeAsync();

    /// <summary>Material that was destroyed is zeros: nobody reads what else stands in its row.</summary>
    internal static string Holding(string table) => table == "version_material" ? "WHERE blob <> zeroblob(length(blob))" : "";

    /// <summary>Tables and columns that hold something, and how many rows.</summary>
    internal async Task<IReadOnlyList<(string Table, string[] Columns, int Rows)>> ReadTablesAsync()
    {
        await PutBackAsync();
        List<(string, string[], int)> tables = [];
        foreach (string table in await LinesAsync("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"))
        {
            int rows = int.Parse((await LinesAsync($"SELECT count(*) FROM {table} {Holding(table)}"))[0], CultureInfo.InvariantCulture);
            if (rows > 0)
            {
                tables.Add((table, await LinesAsync($"SELECT name FROM pragma_table_info('{table}')"), rows));
            }
        }

        return tables;
    }

    /// <summary>Makes today's database what the statements make of it, starts the daemon, and looks. Null: the statements don't run.</summary>
    internal async Task<(ForgeryOutcome Outcome, string What)> ForgeAsync(string sql)
    {
        await PutBackAsync();
        foreach ((string name, string tag) in _tags)
        {
            sql = sql.Replace($"[{name}]", $"x'{tag}'", StringComparison.Ordinal);
        }

        Finished forged = await Shell.RunAsync(
            "sqlite3", "-bail", Host.Database, $"ATTACH '{Yesterday}' AS old; ATTACH '{Foreign}' AS foreign_; BEGIN; {sql}; COMMIT;");
        return forged.ExitCode != 0 ? (ForgeryOutcome.None, forged.Error)
            : await SumAsync(Host.Database) == await SumAsync(TodayCopy) ? (ForgeryOutcome.Unchanged, "")
            : await JudgeAsync();
    }

    /// <summary>Puts another file in the database's place.</summary>
    internal async Task<(ForgeryOutcome Outcome, string What)> ReplaceAsync(byte[] file)
    {
        await PutBackAsync();
        File.WriteAllBytes(Host.Database, file);
        return await JudgeAsync();
    }

    private async Task LiveYesterdayAsync(Installation host)
    {
        bool isOurs = ReferenceEquals(host, Host);
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.ResultAsync("stores.create", """{"name":"other","manager":"uid:0"}""");
        string grants = """{"principal":"uid:0","role":"encryptorDecryptor"},{"principal":"uid:2000","role":"encryptor"}""";
        foreach (string name in new[] { "alpha", "beta", "gamma", "pending", "victim" })
        {
            string tag = await wire.MakeKeyAsync(name, grants + """,{"principal":"uid:6666","role":"encryptorDecryptor"}""");
            if (isOurs)
            {
                _tags[name] = tag;
                _ciphertexts.Add((name, await wire.EncryptAsync(name, "today"u8.ToArray())));
            }
        }

        foreach (string name in new[] { "signer", "signer2" })
        {
            string tag = (await wire.ResultAsync("keys.create", $$"""{"name":"{{name}}","type":"ECDSA-P256","grants":[{{grants}}]}""")).GetProperty("tag").GetString()!;
            if (isOurs)
            {
                _tags[name] = tag;
            }
        }

        string moved = (await wire.ResultAsync("keys.create", $$"""{"store":"other","name":"moved","type":"AES256-GCM96","grants":[{{grants}}]}""")).GetProperty("tag").GetString()!;
        if (isOurs)
        {
            _tags["moved"] = moved;
        }

        _ = await wire.ResultAsync("grants.add", """{"key":"alpha","principal":"uid:2001","role":"reviewer"}""");
        _ = await wire.ResultAsync("keys.rotate", """{"key":"gamma"}""");
        _ = await wire.ResultAsync("keys.update", """{"key":"alpha","memo":"yesterday"}""");
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
    }

    private const string LessADeletedKey = """{"keys":[],"warnings":["What is stored of 1 deleted key was changed from outside: it is not in this list."]}""";

    private async Task<(ForgeryOutcome Outcome, string What)> JudgeAsync()
    {
        (bool serves, Dictionary<string, string> seen) = await ObserveAsync();
        if (!serves)
        {
            return (ForgeryOutcome.Refused, seen["error"]);
        }

        // What isn't served gives nothing away; anything else must be as it was. Where it is said that something is wrong, counters and
        // what is shown of stores and generations may be.
        bool isDegraded = seen["rows"] != _truth["rows"];
        string[] others =
        [
            .. _truth.Keys.Where(what => what is not ("database" or "rows" or "history")
                && (isDegraded ? WithoutCounters(what, seen[what]) != WithoutCounters(what, _truth[what]) : seen[what] != _truth[what])),
        ];
        string[] gained = [.. others.Where(what => seen[what] is not ("integrityFailure" or "notFound" or "{\"keys\":[]}" or LessADeletedKey) && !IsSomeOfTheNotices(what, seen[what]))];
        return gained.Length > 0 || (others.Length > 0 && !isDegraded)
            ? (ForgeryOutcome.Gained, string.Join("; ", others.Select(what => $"{what}: {seen[what]}, was {_truth[what]}")))
            : (isDegraded || seen["history"] != "good") != (seen["database"] == "integrityFailure") ? (ForgeryOutcome.Gained, $"the status says {seen["database"]}")
            : isDegraded ? (ForgeryOutcome.Detected, "degraded")
            : seen["history"] != "good" ? (ForgeryOutcome.FoundInHistory, seen["history"])
            : (ForgeryOutcome.WithoutEffect, "");
    }

    /// <summary>Lists are shown in the order of their rows; a row that was written anew as it was is at the end.</summary>
    private static string InOrder(JsonElement result) => "{" + string.Join(",", result.EnumerateObject().Select(member =>
        $"\"{member.Name}\":" + (member.Value.ValueKind == JsonValueKind.Array
            ? $"[{string.Join(",", member.Value.EnumerateArray().Select(one => one.GetRawText()).Order(StringComparer.Ordinal))}]"
            : member.Value.GetRawText()))) + "}";

    /// <summary>A notification that doesn't verify isn't shown, and where a reader's mark doesn't, all are: but nothing that never was.</summary>
    private bool IsSomeOfTheNotices(string what, string answer) =>
        what.StartsWith("notifications.list", StringComparison.Ordinal) && Notices(JsonElement.Parse(answer)).All(_notices.Contains);

    private static string[] Notices(JsonElement list) => [.. list.GetProperty("notifications").EnumerateArray().Select(notice => notice.GetRawText())];

    private static string WithoutCounters(string what, string answer) =>
        what.StartsWith("root.status", StringComparison.Ordinal) || what.StartsWith("stores.list", StringComparison.Ordinal)
            ? ""
            : Counters().Replace(answer, "");

    [GeneratedRegex("\"(usageCount|itemCount|lastUsedAt)\":[^,}]*,?")]
    private static partial Regex Counters();

    /// <summary>Everything that anybody can see or do, by what it is.</summary>
    private async Task<(bool Serves, Dictionary<string, string> Seen)> ObserveAsync()
    {
        Dictionary<string, string> seen = [];
        Daemon daemon;
        try
        {
            daemon = await Host.StartAsync();
        }
        catch (InvalidOperationException exception) when (exception.Message.StartsWith("kmsd doesn't start", StringComparison.Ordinal))
        {
            seen["error"] = exception.Message;
            return (false, seen);
        }

        await using (daemon)
        await using (Wire wire = await Wire.ConnectAsync(Host.Socket))
        {
            seen["history"] = await WatchHistoryAsync(wire);
            seen["database"] = (await wire.ResultAsync("system.status")).GetProperty("database").GetString()!;
            seen["rows"] = (await MetricAsync(wire, "kmsd_integrity_failure")).ToString(CultureInfo.InvariantCulture);
            Assert.Equal(seen["history"] == "good", (await wire.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
            await SeeAsync("root.status", "{}");
            await SeeAsync("stores.list", "{}");
            await SeeAsync("members.list", """{"store":"default"}""");
            await SeeAsync("members.list", """{"store":"other"}""");
            await SeeAsync("deletedKeys.list", "{}");
            await SeeAsync("notifications.list", "{}");
            foreach (string name in (string[])[.. s_names, "victim", .. _tags.Values])
            {
                string key = $$"""{"key":"{{name}}"}""";
                await SeeAsync("keys.get", key);
                await SeeAsync("grants.list", key);
                await SeeAsync("versions.list", key);
                await SeeAsync("keys.getPublicKey", key);
            }

            foreach ((string name, string ciphertext) in _ciphertexts)
            {
                await SeeAsync("crypto.decrypt", $$"""{"key":"{{name}}","ciphertext":"{{ciphertext}}"}""");
            }

            async Task SeeAsync(string method, string parameters)
            {
                JsonElement answer = await wire.CallAsync(method, parameters);
                seen[$"{method} {parameters}"] = answer.TryGetProperty("result", out JsonElement result) ? InOrder(result) : Wire.Reason(answer);
            }
        }

        return (true, seen);
    }

    /// <summary>What the daemon finds in the history by itself after its start: the words of the status, or "good".</summary>
    private static async Task<string> WatchHistoryAsync(Wire wire)
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            JsonElement status = await wire.ResultAsync("system.status");
            string? finding = status.GetProperty("weaknesses").EnumerateArray().Select(weakness => weakness.GetString()!)
                .FirstOrDefault(weakness => weakness.StartsWith("history: ", StringComparison.Ordinal));
            if (finding is not null || await MetricAsync(wire, "kmsd_history_verified_timestamp_seconds") > 0)
            {
                return finding ?? "good";
            }

            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60), status.ToString());
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    private static async Task<double> MetricAsync(Wire wire, string name) =>
        PrometheusReader.Read((await wire.ResultAsync("system.metrics")).GetProperty("text").GetString()!).Single(sample => sample.Name == name).Value;

    /// <summary>Today's database, and the token as it was: a daemon that only looks writes to both.</summary>
    private async Task PutBackAsync()
    {
        foreach (string file in Directory.GetFiles(Host.State, "kms.db*"))
        {
            File.Delete(file);
        }

        File.WriteAllBytes(Host.Database, _today);
        File.SetUnixFileMode(Host.Database, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Directory.Delete(Tokens, recursive: true);
        _ = await Shell.SucceedAsync("cp", "-a", TokenCopy, Tokens);
    }

    /// <summary>Of everything that stands in a database, in the order of its rows.</summary>
    private static Task<string> SumAsync(string path) => Shell.SucceedAsync("sqlite3", path, ".sha3sum --schema");

    private async Task<string[]> LinesAsync(string sql) =>
        (await Shell.SucceedAsync("sqlite3", Host.Database, sql)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
