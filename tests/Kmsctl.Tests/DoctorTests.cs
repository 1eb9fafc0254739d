using System.Text.Json;
using Kms.Client.Tests;
using Kmsctl.Doctor;

namespace Kmsctl.Tests;

/// <summary>The host's own accounts and unit files; only the daemon's answers are made up.</summary>
public sealed class DoctorTests
{
    // Numbers of nobody on any sane host, a unit that comes with systemd, and one that doesn't.
    private const string NoUser = "uid:3999999999";
    private const string NoGroup = "gid:3999999998";
    private const string RealUnit = "unit:systemd-journald.service";
    private const string NoUnit = "unit:no-such-unit@x.service";

    private const string Tag = "00112233445566778899aabbccddeeff";

    [Fact]
    public async Task Whoever_isnt_there_is_found_once_a_right_and_it_ends_with_1()
    {
        await using FakeDaemon daemon = Start(
            keys: 1, isOperator: false, members: [("uid:0", "root", "manager"), (NoUser, null, "user")],
            grants: [("gid:0", null, "encryptor"), (NoGroup, null, "decryptor"), (RealUnit, null, "encryptor"), (NoUnit, null, "reviewer"), (NoUnit, null, "manager")]);
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal(1, run.ExitCode);
        Assert.Equal(
            [
                $"store shop\t{NoUser}\tuser\tno account has this number now; whoever gets it next gets this right",
                $"key shop/key-0\t{NoGroup}\tdecryptor\tno group has this number now; whoever gets it next gets this right",
                $"key shop/key-0\t{NoUnit}\treviewer\tthis host has no unit file of this name",
                $"key shop/key-0\t{NoUnit}\tmanager\tthis host has no unit file of this name",
            ],
            run.Text.TrimEnd().Split('\n'));
        Assert.Equal(
            "Looked at the grants of 1 key and the members of 1 store: accounts and groups by the name service, units by their files.\n"
            + "kmsctl: 4 rights of nobody who is there. Take them away: kmsctl grant remove, kmsctl member remove.\n",
            run.Errors);
    }

    [Fact]
    public async Task For_programs_the_same_is_JSON()
    {
        await using FakeDaemon daemon = Start(keys: 1, isOperator: false, members: [(NoUser, null, "manager")], grants: [(NoUnit, null, "reviewer")]);
        Run run = await Console.RunAsync(daemon, "doctor", "--json");
        Assert.Equal(1, run.ExitCode);
        var report = JsonElement.Parse(run.Text);
        Assert.Equal((1, 1, 0), (report.GetProperty("keys").GetInt32(), report.GetProperty("stores").GetInt32(), report.GetProperty("keysNotLookedAt").GetInt32()));
        JsonElement[] findings = [.. report.GetProperty("findings").EnumerateArray()];
        Assert.Equal(["noAccount", "noUnit"], findings.Select(finding => finding.GetProperty("problem").GetString()));
        Assert.False(findings[0].TryGetProperty("key", out _));
        Assert.Equal(
            ("shop", "key-0", Tag, NoUnit, "reviewer"),
            (findings[1].GetProperty("store").GetString(), findings[1].GetProperty("key").GetString(), findings[1].GetProperty("tag").GetString(),
                findings[1].GetProperty("principal").GetString(), findings[1].GetProperty("role").GetString()));
    }

    [Fact]
    public async Task Where_everybody_is_there_it_ends_with_0_and_prints_nothing_but_what_it_looked_at()
    {
        await using FakeDaemon daemon = Start(
            keys: 2, isOperator: false, members: [("uid:0", "root", "manager")],
            grants: [("gid:0", null, "encryptor"), (RealUnit, null, "encryptor"), ("uid:3999999997", "known-to-the-daemon", "encryptor")]);
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal((0, ""), (run.ExitCode, run.Text));
        Assert.StartsWith("Looked at the grants of 2 keys and the members of 1 store:", run.Errors, StringComparison.Ordinal);
        Run json = await Console.RunAsync(daemon, "doctor", "--json");
        Assert.Equal(0, json.ExitCode);
        Assert.Equal(0, JsonElement.Parse(json.Text).GetProperty("findings").GetArrayLength());
    }

