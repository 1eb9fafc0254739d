using System.Buffers;
using System.Text;
using Kms.Client.Protocol;
using Kmsd.Rpc;
using StreamJsonRpc;

namespace Kmsd.Tests.Rpc;

public sealed class EnvelopeTests
{
    [Theory]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"keys.get","params":{"key":"a"}}""")]
    [InlineData("""{"params":{"key":"a"},"method":"keys.get","id":1,"jsonrpc":"2.0"}""")]
    [InlineData("""  { "jsonrpc" : "2.0", "id" : 1, "method" : "keys.get", "params" : {} }  """)]
    [InlineData("""{"jsonrpc":"2\u002e0","\u0069d":1,"method":"keys\u002eget"}""")]
    public void A_sound_request_is_run(string line)
    {
        Envelope envelope = Read(line);
        Assert.Equal((Envelope.Verdict.Run, new RequestId(1)), (envelope.Outcome, envelope.Id));
        Assert.Equal("keys.get", envelope.Method!.Name);
    }

    /// <summary>docs/api.md, "Transport": an integer or a string of at most 64 characters.</summary>
    [Theory]
    [InlineData("0", true)]
    [InlineData("-1", true)]
    [InlineData("9223372036854775807", true)]
    [InlineData("9223372036854775808", false)]
    [InlineData("1.5", false)]
    [InlineData("1.0", false)]
    [InlineData("1e2", false)]
    [InlineData("null", false)]
    [InlineData("true", false)]
    [InlineData("{}", false)]
    [InlineData("[1]", false)]
    [InlineData("\"\"", true)]
    [InlineData("\"a b\"", true)]
    [InlineData("\"\\u0041\"", true)]
    [InlineData("\"\\ud800\"", false)]
    public void An_id_is_an_integer_or_a_text(string id, bool isValid)
    {
        Envelope envelope = Read($$"""{"jsonrpc":"2.0","id":{{id}},"method":"system.status"}""");
        Assert.Equal(isValid ? Envelope.Verdict.Run : Envelope.Verdict.Refuse, envelope.Outcome);
        Assert.Equal(isValid, !envelope.Id.IsEmpty);
        Assert.Equal(isValid ? KmsErrorCode.None : KmsErrorCode.InvalidRequest, envelope.Code);
    }

    [Theory]
    [InlineData("x", 64, true)]
    [InlineData("x", 65, false)]
    [InlineData("é", 64, true)]
    [InlineData("é", 65, false)]
    [InlineData("🔑", 64, true)]
    [InlineData("🔑", 65, false)]
    public void A_text_id_has_at_most_sixty_four_characters(string character, int count, bool isValid)
    {
        string id = string.Concat(Enumerable.Repeat(character, count));
        Envelope envelope = Read($$"""{"jsonrpc":"2.0","id":"{{id}}","method":"system.status"}""");
        Assert.Equal(isValid ? Envelope.Verdict.Run : Envelope.Verdict.Refuse, envelope.Outcome);
    }

    [Theory]
    [InlineData("""{"id":1,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":"1.0","id":1,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":2.0,"id":1,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":{"a":"2.0"},"id":1,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":7}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":null}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"\ud800"}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"system.status","more":1}""")]
    [InlineData("""{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"system.status","method":"system.status"}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"system.status","params":{},"params":{}}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"system.status","p\u0061rams":{},"params":{}}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"result":{}}""")]
    public void A_request_that_is_not_sound_is_refused_under_its_id(string line)
    {
        Envelope envelope = Read(line);
        Assert.Equal((Envelope.Verdict.Refuse, KmsErrorCode.InvalidRequest), (envelope.Outcome, envelope.Code));
        Assert.Equal(new RequestId(1), envelope.Id);
    }

    [Theory]
    [InlineData("""{"jsonrpc":"2.0","id":1,"id":1,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"id":2,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1},"id":1,"id":1}""")]
    [InlineData("[]")]
    [InlineData("""[{"jsonrpc":"2.0","id":1,"method":"system.status"}]""")]
    [InlineData("7")]
    [InlineData("null")]
    [InlineData("\"text\"")]
    [InlineData("{}")]
    public void Batches_values_and_repeated_ids_are_no_requests(string line)
    {
        Envelope envelope = Read(line);
        Assert.Equal((Envelope.Verdict.Refuse, KmsErrorCode.InvalidRequest), (envelope.Outcome, envelope.Code));
    }

    [Theory]
    [InlineData("{")]
    [InlineData("{} {}")]
    [InlineData("{},")]
    [InlineData("[1")]
    [InlineData("[1] x")]
    [InlineData("nonsense")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"system.status"} x""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"system.status",}""")]
    [InlineData("""{"jsonrpc":"2.0","id":01,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":"2.0","id":NaN,"method":"system.status"}""")]
    [InlineData("""{"jsonrpc":"2.0",/* c */"id":1,"method":"system.status"}""")]
    public void What_is_no_json_is_a_parse_error_without_id(string line)
    {
        Envelope envelope = Read(line);
        Assert.Equal((Envelope.Verdict.Refuse, KmsErrorCode.ParseError), (envelope.Outcome, envelope.Code));
        Assert.True(envelope.Id.IsEmpty);
    }

    [Fact]
    public void What_is_no_utf8_is_a_parse_error()
    {
        byte[] line = [.. """{"jsonrpc":"2.0","id":"""u8, (byte)'"', 0xC0, 0x80, (byte)'"', .. ""","method":"system.status"}"""u8];
        Assert.Equal(KmsErrorCode.ParseError, Envelope.Read(line).Code);
    }

    [Theory]
    [InlineData(16, true)]
    [InlineData(17, false)]
    [InlineData(1000, false)]
    [InlineData(60_000, false)]
    public void Depth_ends_at_sixteen(int depth, bool isValid)
    {
        // The request and its params are two levels of it.
        string arrays = new string('[', depth - 2) + new string(']', depth - 2);
        Envelope inParams = Read($$$"""{"jsonrpc":"2.0","id":1,"method":"system.status","params":{"a":{{{arrays}}}}}""");
        Assert.Equal(isValid ? Envelope.Verdict.Run : Envelope.Verdict.Refuse, inParams.Outcome);
        Assert.Equal(isValid ? KmsErrorCode.None : KmsErrorCode.InvalidRequest, inParams.Code);

        string objects = string.Concat(Enumerable.Repeat("{\"a\":", depth - 2)) + "1" + new string('}', depth - 2);
        Envelope nested = Read($$$"""{"jsonrpc":"2.0","id":1,"method":"system.status","params":{"a":{{{objects}}}}}""");
        Assert.Equal(inParams.Outcome, nested.Outcome);

        Envelope elsewhere = Read($$"""{"id":{{new string('[', depth)}}{{new string(']', depth)}},"jsonrpc":"2.0","method":"system.status"}""");
        Envelope batch = Read(new string('[', depth) + new string(']', depth));
        Assert.Equal((KmsErrorCode.InvalidRequest, KmsErrorCode.InvalidRequest), (elsewhere.Code, batch.Code));
    }

    [Theory]
    [InlineData("")]
    [InlineData(""","params":null""")]
    public void Missing_params_are_filled_in_where_the_method_reads_an_object(string parameters)
    {
        string line = $$"""{"jsonrpc":"2.0","id":1,"method":"keys.list"{{parameters}} }""";
        Envelope envelope = Read(line);
        Assert.True(envelope.NeedsParams);
        Assert.Equal(
            """{"jsonrpc":"2.0","id":1,"method":"keys.list","params":{}}""",
            Encoding.UTF8.GetString(envelope.Complete(Encoding.UTF8.GetBytes(line)).ToArray()).Replace(" ", "", StringComparison.Ordinal));
        Assert.False(Read("""{"jsonrpc":"2.0","id":1,"method":"keys.list","params":{}}""").NeedsParams);
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("""["a"]""")]
    [InlineData("7")]
    [InlineData("\"a\"")]
    [InlineData("false")]
    public void Params_that_are_no_object_are_invalid_params(string parameters)
    {
        Envelope envelope = Read($$"""{"jsonrpc":"2.0","id":1,"method":"keys.get","params":{{parameters}}}""");
        Assert.Equal((Envelope.Verdict.Refuse, KmsErrorCode.InvalidParams, new RequestId(1)), (envelope.Outcome, envelope.Code, envelope.Id));
    }

    [Theory]
    [InlineData("keys.purge")]
    [InlineData("KEYS.GET")]
    [InlineData("GetKeyAsync")]
    [InlineData("")]
    [InlineData("$/cancelRequest")]
    public void An_unknown_method_is_not_found(string method)
    {
        Envelope envelope = Read($$"""{"jsonrpc":"2.0","id":1,"method":"{{method}}"}""");
        Assert.Equal((KmsErrorCode.MethodNotFound, new RequestId(1)), (envelope.Code, envelope.Id));
    }

    [Theory]
    [InlineData("""{"jsonrpc":"2.0","method":"keys.create","params":{}}""")]
    [InlineData("""{"jsonrpc":"2.0","method":"no.such"}""")]
    [InlineData("""{"jsonrpc":"2.0","method":"$/cancelRequest"}""")]
    [InlineData("""{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1.5}}""")]
    [InlineData("""{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"ID":1}}""")]
    public void A_notification_is_never_run(string line) => Assert.Equal(Envelope.Verdict.Drop, Read(line).Outcome);

    [Theory]
    [InlineData("""{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}""")]
    [InlineData("""{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"a"}}""")]
    public void A_cancellation_is_the_one_notification_that_is_heard(string line) =>
        Assert.Equal(Envelope.Verdict.Cancel, Read(line).Outcome);

    private static Envelope Read(string line) => Envelope.Read(Encoding.UTF8.GetBytes(line));
}
