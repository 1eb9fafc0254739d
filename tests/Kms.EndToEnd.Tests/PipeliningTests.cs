using System.Text;
using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Requests that come together, by one write: they are taken up, recorded and answered together.</summary>
public sealed class PipeliningTests(ServingFixture serving) : IClassFixture<ServingFixture>
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(20);

    /// <summary>Many more than may be in flight.</summary>
    [Fact]
    public async Task Each_of_two_thousand_is_answered_once_and_counted_once()
    {
        const int Requests = 2000;
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.MakeKeyAsync("together");
        Task sending = wire.SendAsync(string.Join('\n', Enumerable.Range(0, Requests).Select(id => Encrypt(id, "together"))));
        HashSet<int> answered = [];
        for (int i = 0; i < Requests; i++)
        {
            JsonElement answer = (await wire.ReceiveAsync().WaitAsync(s_soon, TestContext.Current.CancellationToken))!.Value;
            Assert.Equal("ok", Wire.Reason(answer));
            Assert.True(answered.Add(answer.GetProperty("id").GetInt32()));
        }

        await sending;
        Assert.Equal(Requests, await UsesAsync(wire, "together"));
    }

    [Fact]
    public async Task What_stands_before_half_a_line_is_answered_before_the_rest_of_it_comes()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.MakeKeyAsync("before-half");
        string last = Encrypt(6, "before-half") + "\n";
        await wire.Stream.WriteAsync(Encoding.UTF8.GetBytes($"{Encrypt(1, "before-half")}\n{Encrypt(2, "before-half")}\n{Encrypt(3, "before-half")}\n{last[..40]}"), TestContext.Current.CancellationToken);
        Assert.Equal([1, 2, 3], await IdsAsync(wire, 3));

        await wire.Stream.WriteAsync(Encoding.UTF8.GetBytes(last[40..]), TestContext.Current.CancellationToken);
        Assert.Equal([6], await IdsAsync(wire, 1));
    }

    [Theory]
    [InlineData("this is no JSON")]
    [InlineData("")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":1}}")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"crypto.encrypt\",\"params\":{\"key\":\"no-such\",\"plaintext\":\"QQ==\"}}")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"crypto.encrypt\",\"params\":{\"colour\":1}}")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"keys.rotate\",\"params\":{\"key\":\"with-others\"}}")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"system.status\"}")]
    public async Task Whatever_else_is_among_them_the_others_are_answered(string line)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        if (await wire.ReasonAsync("keys.get", """{"key":"with-others"}""") != "ok")
        {
            _ = await wire.MakeKeyAsync("with-others");
        }

        string[] before = [Encrypt(1, "with-others"), Encrypt(2, "with-others")];
        string[] after = [Encrypt(3, "with-others"), Encrypt(4, "with-others")];
        await wire.SendAsync(string.Join('\n', [.. before, line, .. after]));
        bool isAnswered = line.Length > 0 && !line.Contains('$', StringComparison.Ordinal);
        List<int> ids = await IdsAsync(wire, isAnswered ? 5 : 4);

        Assert.Equal([1, 2, 3, 4], ids.Where(id => id is > 0 and < 9));
        Assert.Equal("ok", await wire.ReasonAsync("system.whoAmI"));
    }

    /// <summary>Beside other users each has its turn, and two that get theirs together may overtake each other.</summary>
    [Fact]
    public async Task While_nobody_else_asks_changes_are_made_in_the_order_in_which_they_were_sent()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.MakeKeyAsync("described");
        await Task.Delay(TimeSpan.FromMilliseconds(100), TestContext.Current.CancellationToken); // Others asked in the tests before.
        for (int round = 0; round < 20; round++)
        {
            string[] changes = [.. Enumerable.Range(0, 8).Select(id => Line(id, "keys.update", $$"""{"key":"described","memo":"{{round}}/{{id}}"}"""))];
            if (round % 2 == 0)
            {
                await wire.SendAsync(string.Join('\n', changes));
            }
            else
            {
                foreach (string change in changes)
                {
                    await wire.SendAsync(change); // One after the other, without waiting.
                }
            }

            _ = await IdsAsync(wire, changes.Length);
            JsonElement key = await wire.ResultAsync("keys.get", """{"key":"described"}""");
            Assert.Equal($"{round}/7", key.GetProperty("memo").GetString());
        }
    }

    private static string Encrypt(int id, string key) => Line(id, "crypto.encrypt", $$"""{"key":"{{key}}","plaintext":"QQ=="}""");

    private static string Line(int id, string method, string parameters) =>
        $$"""{"jsonrpc":"2.0","id":{{id}},"method":"{{method}}","params":{{parameters}}}""";

    /// <summary>Of so many answers, in order; 0 where there is none.</summary>
    private static async Task<List<int>> IdsAsync(Wire wire, int answers)
    {
        List<int> ids = [];
        for (int i = 0; i < answers; i++)
        {
            JsonElement answer = (await wire.ReceiveAsync().WaitAsync(s_soon, TestContext.Current.CancellationToken))!.Value;
            ids.Add(answer.GetProperty("id") is { ValueKind: JsonValueKind.Number } id ? id.GetInt32() : 0);
        }

        ids.Sort();
        return ids;
    }

    private static async Task<long> UsesAsync(Wire wire, string key) =>
        (await wire.ResultAsync("keys.get", $$"""{"key":"{{key}}"}""")).GetProperty("usageCount").GetInt64();
}
