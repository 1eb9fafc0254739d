using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>One use that was asked for.</summary>
internal sealed class Use(string operation, string context, string? ciphertext)
{
    public string Operation { get; } = operation;

    /// <summary>No two uses of an operation have the same.</summary>
    public string Context { get; } = context;

    public string? Ciphertext { get; } = ciphertext;

    /// <summary><c>ok</c> or the reason of the refusal; null: never answered.</summary>
    public string? Outcome { get; set; }

    /// <summary>What the history holds of it.</summary>
    public string InHistory => $"{Operation}|{Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(Context)))}";
}

/// <summary>
/// Many connections that encrypt and decrypt with one key as fast as they are answered, whatever the answers are. By its
/// context, each use is found in the history.
/// </summary>
internal sealed class UseLoad
{
    private static readonly TimeSpan s_longestWait = TimeSpan.FromSeconds(120);

    private readonly string _key;
    private readonly string _name;
    private readonly int _inFlight;
    private readonly ConcurrentDictionary<string, long> _answers = new();
    private readonly List<Task<List<Use>>> _running;
    private int _unserved;
    private volatile bool _ends;

    private UseLoad(Func<Task<Wire>> connect, string key, string name, int connections, int inFlight)
    {
        (_key, _name, _inFlight) = (key, name, inFlight);
        _unserved = connections;
        _running = [.. Enumerable.Range(0, connections).Select(connection => Task.Run(() => RunAsync(connect, connection)))];
    }

    /// <summary>Begins; when it returns, every connection has had answers.</summary>
    /// <param name="connect">Makes one connection.</param>
    /// <param name="key">What is used.</param>
    /// <param name="name">Tells its contexts from those of other loads.</param>
    /// <param name="connections">How many.</param>
    /// <param name="inFlight">How many requests each has in flight.</param>
    public static async Task<UseLoad> StartAsync(Func<Task<Wire>> connect, string key, string name, int connections, int inFlight)
    {
        UseLoad load = new(connect, key, name, connections, inFlight);
        await load.UntilAsync(() => Volatile.Read(ref load._unserved) == 0);
        return load;
    }

    public long Answered(string outcome) => _answers.GetValueOrDefault(outcome);

    /// <summary>Waits for so many more such answers.</summary>
    public Task WaitForAsync(string outcome, long more)
    {
        long enough = Answered(outcome) + more;
        return UntilAsync(() => Answered(outcome) >= enough);
    }

    /// <summary>Ends the load; everything that was asked for.</summary>
    /// <param name="isCut">The daemon was killed, and so all were hung up on.</param>
    public async Task<List<Use>> EndAsync(bool isCut = false)
    {
        _ends = true;
        List<Use> all = [.. (await Task.WhenAll(_running)).SelectMany(uses => uses)];
        return isCut || all.All(use => use.Outcome is not null)
            ? all
            : throw new InvalidOperationException("The daemon hung up on somebody.");
    }

    private async Task<List<Use>> RunAsync(Func<Task<Wire>> connect, int connection)
    {
        List<Use> uses = [];
        try
        {
            await using Wire wire = await connect();
            for (int batch = 0; !_ends; batch++)
            {
                Use[] encryptions = [.. Enumerable.Range(0, _inFlight).Select(i => new Use("crypto.encrypt", $"{_name}/{connection}/{batch}/{i}", null))];
                uses.AddRange(encryptions);
                string?[] ciphertexts = await CallAsync(wire, encryptions);
                Use[] decryptions =
                [
                    .. encryptions.Zip(ciphertexts).Where(pair => pair.Second is not null)
                        .Select(pair => new Use("crypto.decrypt", pair.First.Context, pair.Second)),
                ];
                uses.AddRange(decryptions);
                _ = await CallAsync(wire, decryptions);
                _ = batch == 0 ? Interlocked.Decrement(ref _unserved) : 0;
            }
        }
        catch (Exception exception) when (exception is IOException or SocketException or JsonException)
        {
            // Hung up on: what wasn't answered says so.
        }

        return uses;
    }

