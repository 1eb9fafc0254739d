using System.IO.Pipelines;
using System.Net.Sockets;
using Kms.Client.Protocol;
using Kmsd.Access;
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

    /// <summary>Takes the socket over.</summary>
    public RpcConnection(Socket socket, Caller caller, Operations operations, ConnectionLimits limits, ILogger log)
    {
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
            formatter, limits.LongestLine, _gate, _firstRequest);
        _rpc = new ServerRpc(_handler, _gate, log);
        _rpc.AddLocalRpcTarget(RpcTargetMetadata.FromShape<IKmsRpc>(), new KmsRpcTarget(operations, caller), null);
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

    public async ValueTask DisposeAsync()
    {
        _rpc.Dispose();
        await _handler.DisposeAsync();
        await _stream.DisposeAsync();
        _gate.Dispose();
        _firstRequest.Dispose();
    }

    /// <summary>StreamJsonRpc with our errors, and with the gate that opens when an answer was sent.</summary>
    private sealed class ServerRpc(IJsonRpcMessageHandler handler, RequestGate gate, ILogger log) : JsonRpc(handler)
    {
        protected override JsonRpcError.ErrorDetail CreateErrorDetails(JsonRpcRequest request, Exception exception) =>
            RpcError.From(exception, request.Method, log);

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
            try
            {
                await base.SendAsync(message, cancellationToken);
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

/// <summary>Types that travel only inside errors.</summary>
[GenerateShapeFor(typeof(ErrorDetail))]
internal sealed partial class ErrorShapes;