    [Fact]
    public async Task What_the_caller_may_not_see_is_counted_and_no_finding()
    {
        await using FakeDaemon daemon = Start(keys: 3, isOperator: false, members: null, grants: null);
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal((0, ""), (run.ExitCode, run.Text));
        Assert.Contains("the grants of 0 keys and the members of 0 stores", run.Errors, StringComparison.Ordinal);
        Assert.Contains("3 keys more that you may see hide their grants from you", run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_operator_looks_at_the_members_of_every_store()
    {
        await using FakeDaemon daemon = Start(keys: 0, isOperator: true, members: [(NoUser, null, "user"), ("uid:0", "root", "manager")], grants: null);
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal(1, run.ExitCode);
        Assert.Equal(["default", "shop"], daemon.Received.Where(call => call.Method == "members.list").Select(call => call.Text("store")));
    }

    [Fact]
    public async Task What_is_in_quarantine_is_named_with_what_to_do_and_it_ends_with_21()
    {
        await using FakeDaemon daemon = Start(
            keys: 0, isOperator: true, members: [("uid:0", "root", "manager")], grants: null,
            quarantine: $$"""{"keys":101,"tags":["{{Tag}}"],"stores":["sh\u001bop"]}""");
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal(21, run.ExitCode);
        Assert.Equal(
            [
                "store sh\\u001Bop\t-\t-\tin quarantine, so not served: what is stored of it was changed from outside",
                $"key {Tag}\t-\t-\tin quarantine, so not served: what is stored of it was changed from outside",
            ],
            run.Text.TrimEnd().Split('\n'));
        Assert.EndsWith(
            "kmsctl: 101 keys and 1 store in quarantine: find out who wrote to the database, and put it back from a backup (kmsd restore FILE).\n", run.Errors, StringComparison.Ordinal);
        Run json = await Console.RunAsync(daemon, "doctor", "--json");
        Assert.Equal(21, json.ExitCode);
        Assert.Equal(Tag, JsonElement.Parse(json.Text).GetProperty("quarantine").GetProperty("tags")[0].GetString());

        Run status = await Console.RunAsync(daemon, "status");
        Assert.Equal(0, status.ExitCode);
        Assert.Contains($"keys in quarantine\t101\nkey in quarantine\t{Tag}\nstore in quarantine\tsh\\u001Bop\n", status.Text, StringComparison.Ordinal);
        Assert.Contains(Tag, (await Console.RunAsync(daemon, "status", "--json")).Text, StringComparison.Ordinal);
    }

    /// <summary>A timer that looks at the exit alone must hear of it.</summary>
    [Theory]
    [InlineData("degraded", "integrityFailure", "history: entry 7 isn't as it was written.", 21)]
    [InlineData("degraded", "ok", "root: the root key is past its rotation date.", 1)]
    [InlineData("ok", "ok", "token: SoftHSM keeps its keys in files of this host.", 0)]
    public async Task What_the_status_calls_weak_is_printed_and_ends_it_by_what_it_is(string status, string database, string weakness, int exitCode)
    {
        await using FakeDaemon daemon = Start(
            keys: 0, isOperator: true, members: [("uid:0", "root", "manager")], grants: null, state: (status, database, [weakness]));
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal((exitCode, $"the service\t-\t-\t{weakness}\n"), (run.ExitCode, run.Text));
        Run json = await Console.RunAsync(daemon, "doctor", "--json");
        Assert.Equal(exitCode, json.ExitCode);
        Assert.Equal(weakness, JsonElement.Parse(json.Text).GetProperty("weaknesses")[0].GetString());
    }

    [Fact]
    public async Task Who_is_no_operator_hears_that_the_database_was_changed_and_whom_to_tell()
    {
        await using FakeDaemon daemon = Start(
            keys: 0, isOperator: false, members: [("uid:0", "root", "manager")], grants: null, state: ("degraded", "integrityFailure", null));
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal(21, run.ExitCode);
        Assert.Contains("was changed from outside. Tell an operator", run.Errors, StringComparison.Ordinal);
    }

    /// <summary>Nobody hides its grants: nobody may have them.</summary>
    [Fact]
    public async Task A_key_in_quarantine_doesnt_hide_its_grants_and_ends_with_21()
    {
        await using FakeDaemon daemon = Start(keys: 1, isOperator: false, members: [("uid:0", "root", "manager")], grants: null, areServed: false);
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal(21, run.ExitCode);
        Assert.DoesNotContain("hide", run.Errors, StringComparison.Ordinal);
        Assert.Contains("1 key in quarantine: what is stored of it was changed from outside.", run.Errors, StringComparison.Ordinal);
        var report = JsonElement.Parse((await Console.RunAsync(daemon, "doctor", "--json")).Text);
        Assert.Equal((1, 1), (report.GetProperty("keysInQuarantine").GetInt32(), report.GetProperty("keysNotLookedAt").GetInt32()));
    }

    [Fact]
    public async Task An_operator_hears_how_many_keys_he_doesnt_see()
    {
        await using FakeDaemon daemon = Start(keys: 1, isOperator: true, members: [("uid:0", "root", "manager")], grants: [], state: ("ok", "ok", []));
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal(0, run.ExitCode);
        Assert.Contains("Looked at the grants of 1 key and", run.Errors, StringComparison.Ordinal);
        Assert.Contains("4 keys more are hidden from operators", run.Errors, StringComparison.Ordinal);
        var report = JsonElement.Parse((await Console.RunAsync(daemon, "doctor", "--json")).Text);
        Assert.Equal((4, 4), (report.GetProperty("keysNotSeen").GetInt32(), report.GetProperty("keysNotLookedAt").GetInt32()));
    }

    [Fact]
    public async Task A_store_that_nobody_manages_is_found()
    {
        await using FakeDaemon daemon = Start(keys: 0, isOperator: true, members: [("uid:0", "root", "user")], grants: null);
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal(1, run.ExitCode);
        Assert.Equal(
            ["store default\t-\t-\tnobody manages it: nobody can make keys in it", "store shop\t-\t-\tnobody manages it: nobody can make keys in it"],
            run.Text.TrimEnd().Split('\n'));
        Assert.Contains("2 stores without a manager. An operator names one: kmsctl member add STORE PRINCIPAL manager.", run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_refusal_that_says_nothing_of_rights_ends_it()
    {
        await using FakeDaemon daemon = new(call => FakeDaemon.Error(call, """{"code":10,"message":"Not now.","data":{"reason":"storageUnavailable"}}"""));
        Run run = await Console.RunAsync(daemon, "doctor");
        Assert.Equal((20, ""), (run.ExitCode, run.Text));
    }

    [Fact]
    public void Accounts_and_groups_are_the_hosts()
    {
        Assert.True(Accounts.HasUser(0));
        Assert.True(Accounts.HasGroup(0));
        Assert.False(Accounts.HasUser(3_999_999_999));
        Assert.False(Accounts.HasGroup(3_999_999_999));
    }

    [Fact]
    public void A_unit_is_looked_for_as_systemd_does()
    {
        string root = Directory.CreateTempSubdirectory("kms-units-").FullName;
        try
        {
            string first = Directory.CreateDirectory(Path.Combine(root, "first")).FullName;
            string second = Directory.CreateDirectory(Path.Combine(root, "second")).FullName;
            File.WriteAllText(Path.Combine(root, "linked.service"), "[Service]");
            foreach (string name in new[] { "plain.service", "over.service", "pool@.service", "pool@own.service", "real.service", "back@.service" })
            {
                File.WriteAllText(Path.Combine(second, name), "[Service]");
            }

            File.WriteAllText(Path.Combine(first, "empty.service"), "");
            Directory.CreateDirectory(Path.Combine(first, "plain.service.d"));
            Directory.CreateDirectory(Path.Combine(first, "folder.service"));
            Link("over.service", "/dev/null");
            Link("linked.service", "../linked.service");
            Link("gone.service", "/nonexistent/gone.service");
            Link("alias.service", "../second/real.service");
            Link("old@.service", "../second/back@.service");
            Link("pool@masked.service", "/dev/null");

            var units = new UnitFiles(first, second, Path.Combine(root, "nonexistent"));
            Is(UnitFileKind.Unit, "plain.service");
            Is(UnitFileKind.Unit, "pool@own.service");
            Is(UnitFileKind.Unit, "pool@any.thing@else.service");
            Is(UnitFileKind.Unit, "linked.service");
            Is(UnitFileKind.Masked, "over.service");
            Is(UnitFileKind.Masked, "empty.service");
            Is(UnitFileKind.Masked, "pool@masked.service");
            Is(UnitFileKind.Alias, "alias.service", "real.service");
            Is(UnitFileKind.Alias, "old@x.y.service", "back@x.y.service");
            Is(UnitFileKind.None, "gone.service");
            Is(UnitFileKind.None, "folder.service");
            Is(UnitFileKind.None, "absent.service");
            Is(UnitFileKind.None, "absent@x.service");
            Is(UnitFileKind.None, "plain@x.service");

            void Link(string name, string target) => File.CreateSymbolicLink(Path.Combine(first, name), target);
            void Is(UnitFileKind kind, string unit, string? runsAs = null)
            {
                Assert.Equal((unit, kind), (unit, units.Find(unit, out string name)));
                if (runsAs is not null)
                {
                    Assert.Equal(runsAs, name);
                }
            }
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    /// <summary>A daemon with a store <c>shop</c>, whose keys all have the same grants; null: the caller may not see them.</summary>
    private static FakeDaemon Start(
        int keys, bool isOperator, (string Principal, string? Display, string Role)[]? members, (string Principal, string? Display, string Role)[]? grants,
        string? quarantine = null, (string Status, string Database, string[]? Weaknesses)? state = null, bool areServed = true) => new(call =>
    {
        (string status, string database, string[]? weaknesses) = state ?? ("ok", "ok", null);
        string said = (quarantine is null ? "" : $",\"quarantine\":{quarantine}")
            + (weaknesses is null ? "" : $",\"weaknesses\":[{string.Join(',', weaknesses.Select(each => $"\"{each}\""))}]");
        string? result = call.Method switch
        {
            "system.status" => $$"""
                {"status":"{{status}}","version":"1","token":"ok","database":"{{database}}"{{said}}}
                """,
            "system.metrics" when isOperator =>
                """{"text":"# TYPE kmsd_keys gauge\nkmsd_keys{state=\"enabled\"} 3\nkmsd_keys{state=\"disabled\"} 2\nkmsd_keys{state=\"deleted\"} 7\n"}""",
            "stores.list" => $$"""
                {"stores":[{{(isOperator ? $"{Store("default", "")}," : "")}}{{Store("shop", ",\"myRole\":\"manager\"")}}]}
                """,
            "keys.list" => $$"""{"keys":[{{string.Join(',', Enumerable.Range(0, keys).Select(Key))}}],"total":{{keys}}}""",
            "members.list" when members is not null => $$"""{"members":[{{string.Join(',', members.Select(each => Right(each, "since")))}}]}""",
            "grants.list" when grants is not null => $$"""{"grants":[{{string.Join(',', grants.Select(each => Right(each, "grantedAt")))}}]}""",
            _ => null,
        };
        return result is null && call.Method == "grants.list" && !areServed
            ? FakeDaemon.Error(call, """{"code":11,"message":"It isn't served.","data":{"reason":"integrityFailure"}}""")
            : result is null
            ? FakeDaemon.Error(call, """{"code":2,"message":"You may not do that.","data":{"reason":"forbidden"}}""")
            : FakeDaemon.Result(call, result.ReplaceLineEndings(" "));
    });

    private static string Store(string name, string role) => $$"""{"name":"{{name}}","createdAt":"2026-11-23T05:42:00.000Z"{{role}}}""";

    private static string Right((string Principal, string? Display, string Role) right, string since) => $$"""
        {"principal":"{{right.Principal}}",{{(right.Display is null ? "" : $"\"display\":\"{right.Display}\",")}}"role":"{{right.Role}}","{{since}}":"2026-11-23T05:42:00.000Z"}
        """;

    private static string Key(int number) => $$"""
        {"tag":"{{Tag}}","name":"key-{{number}}","store":"shop","type":"AES256-GCM96","protection":"software","state":"enabled","memo":"",
        "currentVersion":1,"createdAt":"2026-11-23T05:42:00.000Z","stateChangedAt":"2026-11-23T05:42:00.000Z","rotationPeriodDays":90,
        "nextRotationAt":"2027-02-21T05:42:00.000Z","usageCount":0,"myRoles":["manager"]}
        """;
}
