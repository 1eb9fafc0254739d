using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Kms.Client.Tests;

namespace Kmsctl.Tests;

/// <summary>A daemon with a history and with notifications, which pages, filters, keeps and pushes as kmsd does.</summary>
internal sealed class RecordsDaemon : IAsyncDisposable
{
    public const string Tag = "00112233445566778899aabbccddeeff";

    private readonly Lock _lock = new();
    private readonly SortedSet<long> _entries = [];
    private readonly SortedSet<long> _notices = [];
    private readonly ConcurrentDictionary<FakeConnection, bool> _subscribers = new();
    private long _acknowledged;

    public RecordsDaemon() => Daemon = new FakeDaemon(Answer);

    public FakeDaemon Daemon { get; }

    /// <summary>The first bad entry that a verification finds; null: none.</summary>
    public long? FirstBad { get; init; }

    /// <summary>What the status says of the database.</summary>
    public string Database { get; init; } = "ok";

    /// <summary>Whether generations of the root key have shares, which it says of each.</summary>
    public bool HasShares { get; init; }

    /// <summary>A method that is refused, and with what.</summary>
    public (string Method, string Error)? Refusal { get; set; }

    /// <summary>How many entries were ever in one answer.</summary>
    public int LongestPage { get; private set; }

    public IEnumerable<string> Methods => Daemon.Received.Select(call => call.Method);

    public long Acknowledged
    {
        get
        {
            lock (_lock)
            {
                return _acknowledged;
            }
        }
    }

    public FakeCall Only(string method) => Assert.Single(Daemon.Received, call => call.Method == method);

    /// <summary>Adds entries from a number to a number.</summary>
    public void Record(long from, long to)
    {
        lock (_lock)
        {
            for (long number = from; number <= to; number++)
            {
                _ = _entries.Add(number);
            }
        }
    }

    /// <summary>Adds notifications, and pushes them to those who listen.</summary>
    public async Task NoticeAsync(params long[] numbers)
    {
        foreach (long number in numbers)
        {
            lock (_lock)
            {
                _ = _notices.Add(number);
            }

            foreach (FakeConnection subscriber in _subscribers.Keys)
            {
                await subscriber.SendAsync($$"""{"jsonrpc":"2.0","method":"notifications.event","params":{{Notice(number)}}}""");
            }
        }
    }

    public async Task StopAsync()
    {
        await Daemon.StopAsync();
        _subscribers.Clear();
    }

