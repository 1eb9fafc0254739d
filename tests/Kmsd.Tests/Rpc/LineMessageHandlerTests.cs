using System.IO.Pipelines;
using System.Text;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Rpc;
using Kmsd.Storage;
using Kmsd.Tests.Storage;
using StreamJsonRpc;
using StreamJsonRpc.Protocol;

namespace Kmsd.Tests.Rpc;

/// <summary>Where a burst of lines begins and ends. Nothing else writes here what it holds back: the daemon's looks, once a second, would.</summary>
public sealed class LineMessageHandlerTests : IAsyncDisposable
{
    private const int MostInFlight = 3;

    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(20);

    private readonly WriterHost _host = new();
    private readonly RequestGate _gate = new(MostInFlight, 1 << 20);
    private readonly CancellationTokenSource _firstRequest = new();
    private readonly CancellationTokenSource _ends = new();
    private readonly CallerShares _shares = new(alone: 64, besideOthers: 1, new StoppedClock { HasTimers = false });
    private readonly Pipe _input = new();
    private readonly Pipe _output = new();
    private readonly LineMessageHandler _handler;
    private readonly List<Use> _uses = [];

    public LineMessageHandlerTests()
    {
#pragma warning disable PolyTypeJson // The daemon's formatter.
        PolyTypeJsonFormatter formatter = new()
#pragma warning restore PolyTypeJson
        {
            TypeShapeProvider = PolyType.SourceGenerator.TypeShapeProvider_kmsd.Default,
            JsonSerializerOptions = ProtocolJsonContext.Default.Options,
        };
        _handler = new LineMessageHandler(
            _input.Reader, _output.Writer, formatter, longestLine: 1000, _gate, new RpcMeter(_host.Meter), _firstRequest, _shares.Join(new Caller(1, 1001, 100, [])), _host.Writer)
        {
            IsPoolBusy = () => false, // Whatever other tests do.
        };
    }

    public async ValueTask DisposeAsync()
    {
        await _ends.CancelAsync(); // What still reads ends with it.
        await _handler.DisposeAsync();
        _ends.Dispose();
        _gate.Dispose();
        _firstRequest.Dispose();
        _host.Dispose();
    }

    [Fact]
    public async Task A_line_that_stands_alone_is_no_burst()
    {
        await SendAsync(Line(1));
        await TakeAsync();

        await _uses[0].Answered.WaitAsync(s_soon, TestContext.Current.CancellationToken);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":")]
    public async Task Lines_that_come_together_are_written_when_no_whole_line_is_left(string rest)
    {
        await SendAsync(Line(1), Line(2), rest);
        await TakeAsync();
        await TakeAsync();
        Assert.All(_uses, use => Assert.False(use.IsAnswered));

        Assert.False(ReadAsync().IsCompleted);
        Assert.All(_uses, use => Assert.True(use.IsAnswered));
    }

    [Fact]
    public async Task Where_no_more_may_be_in_flight_they_are_written_first()
    {
        await SendAsync([.. Enumerable.Range(1, MostInFlight + 2).Select(Line)]);
        for (int i = 0; i < MostInFlight; i++)
        {
            await TakeAsync();
        }

        Assert.False(ReadAsync().IsCompleted);
        Assert.All(_uses, use => Assert.True(use.IsAnswered));
    }

    [Theory]
    [InlineData("this is no JSON")]
    [InlineData("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.status\"}")]
    public async Task Before_a_line_is_refused_they_are_written(string line)
    {
        await SendAsync(Line(1), Line(2), line, Line(3), Line(4));
        await TakeAsync();
        await TakeAsync();
        await TakeAsync(); // Refuses the one, and brings the next.

        Assert.Equal([true, true, false], _uses.Select(use => use.IsAnswered));
    }

    [Fact]
    public async Task When_reading_is_stopped_among_them_they_are_written()
    {
        await SendAsync(Line(1), Line(2), Line(3));
        await TakeAsync();
        await TakeAsync();
        _handler.StopReading();
        Task<JsonRpcMessage?> end = ReadAsync();

        Assert.All(_uses, use => Assert.True(use.IsAnswered));
        Assert.False(end.IsCompleted); // It waits for the answers.
    }

    [Fact]
    public async Task When_the_connection_is_closed_among_them_they_are_written()
    {
        await SendAsync(Line(1), Line(2), Line(3));
        await TakeAsync();
        await TakeAsync();
        await _handler.DisposeAsync();

        await Task.WhenAll(_uses.Select(use => use.Answered)).WaitAsync(s_soon, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Beside_other_users_each_stands_alone()
    {
        _ = _shares.Join(new Caller(2, 1001, 100, [])).EnterAsync();
        _ = _shares.Join(new Caller(3, 1002, 100, [])).EnterAsync();
        await SendAsync(Line(1), Line(2));
        await TakeAsync();

        await _uses[0].Answered.WaitAsync(s_soon, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Beside_other_users_nothing_is_taken_up_while_something_waits_for_its_turn()
    {
        CallerShares.Share share = _shares.Join(new Caller(2, 1001, 100, []));
        _ = share.EnterAsync();
        await SendAsync(Line(1), Line(2));
        await TakeAsync(); // While he is alone: a burst.
        _ = _shares.Join(new Caller(3, 1002, 100, [])).EnterAsync();
        _ = share.EnterAsync();
        Task<JsonRpcMessage?> reading = ReadAsync();
        Assert.False(reading.IsCompleted);
        Assert.True(_uses[0].IsAnswered);

        share.Leave();
        Assert.NotNull(await reading);
    }

    private static string Line(int id) => $$"""{"jsonrpc":"2.0","id":{{id}},"method":"system.status"}""";

    private async Task SendAsync(params string[] lines) =>
        _ = await _input.Writer.WriteAsync(Encoding.UTF8.GetBytes(string.Concat(lines.Select(line => line.EndsWith('}') || line.EndsWith('N') ? line + "\n" : line))));

    /// <summary>As the library does: reads one message and begins what it asks for, all on this thread.</summary>
    private async Task TakeAsync()
    {
        Task<JsonRpcMessage?> reading = ReadAsync();
        Assert.True(reading.IsCompletedSuccessfully);
        _ = Assert.IsType<JsonRpcRequest>(await reading, exactMatch: false);
        Use use = new();
        _uses.Add(use);
        Assert.True(_host.Writer.EnqueueAsync(use, CancellationToken.None).AsTask().IsCompletedSuccessfully);
    }

    private Task<JsonRpcMessage?> ReadAsync() => _handler.ReadAsync(_ends.Token).AsTask();

    private sealed class Use : WriteRequest
    {
        private readonly TaskCompletionSource _answered = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override bool IsChange => false;

        public override bool MayBeDeferred => true;

        public bool IsAnswered => _answered.Task.IsCompleted;

        public Task Answered => _answered.Task;

        public override void Apply()
        {
        }

        public override void Succeed() => _answered.SetResult();

        public override void Fail(Exception exception) => _answered.SetException(exception);
    }
}
