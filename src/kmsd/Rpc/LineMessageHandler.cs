using System.Buffers;
using System.IO.Pipelines;
using Kms.Client.Protocol;
using Kmsd.Storage;
using StreamJsonRpc;
using StreamJsonRpc.Protocol;

namespace Kmsd.Rpc;

/// <summary>
/// Reads one bounded line after another and lets only sound requests through (see <see cref="Envelope"/>). What isn't one is
/// answered here. A line over the limit is answered and ends the connection, without ever being held whole.
/// </summary>
internal sealed class LineMessageHandler : NewLineDelimitedMessageHandler
{
    // Writes no line: it stands for the flush of lines that were held back, which only the library can put in turn with others.
    private static readonly JsonRpcResult s_nothing = new();

    private readonly int _longestLine;
    private readonly RequestGate _gate;
    private readonly RpcMeter _meter;
    private readonly CancellationTokenSource _firstRequest;
    private readonly CallerShares.Share _share;
    private readonly LineBurst _burst;

    private int _toWrite;
    private bool _isFirstDone;

    // Behind the line that was taken last stands another whole one.
    private bool _hasNext;

    // How much of the buffered line was searched for its end already.
    private long _searched;

    /// <param name="input">What the client sends.</param>
    /// <param name="output">What it is answered.</param>
    /// <param name="formatter">How messages are read and written.</param>
    /// <param name="longestLine">In bytes, without the line's end.</param>
    /// <param name="gate">What is in flight on this connection.</param>
    /// <param name="meter">Told what is refused here.</param>
    /// <param name="firstRequest">Cancelled when the first whole request takes too long; disarmed by it.</param>
    /// <param name="share">Of whoever sends.</param>
    /// <param name="writer">Writes what lines that came together do, together.</param>
    public LineMessageHandler(
        PipeReader input, PipeWriter output, IJsonRpcMessageTextFormatter formatter, int longestLine, RequestGate gate,
        RpcMeter meter, CancellationTokenSource firstRequest, CallerShares.Share share, Writer writer)
        : base(output, input, formatter)
    {
        NewLine = NewLineStyle.Lf;
        _longestLine = longestLine;
        _gate = gate;
        _meter = meter;
        _firstRequest = firstRequest;
        _share = share;
        _burst = new LineBurst(this, writer);
    }

    /// <summary>Whether others wait for this thread.</summary>
    public Func<bool> IsPoolBusy { get; init; } = () => ThreadPool.PendingWorkItemCount > 0;

    /// <summary>What is about to be written: as long as more of it waits, nothing is flushed, so that answers leave together.</summary>
    public void Announce() => Interlocked.Increment(ref _toWrite);

    /// <summary>It could not be written. Too low a count flushes too often, which does no harm.</summary>
    public void Withdraw() => Interlocked.Decrement(ref _toWrite);

    /// <summary>Called once for each message, by whoever has written it, before the next one writes.</summary>
    protected override ValueTask FlushAsync(CancellationToken cancellationToken) =>
        Interlocked.Decrement(ref _toWrite) > 0 ? default : base.FlushAsync(cancellationToken);

    /// <summary>Writes beside the answers: a refusal of a line, or a notification.</summary>
    public async ValueTask SendAsync(JsonRpcMessage message, CancellationToken cancellationToken)
    {
        Announce();
        try
        {
            await WriteAsync(message, cancellationToken);
        }
        catch
        {
            Withdraw();
            throw;
        }
    }

    /// <summary>Ends reading: what is in flight is still answered.</summary>
    public void StopReading() => Reader!.CancelPendingRead();

    protected override async ValueTask<JsonRpcMessage?> ReadCoreAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            ReadResult read = await ReadMoreAsync(cancellationToken);
            if (read.IsCanceled)
            {
                return await EndAsync(cancellationToken);
            }

            ReadOnlySequence<byte> buffer = read.Buffer;
            if (buffer.Slice(_searched).PositionOf((byte)'\n') is not SequencePosition end)
            {
                _hasNext = false;
                if (buffer.Length > _longestLine + 1)
                {
                    return await RefuseLongLineAsync(buffer);
                }

                if (read.IsCompleted)
                {
                    return await EndAsync(cancellationToken); // Half a line at the end is no request.
                }

                _searched = buffer.Length;
                Reader!.AdvanceTo(buffer.Start, buffer.End);
                continue;
            }

            Task turn = _share.TurnToReadAsync();
            if (!turn.IsCompleted)
            {
                _burst.Close();
                await turn;
            }

            _searched = 0;
            ReadOnlySequence<byte> line = WithoutCarriageReturn(buffer.Slice(0, end));
            if (line.Length > _longestLine)
            {
                return await RefuseLongLineAsync(buffer);
            }

            int length = (int)line.Length;
            byte[] text = ArrayPool<byte>.Shared.Rent(length);
            line.CopyTo(text);
            SequencePosition next = buffer.GetPosition(1, end);
            _hasNext = buffer.Slice(next).PositionOf((byte)'\n') is not null;
            Reader!.AdvanceTo(next);
            if (_hasNext && _share.IsAlone)
            {
                _burst.Open();
            }

