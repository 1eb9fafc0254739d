using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kms.EndToEnd.Tests.Support;
using Xunit.Sdk;

namespace Kms.EndToEnd.Tests.StateMachine;

/// <summary>
/// A random walk beside a daemon: each step is done to the daemon and to the model, and both must say the same. Now and then
/// the clock moves, or the daemon is ended or killed, at rest or with a request on its way.
/// </summary>
internal sealed class Walk : IAsyncDisposable
{
    public const string ReleaseMethod = "deletions.release";

    private const int StepsBetweenComparisons = 25;
    private const int RememberedSteps = 12;

    private static readonly ModelLimits s_limits = new(Keys: 6, Grants: 4, Members: 6, Versions: 7);
    private static readonly TimeSpan s_longestLook = TimeSpan.FromSeconds(60);

    private readonly Installation _host;
    private readonly ulong _seed;
    private readonly Dice _dice;
    private readonly Known _known = new();
    private readonly ManagementSteps _management;
    private readonly UseSteps _uses;
    private readonly Queue<string> _last = new();
    private Daemon _daemon = null!;
    private Wire _wire = null!;
    private Model _model;

    private Walk(Installation host, ulong seed, int mostRsaKeys)
    {
        _host = host;
        _seed = seed;
        _dice = new Dice(seed);
        _management = new ManagementSteps(_dice, _known, mostRsaKeys);
        _uses = new UseSteps(_dice, _known, _management);
        _model = new Model(s_limits, [], new DateTimeOffset(2027, 12, 1, 9, 30, 0, 250, TimeSpan.Zero));
    }

    public int Kills { get; private set; }

    public int Undecided { get; private set; }

    public SortedDictionary<string, int> Seen { get; } = new(StringComparer.Ordinal);

    private string LookFile => Path.Combine(_host.Path, "look");

    public static async Task<Walk> StartAsync(ulong seed, int mostRsaKeys)
    {
        Installation host = await Installation.MakeEmptyAsync();
        Walk walk = new(host, seed, mostRsaKeys);
        host.Set("limits", "keys_per_store", Text(s_limits.Keys));
        host.Set("limits", "grants_per_key", Text(s_limits.Grants));
        host.Set("limits", "members_per_store", Text(s_limits.Members));
        host.Set("limits", "versions_per_key", Text(s_limits.Versions));
        await host.InitAsync(walk._model.Now);
        await walk.StartDaemonAsync();
        JsonElement caller = await walk._wire.ResultAsync("system.whoAmI");
        walk._model = walk._model with
        {
            Caller = [.. caller.GetProperty("principals").EnumerateArray().Select(principal => principal.GetString()!)],
        };
        return walk;
    }

    public async Task RunAsync(int steps)
    {
        for (int step = 1; step <= steps; step++)
        {
            try
            {
                await StepAsync();
                if (step % StepsBetweenComparisons == 0)
                {
                    await CompareAsync(_model);
                }
            }
            catch (Exception exception)
            {
                throw new InvalidOperationException(
                    $"Seed {_seed}, step {step}, clock {_model.Now:O}: {exception.Message}\nThe last steps:\n{string.Join('\n', _last)}", exception);
            }
        }

        await CompareAsync(_model);
        Assert.Equal(0, (await _daemon.StopAsync()).ExitCode);
        await CompareHistoryAsync(_model);
    }

    public async ValueTask DisposeAsync()
    {
        await _wire.DisposeAsync();
        await _daemon.DisposeAsync();
        await _host.DisposeAsync();
    }

    private Task StepAsync() => _dice.PickWeighted<Func<Task>>(
    [
        (400, () => CallAsync(MakeChange())),
        (500, () => CallAsync(MakeUse())),
        (60, MoveClockAsync),
        (5, StopAndStartAsync),
        (8, KillAtRestAsync),
        (20, KillOnTheWayAsync),
    ])();

    private Step MakeChange() => _model.WithRefusal(_management.Make(_model), _known);

    private Step MakeUse() => _model.WithRefusal(_uses.Make(_model), _known);