    /// <summary>All at once, answered in any order; of each the ciphertext, if there is one.</summary>
    private async Task<string?[]> CallAsync(Wire wire, Use[] uses)
    {
        string?[] ciphertexts = new string?[uses.Length];
        if (uses.Length == 0)
        {
            return ciphertexts;
        }

        await wire.SendAsync(string.Join('\n', uses.Select((use, id) =>
            $$$"""{"jsonrpc":"2.0","id":{{{id}}},"method":"{{{use.Operation}}}","params":{"key":"{{{_key}}}","{{{(use.Ciphertext is null ? "plaintext" : "ciphertext")}}}":"{{{use.Ciphertext ?? "QQ=="}}}","context":"{{{Wire.Base64(Encoding.UTF8.GetBytes(use.Context))}}}"}}""")));
        for (int answers = 0; answers < uses.Length; answers++)
        {
            JsonElement answer = await wire.ReceiveAsync() ?? throw new EndOfStreamException("The daemon hung up.");
            int id = answer.GetProperty("id").GetInt32();
            uses[id].Outcome = Wire.Reason(answer);
            _ = _answers.AddOrUpdate(uses[id].Outcome!, 1, (_, count) => count + 1);
            ciphertexts[id] = answer.TryGetProperty("result", out JsonElement result) && result.TryGetProperty("ciphertext", out JsonElement text)
                ? text.GetString()
                : null;
        }

        return ciphertexts;
    }

    private async Task UntilAsync(Func<bool> isSo)
    {
        long began = System.Diagnostics.Stopwatch.GetTimestamp();
        while (!isSo())
        {
            if (System.Diagnostics.Stopwatch.GetElapsedTime(began) > s_longestWait || _running.All(task => task.IsCompleted))
            {
                throw new TimeoutException($"The load had: {string.Join(", ", _answers.Select(answer => $"{answer.Value} {answer.Key}"))}.");
            }

            await Task.Delay(5);
        }
    }
}

/// <summary>Compares what was answered with what the history of a key and its counter say.</summary>
internal sealed class UseProof(Installation host, string key, string tag)
{
    private long _last;

    /// <summary>How many uses the history holds that were carried out.</summary>
    public long Carried { get; private set; }

    /// <summary>Of the uses since the last check: each answered one is there once, each refused one never, and nothing else is.</summary>
    /// <param name="uses">All that were asked for.</param>
    public void Check(IReadOnlyCollection<Use> uses)
    {
        Dictionary<string, int> inHistory = [];
        using Sqlite database = new(host.Database);
        foreach (string[] row in database.Rows($"""
            SELECT sequence, operation || '|' || hex(context_digest), outcome FROM history
            WHERE tag = x'{tag}' AND operation LIKE 'crypto.%' AND sequence > {_last} ORDER BY sequence
            """).Select(row => row.Split('|')))
        {
            _last = long.Parse(row[0], System.Globalization.CultureInfo.InvariantCulture);
            if (row[3] == "ok")
            {
                inHistory[$"{row[1]}|{row[2]}"] = inHistory.GetValueOrDefault($"{row[1]}|{row[2]}") + 1;
                Carried++;
            }
        }

        foreach (Use use in uses)
        {
            int times = inHistory.GetValueOrDefault(use.InHistory);
            _ = inHistory.Remove(use.InHistory);
            Assert.True(
                use.Outcome switch { "ok" => times == 1, null => times <= 1, _ => times == 0 },
                $"{use.Operation} {use.Context}, answered '{use.Outcome}', is in the history {times} times.");
        }

        Assert.Empty(inHistory);
    }

    /// <summary>The key's counter says as much as its history, and the whole chain is as it was written.</summary>
    public async Task CheckWithDaemonAsync()
    {
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        Assert.Equal(Carried, (await wire.ResultAsync("keys.get", $$"""{"key":"{{key}}"}""")).GetProperty("usageCount").GetInt64());
        JsonElement verdict = await wire.ResultAsync("history.verify");
        Assert.True(verdict.GetProperty("ok").GetBoolean(), verdict.ToString());
    }
}