            if (await TakeAsync(text, length, cancellationToken) is JsonRpcMessage message)
            {
                return message;
            }
        }
    }

    /// <summary>What stands in the buffer, or what comes next. Where no whole line stands there the burst is over.</summary>
    private async ValueTask<ReadResult> ReadMoreAsync(CancellationToken cancellationToken)
    {
        if (_hasNext && (_share.IsAlone || !IsPoolBusy()))
        {
            return await Reader!.ReadAsync(cancellationToken);
        }

        _burst.Close();
        ValueTask<ReadResult> reading = Reader!.ReadAsync(cancellationToken);
        if (reading.IsCompleted && IsPoolBusy())
        {
            await Task.Yield(); // Whoever sends without end takes turns with others; beside other users, for each line.
        }

        return await reading;
    }

    /// <summary>The message in a line; null if it was answered or dropped. What it does with a request's text, the gate undoes.</summary>
    private async ValueTask<JsonRpcMessage?> TakeAsync(byte[] text, int length, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<byte> line = text.AsMemory(0, length);
        if (line.Span.IndexOfAnyExcept((byte)' ', (byte)'\t') < 0)
        {
            RequestGate.GiveBack(text);
            return null; // A blank line.
        }

        var envelope = Envelope.Read(line.Span);
        switch (envelope.Outcome)
        {
            case Envelope.Verdict.Cancel:
                // Not given back: the message may still read it. It holds an id and no secret.
                return Formatter.Deserialize(new ReadOnlySequence<byte>(line));
            case Envelope.Verdict.Run when _gate.IsInFlight(envelope.Id):
                RequestGate.GiveBack(text);
                await RefuseAsync(default, KmsErrorCode.InvalidRequest, "A request with this id is still in flight.");
                return null;
            case Envelope.Verdict.Run:
                ValueTask entering = _gate.EnterAsync(envelope.Id, length + envelope.Method!.AnswerBytes, text, cancellationToken);
                if (!entering.IsCompleted)
                {
                    _burst.Close(); // There is room when it has been answered.
                }

                await entering;
                DisarmFirstRequest();
                return Formatter.Deserialize(
                    envelope.NeedsParams ? envelope.Complete(line.Span) : new ReadOnlySequence<byte>(line));
            case Envelope.Verdict.Refuse:
                RequestGate.GiveBack(text);
                await RefuseAsync(envelope.Id, envelope.Code, envelope.Message!);
                return null;
            default:
                RequestGate.GiveBack(text);
                return null;
        }
    }

    private void DisarmFirstRequest()
    {
        if (!_isFirstDone)
        {
            _isFirstDone = true;
            _firstRequest.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Nothing more is read; what is in flight is answered before the connection ends.</summary>
    private async ValueTask<JsonRpcMessage?> EndAsync(CancellationToken cancellationToken)
    {
        _burst.Close();
        try
        {
            await _gate.DrainAsync(ConnectionLimits.DrainTime, cancellationToken);
        }
        catch (TimeoutException)
        {
            // The client doesn't take its answers, or an operation hangs: the connection ends without them.
        }

        return null;
    }

    private async ValueTask<JsonRpcMessage?> RefuseLongLineAsync(ReadOnlySequence<byte> buffer)
    {
        Reader!.AdvanceTo(buffer.End);
        await RefuseAsync(default, KmsErrorCode.InvalidRequest, $"A request is at most {_longestLine} bytes long.");
        return await EndAsync(DisposalToken); // What came before it is answered.
    }

    private ValueTask RefuseAsync(RequestId id, KmsErrorCode code, string message)
    {
        _burst.Close();
        _meter.Refused(null, code);
        return SendAsync(new JsonRpcError { RequestId = id.IsEmpty ? RequestId.Null : id, Error = RpcError.Make(code, message) }, DisposalToken);
    }

    protected override void DisposeReader()
    {
        _burst.Close();
        base.DisposeReader();
    }

    protected override void Write(JsonRpcMessage content, CancellationToken cancellationToken)
    {
        if (!ReferenceEquals(content, s_nothing))
        {
            base.Write(content, cancellationToken);
        }
    }

    /// <summary>Sends what was written and held back.</summary>
    private async Task FlushAnswersAsync()
    {
        try
        {
            await WriteAsync(s_nothing, DisposalToken);
        }
#pragma warning disable CA1031 // Whatever it was, this connection ends by it, and no other.
        catch (Exception)
#pragma warning restore CA1031
        {
            Withdraw();
            StopReading();
        }
    }

    private static ReadOnlySequence<byte> WithoutCarriageReturn(ReadOnlySequence<byte> line)
    {
        if (line.IsEmpty)
        {
            return line;
        }

        ReadOnlySequence<byte> last = line.Slice(line.Length - 1);
        return last.FirstSpan[0] == (byte)'\r' ? line.Slice(0, line.Length - 1) : line;
    }

    /// <summary>Lines that came together: their answers leave by one write.</summary>
    private sealed class LineBurst(LineMessageHandler handler, Writer writer) : Burst(writer)
    {
        protected override void BeginAnswers() => handler.Announce();

        protected override void EndAnswers() => _ = handler.FlushAnswersAsync();
    }
}
