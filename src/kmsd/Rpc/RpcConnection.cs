using System.IO.Pipelines;
using System.Net.Sockets;
using System.Text.Json;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;
using PolyType;
using StreamJsonRpc;
using StreamJsonRpc.Protocol;

namespace Kmsd.Rpc;

/// <summary>Bounds of one connection.</summary>
internal sealed record ConnectionLimits(int LongestLine, int MostInFlight, TimeSpan FirstRequestTimeout)
{
    /// <summary>How long requests in flight have to be answered, when nothing more is read.</summary>
    public static readonly TimeSpan DrainTime = TimeSpan.FromSeconds(5);

    /// <summary>How many bytes of requests and answers one connection may hold in memory.</summary>
    public const int BytesInFlight = 512 * 1024;
}

/// <summary>One client's connection, from its first byte to its last answer.</summary>
internal sealed class RpcConnection : IAsyncDisposable
{
    private readonly CancellationTokenSource _firstRequest = new();
    private readonly NetworkStream _stream;
    private readonly LineMessageHandler _handler;
    private readonly RequestGate _gate;
    private readonly ServerRpc _rpc;
    private readonly ConnectionLimits _limits;
    private readonly Caller _caller;
    private readonly Service _service;
    private readonly CallerShares.Share _share;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _ended = new();
    private NoticeSubscription? _subscription;
    private Task _sending = Task.CompletedTask;

    /// <summary>Takes the socket over.</summary>
    public RpcConnection(Socket socket, Caller caller, Service service, ConnectionLimits limits, ILogger log)
    {
        _caller = caller;
        _service = service;
        _log = log;
        _share = service.Shares.Join(caller);
        _limits = limits;
        _stream = new NetworkStream(socket, ownsSocket: true);
        _gate = new RequestGate(limits.MostInFlight, ConnectionLimits.BytesInFlight);
#pragma warning disable IDISP001 // The handler takes it over.
        PolyTypeJsonFormatter formatter = new()
#pragma warning restore IDISP001
        {
            TypeShapeProvider = PolyType.SourceGenerator.TypeShapeProvider_kmsd.Default,
            JsonSerializerOptions = ProtocolJsonContext.Default.Options,
        };
        _handler = new LineMessageHandler(
            PipeReader.Create(_stream, new StreamPipeReaderOptions(ClearingMemoryPool.Instance, leaveOpen: true, useZeroByteReads: true)),
            PipeWriter.Create(_stream, new StreamPipeWriterOptions(ClearingMemoryPool.Instance, leaveOpen: true)),
            formatter, limits.LongestLine, _gate, service.Meter, _firstRequest, _share, service.Writer);
        _rpc = new ServerRpc(_handler, _gate, service.Meter, log) { SynchronizationContext = new DispatchContext() };
        RequestGuard guard = new(caller, _share, service.Limiter, service.Catalogue, service.Refusals, service.Meter);
        _rpc.AddLocalRpcTarget(RpcTargetMetadata.FromShape<IKmsRpc>(), new KmsRpcTarget(service.Operations, caller, guard, Subscribe), null);
    }

