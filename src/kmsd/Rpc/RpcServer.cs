using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Kms.Client.Protocol;
using Kmsd.Access;
using Microsoft.Extensions.Logging;

namespace Kmsd.Rpc;

/// <summary>Accepts connections and serves each; stops by answering what is in flight.</summary>
internal sealed class RpcServer(
    Socket listener, RpcConnection.Service service, ConnectionCounter connections, ConnectionLimits limits, UnitRules units, ILogger<RpcServer> log)
{
    // Longer than a connection gives its last answers.
    private static readonly TimeSpan s_drainTime = ConnectionLimits.DrainTime + TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_pauseAfterFault = TimeSpan.FromMilliseconds(100);

    private readonly ConcurrentDictionary<Task, byte> _running = new();

    public async Task RunAsync(TimeProvider clock, CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            Socket socket;
            try
            {
                socket = await listener.AcceptAsync(stopping);
            }
            catch (OperationCanceledException)
            {
                break;
            }
            catch (SocketException exception)
            {
                // Out of descriptors, or the client was gone already. Neither ends the service, and neither may spin.
                RpcLog.AcceptFailed(log, exception);
                await Task.Delay(s_pauseAfterFault, clock, CancellationToken.None);
                continue;
            }

            // On a thread of its own: a name service that hangs, or a hostile first line, holds up nobody else.
            var serving = Task.Run(() => ServeAsync(socket, stopping), CancellationToken.None);
            _ = _running.TryAdd(serving, 0);
            _ = serving.ContinueWith(
                done => _running.TryRemove(done, out _), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }

        RpcLog.Stopping(log);
        _ = await Task.WhenAny(Task.WhenAll(_running.Keys), Task.Delay(s_drainTime, clock, CancellationToken.None));
    }

    /// <summary>Takes the socket over.</summary>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "It takes the socket over.")]
    private async Task ServeAsync(Socket socket, CancellationToken stopping)
    {
        Caller caller;
        try
        {
            caller = PeerCredentials.Read(socket, units);
        }
        catch (SocketException exception)
        {
            RpcLog.AcceptFailed(log, exception);
            socket.Dispose();
            return;
        }

        if (!connections.TryAdd(caller.Uid, out string? limit))
        {
            service.Meter.ConnectionRefused();
            RpcLog.ConnectionRefused(log, caller, limit);
            Refuse(socket, limit);
            return;
        }

        try
        {
            await using RpcConnection connection = new(socket, caller, service, limits, log);
            await connection.RunAsync(stopping);
        }
#pragma warning disable CA1031 // However a connection ends, it ends alone. What a method threw was answered and logged before.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            RpcLog.ConnectionFaulted(log, exception, caller);
        }
        finally
        {
            connections.Remove(caller.Uid);
        }
    }

    /// <summary>One line that says why, and the end.</summary>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "It takes the socket over.")]
    private static void Refuse(Socket socket, string limit)
    {
        using (socket)
        {
            ErrorDetail detail = new() { Reason = KmsErrorCode.LimitExceeded.ToReason() };
            string data = JsonSerializer.Serialize(detail, ProtocolJsonContext.Default.ErrorDetail);
            string line = $$$"""{"jsonrpc":"2.0","id":null,"error":{"code":{{{(int)KmsErrorCode.LimitExceeded}}},"message":"Too many connections: {{{limit}}}.","data":{{{data}}}}}""";
            socket.Blocking = false;
            try
            {
                _ = socket.Send(Encoding.UTF8.GetBytes(line + "\n"));
            }
            catch (SocketException)
            {
                // It hung up first: nobody is left to be told.
            }
        }
    }
}