    private async Task CallAsync(Step step)
    {
        Note(step.ToString());
        Settle(step, await _wire.CallAsync(step.Method, step.Parameters.ToJsonString()));
        _model = step.Next;
        if (step.Method == ReleaseMethod)
        {
            // The look that is under way may have begun before.
            await LookAgainAsync();
            await LookAgainAsync();
        }

        if (step.Parameters["key"] is JsonNode key)
        {
            await CompareKeyAsync(_model, key.GetValue<string>());
        }
    }

    /// <summary>Holds an answer against the model's word.</summary>
    private void Settle(Step step, JsonElement answer)
    {
        string reason = Wire.Reason(answer);
        string counted = $"{step.Method} {reason}";
        Seen[counted] = Seen.GetValueOrDefault(counted) + 1;
        if (step.Reasons.IsEmpty ? reason != "ok" : !step.Reasons.Contains(reason))
        {
            Assert.Fail($"{step}, but it is {reason}: {answer}");
        }

        if (reason == "ok")
        {
            step.Check(JsonNode.Parse(answer.GetProperty("result").GetRawText())!.AsObject());
        }
    }

    // ---- time ----

    private async Task MoveClockAsync()
    {
        DateTimeOffset now = _model.Now;
        List<ModelKey> pending = [.. _model.Keys.Where(key => key.DeleteAt > now)];
        ModelKey? key = pending.Count > 0 && _dice.In100(60) ? _dice.Pick(pending) : _model.Keys.IsEmpty ? null : _dice.Pick(_model.Keys);
        TimeSpan edge = _dice.Pick([TimeSpan.FromMilliseconds(-1), TimeSpan.Zero, TimeSpan.FromMilliseconds(1), TimeSpan.FromHours(-5)]);
        DateTimeOffset target = _dice.PickWeighted<DateTimeOffset>(
        [
            (10, now.AddSeconds(_dice.Roll(200))),
            (10, now.AddHours(_dice.Roll(24))),
            (8, now.AddDays(_dice.Roll(4))),
            (8, now.AddMinutes(-_dice.Roll(3000))),
            (4, now.AddDays(-_dice.Roll(100))),
            (12, (key?.NextRotationAt ?? now) + edge),
            (key?.DeleteAt is null ? 0 : 25, (key?.DeleteAt ?? now) + edge),
            (key?.DeleteAt is null ? 0 : 20, (key?.DeleteAt ?? now) - TimeSpan.FromHours(24) + edge),
            (3, now.AddDays(_dice.Roll(700))),
        ]);

        // Towards what isn't far off time often passes as it does: then no deletion waits for the jump.
        bool isSlow = target > now && target - now < TimeSpan.FromDays(5) && _dice.In100(70);
        while (isSlow && target - _model.Now > TimeSpan.FromHours(24))
        {
            await SetClockAsync(_model.Now.AddHours(24));
        }

        await SetClockAsync(target);
        await CompareAsync(_model);
    }

    private async Task SetClockAsync(DateTimeOffset now)
    {
        Note($"clock {now:O}");
        _model = _model with { Now = now };
        File.Delete(LookFile);
        _host.Now = now;
        if (_dice.In100(10))
        {
            // Killed in the midst of what is due: it is done once all the same. Whether the clock was looked at before decides only
            // whether deletions wait, where the time on the disk is a day old.
            await Task.Delay(_dice.Roll(40), TestContext.Current.CancellationToken);
            await RestartAsync(Kill);
            Model unseen = _model.Restarted();
            _model = _model.Looked().Restarted();
            if (unseen.IsHeld && !_model.IsHeld && !await IsSoAsync(_model))
            {
                _model = unseen;
            }

            return;
        }

        await LookAsync();
        _model = _model.Looked();
    }

    private async Task<bool> IsSoAsync(Model model)
    {
        try
        {
            await CompareAsync(model);
            await CompareHistoryAsync(model);
            return true;
        }
        catch (XunitException)
        {
            return false;
        }
    }