    /// <summary>Serves until the client hangs up or <paramref name="stopping"/>; then answers what is in flight.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        using CancellationTokenRegistration onStop = stopping.UnsafeRegister(
            state => ((LineMessageHandler)state!).StopReading(), _handler);
        using CancellationTokenRegistration onSilence = _firstRequest.Token.UnsafeRegister(
            state => ((LineMessageHandler)state!).StopReading(), _handler);
        _firstRequest.CancelAfter(_limits.FirstRequestTimeout);
        _rpc.StartListening();
        await _rpc.Completion;
    }

    /// <summary>Everything that connections share.</summary>
    internal sealed record Service(
        Operations Operations, Writer Writer, CatalogueLedger Catalogue, RefusalRecorder Refusals, CallerShares Shares, CostLimiter Limiter, NoticeHub Notices, RpcMeter Meter);

    public async ValueTask DisposeAsync()
    {
        _service.Shares.Leave(_share);
        await _ended.CancelAsync();
        _subscription?.Dispose();
        await _sending;
        _ended.Dispose();
        _rpc.Dispose();
        await _handler.DisposeAsync();
        await _stream.DisposeAsync();
        _gate.Dispose();
        _firstRequest.Dispose();
    }

    /// <summary>Once is enough: a second time changes nothing.</summary>
    private void Subscribe()
    {
        NoticeSubscription subscription = _service.Notices.Subscribe(_caller);
        if (Interlocked.CompareExchange(ref _subscription, subscription, null) is not null)
        {
            subscription.Dispose();
            return;
        }

        _sending = SendAsync(subscription);
    }

    /// <summary>Sends what comes until the connection ends. Whoever doesn't take it loses the connection.</summary>
    private async Task SendAsync(NoticeSubscription subscription)
    {
        try
        {
            await foreach (NotificationDescription notice in subscription.ReadAllAsync(_ended.Token))
            {
                await _handler.SendAsync(Event(notice), _ended.Token);
            }

            NotificationsLog.SlowSubscriber(_log, _caller.ToString());
            _handler.StopReading();
        }
        catch (Exception exception) when (exception is OperationCanceledException or IOException or ObjectDisposedException or ConnectionLostException)
        {
            // The connection has ended, and with it who would read this.
        }
    }

    /// <summary>A request without id; built by hand, since the library would write the names that members have in C#.</summary>
    private static JsonRpcRequest Event(NotificationDescription notice)
    {
        Dictionary<string, object?> members = new(StringComparer.Ordinal)
        {
            ["sequence"] = notice.Sequence,
            ["at"] = JsonSerializer.SerializeToElement(notice.At, ProtocolJsonContext.Default.DateTimeOffset).GetString(),
            ["kind"] = notice.Kind,
            ["key"] = notice.Key,
            ["keyName"] = notice.KeyName,
            ["store"] = notice.Store,
            ["by"] = notice.By,
            ["detail"] = notice.Detail,
        };
        var present = members.Where(member => member.Value is not null).ToDictionary(StringComparer.Ordinal);
        return new JsonRpcRequest
        {
            Method = "notifications.event",
            NamedArguments = present,
            NamedArgumentDeclaredTypes = present.ToDictionary(member => member.Key, member => member.Value!.GetType(), StringComparer.Ordinal),
        };
    }

    /// <summary>StreamJsonRpc with our errors, and with the gate that opens when an answer was sent.</summary>
    private sealed class ServerRpc(LineMessageHandler handler, RequestGate gate, RpcMeter meter, ILogger log) : JsonRpc(handler)
    {
        protected override JsonRpcError.ErrorDetail CreateErrorDetails(JsonRpcRequest request, Exception exception)
        {
            if (exception is JsonException)
            {
                meter.Refused(request.Method, KmsErrorCode.InvalidParams); // It didn't come as far as the guard.
            }

            return RpcError.From(exception, request.Method, log);
        }

        protected override async ValueTask SendAsync(JsonRpcMessage message, CancellationToken cancellationToken)
        {
            if (message is JsonRpcError { Error: not { Data: ErrorDetail } } error)
            {
                error.Error = RpcError.Rewrite(error.Error);
            }

            RequestGate.Request? answered = message switch
            {
                JsonRpcResult result => gate.Answer(result.RequestId),
                JsonRpcError refusal => gate.Answer(refusal.RequestId),
                _ => null,
            };
            handler.Announce();
            try
            {
                await base.SendAsync(message, cancellationToken);
            }
            catch
            {
                handler.Withdraw();
                throw;
            }
            finally
            {
                // Sent, or never to be sent: the plaintext goes either way.
                if (message is JsonRpcResult { Result: IDisposable secret })
                {
                    secret.Dispose();
                }

                if (answered is not null)
                {
                    gate.Leave(answered);
                }
            }
        }
    }
}

/// <summary>Types that travel only inside errors, and to the client unasked.</summary>
[GenerateShapeFor(typeof(ErrorDetail))]
[GenerateShapeFor(typeof(string))]
[GenerateShapeFor(typeof(long))]
internal sealed partial class ErrorShapes;
