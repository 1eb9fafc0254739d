using System.Text;
using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>The transport table of docs/api.md, line by line.</summary>
public sealed class TransportTests(ServingFixture serving) : IClassFixture<ServingFixture>
{
    private const int LongestRequest = 131072;

    [Theory]
    [InlineData("this is no JSON", "parseError")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":", "parseError")]
    [InlineData("\0\u0001\u0002", "parseError")]
    [InlineData("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.status\"}]", "invalidRequest")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"\\ud800\":2,\"method\":\"system.whoAmI\"}", "parseError")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"keys.create\",\"params\":{\"name\":\"abc\",\"type\":\"AES256-GCM96\",\"grants\":[null]}}", "invalidParams")]
    [InlineData("17", "invalidRequest")]
    [InlineData("{\"id\":1,\"method\":\"system.status\"}", "invalidRequest")]
    [InlineData("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"system.status\"}", "invalidRequest")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"system.status\"}", "invalidRequest")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"system.status\"}", "invalidRequest")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"system.status\"}", "invalidRequest")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", "invalidRequest")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.status\",\"method\":\"keys.list\"}", "invalidRequest")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no.such\"}", "methodNotFound")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"GetKeyAsync\"}", "methodNotFound")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"keys.get\",\"params\":[\"a\"]}", "invalidParams")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"keys.get\",\"params\":{}}", "invalidParams")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"keys.get\",\"params\":{\"key\":null}}", "invalidParams")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"keys.get\",\"params\":{\"key\":\"a\",\"key\":\"b\"}}", "invalidParams")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"keys.get\",\"params\":{\"key\":\"a\",\"colour\":1}}", "invalidParams")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.status\",\"params\":{\"colour\":1}}", "invalidParams")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"crypto.random\",\"params\":{\"bytes\":1025}}", "invalidParams")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"crypto.encrypt\",\"params\":{\"key\":\"a\",\"plaintext\":\"QQ\"}}", "invalidParams")]
    public async Task What_is_wrong_is_told_and_the_connection_goes_on(string line, string reason)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        JsonElement answer = await wire.SendAndReceiveAsync(line);

        Assert.Equal(reason, Wire.Reason(answer));
        string message = answer.GetProperty("error").GetProperty("message").GetString()!;
        Assert.DoesNotContain("Exception", message, StringComparison.Ordinal);
        Assert.DoesNotContain("Kms", message, StringComparison.Ordinal);
        Assert.Equal("ok", await wire.ReasonAsync("system.status"));
    }

    [Theory]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":\"a-string\",\"method\":\"system.status\"}")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.status\",\"params\":null}")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.status\",\"params\":{}}\r")]
    [InlineData("  {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"keys.list\"}  ")]
    public async Task Every_sound_form_is_answered(string line)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        Assert.Equal("ok", Wire.Reason(await wire.SendAndReceiveAsync(line)));
    }

    [Fact]
    public async Task Answers_end_in_LF_alone()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        await wire.SendAsync("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.whoAmI\"}\r");
        byte[] answer = new byte[4096];
        int length = await wire.Stream.ReadAsync(answer, TestContext.Current.CancellationToken);
        Assert.Equal("}\n"u8.ToArray(), answer[(length - 2)..length]);
    }

    [Theory]
    [InlineData(64, "ok")]
    [InlineData(65, "invalidRequest")]
    public async Task An_id_is_at_most_64_characters(int length, string reason)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string line = $$"""{"jsonrpc":"2.0","id":"{{new string('i', length)}}","method":"system.status"}""";
        Assert.Equal(reason, Wire.Reason(await wire.SendAndReceiveAsync(line)));
    }

    [Theory]
    [InlineData(14, "invalidParams")]
    [InlineData(15, "invalidRequest")]
    [InlineData(100_000 / 2, "invalidRequest")]
    public async Task Depth_is_at_most_16(int arrays, string reason)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string deep = new string('[', arrays) + new string(']', arrays);
        string line = $$$"""{"jsonrpc":"2.0","id":1,"method":"keys.get","params":{"key":{{{deep}}}}}""";
        Assert.Equal(reason, Wire.Reason(await wire.SendAndReceiveAsync(line)));
    }

    [Theory]
    [InlineData(LongestRequest, true)]
    [InlineData(LongestRequest + 1, false)]
    public async Task A_request_is_at_most_128_KiB(int length, bool isAnswered)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string line = """{"jsonrpc":"2.0","id":1,"method":"system.status"}""";
        JsonElement answer = await wire.SendAndReceiveAsync(line + new string(' ', length - line.Length));
        Assert.Equal(isAnswered ? "ok" : "invalidRequest", Wire.Reason(answer));
        if (isAnswered)
        {
            Assert.Equal("ok", await wire.ReasonAsync("system.status"));
        }
        else
        {
            Assert.Equal(JsonValueKind.Null, answer.GetProperty("id").ValueKind);
            Assert.Null(await wire.ReceiveAsync());
        }
    }

    [Fact]
    public async Task A_request_without_id_is_never_run()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        await wire.SendAsync("""{"jsonrpc":"2.0","method":"keys.create","params":{"name":"ghost","type":"AES256-GCM96"}}""");
        Assert.Equal("notFound", await wire.ReasonAsync("grants.list", """{"key":"ghost"}"""));
    }

    [Fact]
    public async Task An_id_that_is_in_flight_is_refused()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        const string Slow = """{"jsonrpc":"2.0","id":77,"method":"keys.create","params":{"name":"twice-a","type":"AES256-GCM96"}}""";
        const string Second = """{"jsonrpc":"2.0","id":77,"method":"system.status"}""";
        await wire.SendAsync(Slow + "\n" + Second);
        List<JsonElement> answers = [await Answer(wire), await Answer(wire)];
        Assert.Contains(answers, answer => Wire.Reason(answer) == "invalidRequest" && answer.GetProperty("id").ValueKind == JsonValueKind.Null);
        Assert.Contains(answers, answer => answer.TryGetProperty("result", out JsonElement key) && key.TryGetProperty("tag", out _));
    }

    [Fact]
    public async Task An_id_that_was_answered_may_be_used_again_at_once()
    {
        // Without a task between answer and request, so that the next one comes as early as it can.
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        byte[] request = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.whoAmI\"}\n"u8.ToArray();
        byte[] answer = new byte[4096];
        for (int round = 0; round < 20_000; round++)
        {
            _ = wire.Socket.Send(request);
            int length = 0;
            do
            {
                length += wire.Socket.Receive(answer.AsSpan(length));
            }
            while (answer[length - 1] != (byte)'\n');

            Assert.DoesNotContain("error", Encoding.UTF8.GetString(answer, 0, length), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Every_pipelined_request_is_answered_past_the_bound_too()
    {
        const int Requests = 1000;
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        StringBuilder lines = new();
        for (int id = 0; id < Requests; id++)
        {
            _ = lines.Append(System.Globalization.CultureInfo.InvariantCulture, $"{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"system.status\"}}\n");
        }

        Task sending = wire.SendAsync(lines.ToString().TrimEnd());
        HashSet<int> answered = [];
        for (int count = 0; count < Requests; count++)
        {
            Assert.True(answered.Add((await Answer(wire)).GetProperty("id").GetInt32()));
        }

        await sending;
    }

    [Fact]
    public async Task A_cancelled_change_is_done_or_not_done_and_never_half()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        for (int round = 0; round < 20; round++)
        {
            string create = $$$"""{"jsonrpc":"2.0","id":{{{1000 + round}}},"method":"keys.create","params":{"name":"cancel-{{{round}}}","type":"AES256-GCM96","grants":[{"principal":"uid:0","role":"reviewer"}]}}""";
            await wire.SendAsync($$$"""{{{create}}}{{{"\n"}}}{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":{{{1000 + round}}}}}""");
            JsonElement answer = await Answer(wire);
            string found = await wire.ReasonAsync("keys.get", $$"""{"key":"cancel-{{round}}"}""");
            switch (Wire.Reason(answer))
            {
                case "ok":
                    Assert.Equal("ok", found);
                    break;
                case "cancelled":
                    Assert.True(found is "ok" or "notFound", found);
                    break;
                case string other:
                    Assert.Fail(other);
                    break;
            }
        }
    }

    [Fact]
    public async Task Discover_names_every_method_that_is_served()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        JsonElement document = await wire.ResultAsync("rpc.discover");
        string[] names = [.. document.GetProperty("methods").EnumerateArray().Select(method => method.GetProperty("name").GetString()!)];
        Assert.Contains("crypto.encrypt", names);
        foreach (string name in names)
        {
            Assert.NotEqual("methodNotFound", await wire.ReasonAsync(name, """{"nothing":1}"""));
        }
    }

    private static async Task<JsonElement> Answer(Wire wire) =>
        await wire.ReceiveAsync() ?? throw new EndOfStreamException("The daemon hung up.");
}
