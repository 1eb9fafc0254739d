using System.Globalization;
using System.Text;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>One who has no right anywhere, and never stops asking.</summary>
public sealed class StrangerTests
{
    private const uint Stranger = 7777;
    private const long Mebibyte = 1 << 20;

    // With numbers in them, so that no two are alike.
    private static readonly (string Method, string Params)[] s_requests =
    [
        ("crypto.encrypt", """{"key":"theirs","plaintext":"QQ==","context":"@"}"""),
        ("crypto.decrypt", """{"key":"no-such-key-#","ciphertext":"kms:v1:@"}"""),
        ("crypto.encryptBatch", """{"key":"theirs","items":[{"plaintext":"@"},{"plaintext":"@"}]}"""),
        ("crypto.createDataKey", """{"key":"theirs","bits":256}"""),
        ("keys.get", """{"key":"theirs"}"""),
        ("keys.create", """{"name":"stranger-#","type":"AES256-GCM96"}"""),
        ("keys.rotate", """{"key":"theirs"}"""),
        ("keys.requestDeletion", """{"key":"theirs","confirmName":"theirs"}"""),
        ("grants.add", """{"key":"theirs","principal":"uid:7777","role":"manager"}"""),
        ("members.add", """{"store":"default","principal":"uid:7777","role":"manager"}"""),
        ("stores.create", """{"name":"store-#","manager":"uid:7777"}"""),
        ("history.list", """{"key":"theirs"}"""),
        ("history.verify", "{}"),
        ("system.whoAmI", "{}"),
        ("no.such.method.#", """{"x":"@"}"""),
    ];

    /// <summary><c>KMS_STRANGER_REQUESTS</c>: how many a minute. The hour passes by a clock that the test sets.</summary>
    [Fact]
    public async Task An_hour_of_a_strangers_requests_grows_the_database_by_less_than_a_megabyte()
    {
        Assert.SkipUnless(Environment.UserName == "root", "Needs root: it acts as several accounts (setpriv).");
        const int Minutes = 60;
        int perMinute = Repository.Count("KMS_STRANGER_REQUESTS", 600);
        DateTimeOffset now = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);
        await using Installation host = await Installation.MakeAsync(now);
        Dictionary<string, string> hooks = new() { ["KMSD_TEST_LOOK"] = Path.Combine(host.Path, "look") };
        await using (Daemon first = await host.StartTestBuildAsync(hooks))
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("theirs");
            Assert.Equal(0, (await first.StopAsync()).ExitCode);
        }

        long before = new FileInfo(host.Database).Length;
        long entries;
        using (Sqlite database = new(host.Database))
        {
            entries = database.Number("SELECT count(*) FROM history");
        }

        Dictionary<string, int> answers = [];
        int number = 0;
        long largestLog = 0;
        await using (Daemon daemon = await host.StartTestBuildAsync(hooks))
        await using (Account account = await Account.StartAsync(host, Stranger, Stranger))
        {
            Wire[] wires = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => account.ConnectAsync()));
            for (int minute = 0; minute < Minutes; minute++)
            {
                foreach (int[] part in Enumerable.Range(number, perMinute).Chunk(100))
                {
                    Wire wire = wires[part[0] / 100 % wires.Length];
                    await wire.SendAsync(string.Join('\n', part.Select(Request)));
                    for (int i = 0; i < part.Length; i++)
                    {
                        string reason = Reason(await wire.ReceiveAsync() ?? throw new EndOfStreamException("The daemon hung up."));
                        answers[reason] = answers.GetValueOrDefault(reason) + 1;
                    }
                }

                number += perMinute;
                now = now.AddMinutes(1);
                host.Now = now;
                await LookAsync(host, now);
                largestLog = Math.Max(largestLog, new FileInfo(host.Database + "-wal").Length);
            }

            foreach (Wire wire in wires)
            {
                await wire.DisposeAsync();
            }

            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        long growth = new FileInfo(host.Database).Length - before;
        using Sqlite after = new(host.Database);
        long counted = after.Number($"SELECT coalesce(sum(count), 0) FROM refusals WHERE principal = 'uid:{Stranger}'");
        long rows = after.Number("SELECT count(*) FROM refusals");
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{number} requests in {Minutes} minutes: {growth} bytes more, {rows} rows for {counted} refusals; write-ahead log at most {largestLog} bytes. {string.Join(", ", answers)}");
        Assert.InRange(growth, 0, Mebibyte - 1);
        Assert.Equal(entries, after.Number("SELECT count(*) FROM history"));

        // He was heard: of fifteen requests in turn, those that name something he has no right to are counted.
        Assert.InRange(rows, Minutes, Minutes + 2);
        Assert.InRange(counted, number / 2, number);

        string Request(int id)
        {
            (string method, string parameters) = s_requests[id % s_requests.Length];
            string text = id.ToString(CultureInfo.InvariantCulture);
            return $$"""{"jsonrpc":"2.0","id":{{text}},"method":"{{method}}","params":{{parameters}}}"""
                .Replace("#", text, StringComparison.Ordinal)
                .Replace("@", Wire.Base64(Encoding.UTF8.GetBytes("number " + text)), StringComparison.Ordinal);
        }
    }

    // An unknown method has a code of JSON-RPC, and no reason of ours.
    private static string Reason(System.Text.Json.JsonElement answer) =>
        answer.TryGetProperty("error", out System.Text.Json.JsonElement error) && !error.TryGetProperty("data", out _)
            ? error.GetProperty("code").ToString()
            : Wire.Reason(answer);

    /// <summary>Waits until the daemon has done what was due then.</summary>
    private static async Task LookAsync(Installation host, DateTimeOffset now)
    {
        string path = Path.Combine(host.Path, "look");
        for (int i = 0; i < 2000; i++)
        {
            if (File.Exists(path) && DateTimeOffset.Parse(File.ReadAllText(path), CultureInfo.InvariantCulture) >= now)
            {
                return;
            }

            await Task.Delay(5, TestContext.Current.CancellationToken);
        }

        throw new TimeoutException("The daemon doesn't look for what is due.");
    }
}