    private Task LookAgainAsync()
    {
        File.Delete(LookFile);
        return LookAsync();
    }

    /// <summary>Waits until the daemon has looked at this clock, and done what was due.</summary>
    private async Task LookAsync()
    {
        string expected = _model.Now.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);
        long began = Environment.TickCount64;
        while (!File.Exists(LookFile) || File.ReadAllText(LookFile) != expected)
        {
            Assert.True(Environment.TickCount64 - began < s_longestLook.TotalMilliseconds, "The daemon doesn't look at its clock.");
            await Task.Delay(2, TestContext.Current.CancellationToken);
        }
    }

    // ---- ends ----

    private Task StopAndStartAsync()
    {
        Note("stop");
        _model = _model.Restarted();
        return RestartAsync(async daemon => Assert.Equal(0, (await daemon.StopAsync()).ExitCode));
    }

    private async Task KillAtRestAsync()
    {
        Note("kill");
        _model = _model.Restarted();
        await RestartAsync(Kill);
        await CompareAsync(_model);
    }

    /// <summary>What was answered stands; what wasn't has happened or not, and nothing in between.</summary>
    private async Task KillOnTheWayAsync()
    {
        Step step = _dice.In100(50) ? MakeChange() : MakeUse();
        if (step.Method == ReleaseMethod)
        {
            // The one that is two commits, its entry and the time: a kill between them lets the deletions wait again.
            await CallAsync(step);
            return;
        }

        Note($"kill during {step}");
        await _wire.SendAsync($$"""{"jsonrpc":"2.0","id":"last","method":"{{step.Method}}","params":{{step.Parameters.ToJsonString()}}}""");
        long sent = Stopwatch.GetTimestamp();
        var delay = TimeSpan.FromMicroseconds(_dice.Roll(3000));
        while (Stopwatch.GetElapsedTime(sent) < delay)
        {
            // Finer than a timer.
        }

        await Kill(_daemon);
        JsonElement? answer = await LastAnswerAsync();
        if (answer is not null)
        {
            Settle(step, answer.Value);
        }

        ImmutableArray<Model> possible = answer is not null ? [step.Next] : [_model, step.Next];
        await RestartAsync(_ => Task.CompletedTask);
        List<string> differences = [];
        foreach (Model model in possible.Select(model => model.Restarted()))
        {
            try
            {
                await CompareAsync(model);
                await CompareHistoryAsync(model);
                Undecided += possible.Length - 1;
                Note(ReferenceEquals(model, possible[0]) ? "it didn't happen" : "it happened");
                _model = model;
                return;
            }
            catch (XunitException exception)
            {
                differences.Add(exception.Message);
            }
        }

        Assert.Fail($"After the kill neither is true:\n{string.Join("\n---\n", differences)}");
    }

    private async Task<JsonElement?> LastAnswerAsync()
    {
        try
        {
            return await _wire.ReceiveAsync();
        }
        catch (Exception exception) when (exception is IOException or SocketException or JsonException)
        {
            return null;
        }
    }

    private Task Kill(Daemon daemon)
    {
        Kills++;
        return daemon.KillAsync();
    }

    private async Task RestartAsync(Func<Daemon, Task> end)
    {
        await end(_daemon);
        await _wire.DisposeAsync();
        await _daemon.DisposeAsync();
        await StartDaemonAsync();
    }

    private async Task StartDaemonAsync()
    {
        File.Delete(LookFile);
        _daemon = await _host.StartTestBuildAsync(new() { ["KMSD_TEST_LOOK"] = LookFile });
        _wire = await Wire.ConnectAsync(_host.Socket);
        await LookAsync();
    }

    // ---- comparison ----

    private async Task CompareAsync(Model model)
    {
        JsonObject members = await ResultAsync("members.list", new() { ["store"] = "default" });
        Json.Same(model.DescribeMembers(), Json.WithoutNames(members["members"]!));
        List<ModelKey> visible =
        [
            .. model.Keys.Where(key => model.Allows(key, "see")).OrderBy(key => key.Name, StringComparer.OrdinalIgnoreCase),
        ];
        JsonObject listed = await ResultAsync("keys.list", new() { ["limit"] = 200 });
        Assert.Equal(visible.Count, listed["total"]!.GetValue<int>());
        Assert.Equal(visible.ConvertAll(key => key.Name), listed["keys"]!.AsArray().Select(key => key!["name"]!.GetValue<string>()));
        foreach (ModelKey key in model.Keys)
        {
            await CompareKeyAsync(model, key.Name);
        }

        JsonObject deleted = await ResultAsync("deletedKeys.list", []);
        JsonArray expected = Model.Sorted(model.Deleted.Select(key => Model.Describe(key, _known.Tags.GetValueOrDefault(key.Key.Number))));
        foreach (JsonNode? key in deleted["keys"]!.AsArray())
        {
            key!["grants"] = Json.WithoutNames(key["grants"]!);
            if (!_known.Tags.ContainsValue(key["tag"]!.GetValue<string>()))
            {
                _ = key.AsObject().Remove("tag");
            }
        }

        Json.Same(expected, Model.Sorted(deleted["keys"]!.AsArray()));
    }

    private async Task CompareHistoryAsync(Model model)
    {
        // Rows of what was erased stay; how many portions it was erased in, and that a start found a change announced to the token
        // and not made, is no matter of the model.
        int entries = int.Parse(
            await Shell.SucceedAsync(
                "sqlite3", _host.Database, "SELECT count(*) FROM history WHERE operation IS NULL OR operation NOT IN ('history.purge', 'anchor.lostWrites')"),
            CultureInfo.InvariantCulture);
        if (entries != model.Entries)
        {
            string last = await Shell.SucceedAsync(
                "sqlite3", _host.Database, "SELECT sequence, datetime(at / 1000, 'unixepoch'), operation, outcome FROM history ORDER BY sequence DESC LIMIT 40");
            Assert.Fail($"{model.Entries} entries are expected, there are {entries}; the last:\n{last}");
        }
    }

    /// <summary>The key, its versions and its grants; or that there is no such key.</summary>
    private async Task CompareKeyAsync(Model model, string reference)
    {
        int? number = _known.Tags.Where(tag => tag.Value == reference).Select(tag => (int?)tag.Key).FirstOrDefault();
        ModelKey? key = number is int known ? model.Find(known) : model.Find(reference[(reference.IndexOf('/', StringComparison.Ordinal) + 1)..]);
        JsonObject parameters = new() { ["key"] = reference };
        Settle(
            new Step("keys.get", parameters, Reasons(model.Denies(key, "see")), model)
            {
                Check = answer => _management.CheckKey(model, key!.Number, answer),
            },
            await _wire.CallAsync("keys.get", parameters.ToJsonString()));
        Settle(
            new Step("versions.list", parameters, Reasons(model.Denies(key, "seeVersions")), model)
            {
                Check = answer => Json.Same(
                    new JsonArray([.. Enumerable.Range(1, key!.Versions.Count).Reverse().Select(version => Model.Describe(key, version))]),
                    answer["versions"]!),
            },
            await _wire.CallAsync("versions.list", parameters.ToJsonString()));
        Settle(
            new Step("grants.list", parameters, Reasons(model.Denies(key, "manage")), model)
            {
                Check = answer => Json.Same(Model.DescribeGrants(key!), Json.WithoutNames(answer["grants"]!)),
            },
            await _wire.CallAsync("grants.list", parameters.ToJsonString()));
    }

    private async Task<JsonObject> ResultAsync(string method, JsonObject parameters) =>
        JsonNode.Parse((await _wire.ResultAsync(method, parameters.ToJsonString())).GetRawText())!.AsObject();

    private static ImmutableArray<string> Reasons(string? reason) => reason is null ? [] : [reason];

    private void Note(string step)
    {
        _last.Enqueue(step.Length > 400 ? step[..400] + "…" : step);
        if (_last.Count > RememberedSteps)
        {
            _ = _last.Dequeue();
        }
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