    public static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            Assert.True(i < 2_000, "It didn't happen within twenty seconds.");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }

    public ValueTask DisposeAsync() => Daemon.DisposeAsync();

    /// <summary>Every third is a decryption by a unit, which failed; the others are the daemon's own.</summary>
    public static string Entry(long number) => number % 3 == 0
        ? $$"""{"sequence":{{number}},"at":"2026-11-24T01:02:03.000Z","operation":"crypto.decrypt","key":"{{Tag}}","keyVersion":2,"principal":"unit:a.service","uid":7,"pid":4711,"unit":"a.service","outcome":"invalidCiphertext","detail":"a\tb\u001b[1m","count":1}"""
        : $$"""{"sequence":{{number}},"at":"2026-11-24T01:02:03.000Z","operation":"rotation.automatic","key":"{{Tag}}","outcome":"ok","count":0}""";

    public static string Exported(long number) =>
        $$"""{"sequence":{{number}},"at":"2026-11-24T01:02:03.000Z","scope":"key","operation":"deletedKeys.purge","outcome":"ok","detail":"ü + 'x'","digest":"++//","link":"++//"}""";

    public static string Notice(long number) => number % 2 == 0
        ? string.Create(CultureInfo.InvariantCulture, $$"""{"sequence":{{number}},"at":"2026-11-24T01:02:03.000Z","kind":"root.due"}""")
        : string.Create(
            CultureInfo.InvariantCulture,
            $$"""{"sequence":{{number}},"at":"2026-11-24T01:02:03.000Z","kind":"key.rotated","key":"{{Tag}}","keyName":"mail","store":"default","by":"uid:0","detail":"Reencrypt; $(touch x) 'q' \u001b"}""");

    private string? Answer(FakeCall call)
    {
        if (Refusal is var (method, error) && method == call.Method)
        {
            return FakeDaemon.Error(call, error);
        }

        lock (_lock)
        {
            return FakeDaemon.Result(call, Result(call).ReplaceLineEndings(" "));
        }
    }

    private string Result(FakeCall call)
    {
        switch (call.Method)
        {
            case "keys.get":
                return $$"""
                    {"tag":"{{Tag}}","name":"mail","store":"default","type":"AES256-GCM96","protection":"software","state":"enabled","memo":"","currentVersion":2,
                    "createdAt":"2026-11-23T05:42:00.000Z","stateChangedAt":"2026-11-23T05:42:00.000Z","rotationPeriodDays":90,
                    "nextRotationAt":"2027-02-21T05:42:00.000Z","usageCount":3,"myRoles":["manager"]}
                    """;
            case "history.list" or "deletedKeys.history":
                long before = Number(call, "before") ?? long.MaxValue;
                long[] page = [.. _entries.Reverse().Where(number => number < before).Take((int)(Number(call, "limit") ?? 100))];
                LongestPage = Math.Max(LongestPage, page.Length);
                return $$"""{"entries":[{{string.Join(',', page.Select(Entry))}}]}""";
            case "history.export":
                int limit = (int)Number(call, "limit")!;
                long[] exported = [.. _entries.Where(number => number > Number(call, "after")).Take(limit)];
                LongestPage = Math.Max(LongestPage, exported.Length);
                string more = exported.Length == limit ? string.Create(CultureInfo.InvariantCulture, $",\"next\":{exported[^1]}") : "";
                return $$"""{"entries":[{{string.Join(',', exported.Select(Exported))}}]{{more}}}""";
            case "history.verify":
                return FirstBad is long bad ? $$"""{"ok":false,"entries":{{bad}},"firstBad":{{bad}}}""" : """{"ok":true,"entries":7}""";
            case "notifications.subscribe":
                _subscribers[call.Connection] = true;
                return "{}";
            case "notifications.list":
                long after = Math.Max(Number(call, "after") ?? 0, _acknowledged);
                long[] found = [.. _notices.Where(number => number > after).Take(3)];
                string next = found.Length == 3 ? string.Create(CultureInfo.InvariantCulture, $",\"next\":{found[2]}") : "";
                return $$"""{"notifications":[{{string.Join(',', found.Select(Notice))}}]{{next}}}""";
            case "notifications.acknowledge":
                _acknowledged = Math.Max(_acknowledged, call.Params.GetProperty("upTo").GetInt64());
                return "{}";
            case "stores.create":
                return """{"name":"acme","createdAt":"2026-11-24T01:02:03.000Z"}""";
            case "stores.list":
                return """
                    {"stores":[{"name":"acme","createdAt":"2026-11-24T01:02:03.000Z"},
                    {"name":"default","createdAt":"2026-11-23T01:02:03.000Z","myRole":"manager"}]}
                    """;
            case "usage.report":
                return $$"""
                    {"store":"acme","month":"{{call.Text("month")}}","keys":[{"tag":"{{Tag}}","name":"mail","type":"RSA-2048","enabledDays":20.5,"disabledDays":1,
                    "pendingDeletionDays":0.125,"billableDays":21.625,"calls":17}]}
                    """;
            case "deletedKeys.list":
                return $$"""
                    {"keys":[{"tag":"{{Tag}}","name":"mail","store":"default","type":"ECDSA-P256","protection":"software","createdAt":"2026-11-20T00:00:00.000Z",
                    "deletionRequestedAt":"2026-11-21T00:00:00.000Z","deletedAt":"2026-11-24T00:00:00.000Z","purgeAt":"2027-11-24T00:00:00.000Z","versions":2,
                    "usageCount":3,"itemCount":4,"grants":[{"principal":"uid:0","role":"encryptor","grantedAt":"2026-11-20T00:00:00.000Z"},
                    {"principal":"gid:9","role":"reviewer","grantedAt":"2026-11-20T00:00:00.000Z"}]}]}
                    """;
            case "system.status":
                return $$"""{"status":"{{(Database == "ok" ? "ok" : "degraded")}}","version":"1","token":"ok","database":"{{Database}}"}""";
            case "backup.create":
                return """{"path":"kms-20261125T031500000Z.db","sha256":"00ff","entries":12,"folder":"/var/lib/kmsd/backups","size":147456}""";
            case "root.status" when HasShares:
                return $$$"""
                    {"generation":2,"origin":"ceremony","createdAt":"2026-11-20T00:00:00.000Z","rotateBy":"2027-11-20T00:00:00.000Z","custody":{{{Custody("0b0b", 2, 20)}}},
                    "generations":[{"generation":1,"state":"old","origin":"ceremony","createdAt":"2025-11-20T00:00:00.000Z","versions":3,"custody":{{{Custody("0a0a", 1, 10)}}}},
                    {"generation":2,"state":"current","origin":"ceremony","createdAt":"2026-11-20T00:00:00.000Z","versions":4,"custody":{{{Custody("0b0b", 2, 20)}}}}],
                    "rewrap":{"done":4,"total":7}}
                    """;
            case "root.status":
                return """
                    {"generation":2,"origin":"token","createdAt":"2026-11-20T00:00:00.000Z","rotateBy":"2027-11-20T00:00:00.000Z","custody":{"kind":"none"},
                    "generations":[{"generation":1,"state":"old","origin":"token","createdAt":"2025-11-20T00:00:00.000Z","versions":3},
                    {"generation":2,"state":"current","origin":"token","createdAt":"2026-11-20T00:00:00.000Z","versions":4}],"rewrap":{"done":4,"total":7}}
                    """;
            case "system.metrics":
                return """{"text":"# HELP kmsd_a_total Ants.\n# TYPE kmsd_a_total counter\nkmsd_a_total{kind=\"\\t\"} 1\n"}""";
            default:
                return "{}";
        }
    }

    private static string Custody(string set, int seal, int day) => $$"""
        {"kind":"shares","set":"{{set}}","count":1,"threshold":1,"verifiedAt":"2026-11-{{day}}T00:00:00.000Z","shares":[{"share":1,"custodian":"Ada Byron",
        "medium":"paper","mediumSerial":"M-1","seal":"S-{{seal}}","safe":"safe 1","site":"Berlin","recordedAt":"2026-11-01T00:00:00.000Z",
        "verifiedAt":"2026-11-{{day}}T00:00:00.000Z"}]}
        """;

    private static long? Number(FakeCall call, string name) => call.Params.TryGetProperty(name, out JsonElement value) ? value.GetInt64() : null;
}
