using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using System.Text.Encodings.Web;
using System.Text.Json;
using Kms.Client.Protocol;

namespace Kms.Client.Transport;

/// <summary>
/// One connection, shared by any number of callers: requests go out one line each, answers come back in any order. It ends
/// once and is never mended; <see cref="KmsClient"/> opens the next.
/// </summary>
internal sealed class Connection : IAsyncDisposable
{
    // docs/api.md, "Transport": past this the daemon stops reading; longer requests end the connection; answers have a bound too.
    public const int MostInFlight = 128;
    public const int LongestRequest = 128 * 1024;
    private const int LongestAnswer = 2 * 1024 * 1024;

    private static readonly TimeSpan s_lastWords = TimeSpan.FromSeconds(1);

    private readonly Socket _socket;
    private readonly PushedNotifications? _pushed;
    private readonly ConcurrentDictionary<long, PendingRequest> _pending = new();
    private readonly SemaphoreSlim _slots = new(MostInFlight);
    private readonly SemaphoreSlim _writing = new(1);
    private readonly PinnedBuffer _outgoing = new();
    private readonly Utf8JsonWriter _writer;
    private readonly Task _reading;
    private long _lastId;
    private volatile bool _ended;

    private Connection(Socket socket, PushedNotifications? pushed)
    {
        _socket = socket;
        _pushed = pushed;
        _writer = new Utf8JsonWriter(
            _outgoing, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true });
        _reading = Task.Run(ReadAsync);
    }

    public bool IsOpen => !_ended;

    /// <param name="path">The daemon's socket.</param>
    /// <param name="trust">Who may serve there.</param>
    /// <param name="pushed">Takes what the daemon says unasked; null: it is ignored.</param>
    /// <param name="cancellationToken">The caller gives up.</param>
    /// <exception cref="KmsUnreachableException">Nothing listens there, or something that isn't trusted.</exception>
    public static async Task<Connection> OpenAsync(
        string path, ServerTrust trust, PushedNotifications? pushed, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken).ConfigureAwait(false);
            trust.Check(socket, path);
            return new Connection(socket, pushed);
        }
        catch (Exception exception)
        {
            socket.Dispose();
            throw exception switch
            {
                SocketException failure => new KmsUnreachableException(Describe(failure, path), failure),
                ArgumentException tooLong => new KmsUnreachableException($"'{path}' is too long for the path of a socket.", tooLong),
                _ => exception,
            };
        }
    }

    /// <exception cref="ConnectionLostException">The connection ended first.</exception>
    /// <exception cref="KmsException">The daemon refused, or the request is too long to send.</exception>
    public async Task<TResult> InvokeAsync<TParams, TResult>(
        RpcCall<TParams, TResult> call, TParams parameters, CancellationToken cancellationToken)
    {
        // The slot is the daemon's, not the caller's: it is free again when the answer is here, even if nobody waits for it.
        await _slots.WaitAsync(cancellationToken).ConfigureAwait(false);
        var request = new PendingRequest<TResult>(Interlocked.Increment(ref _lastId), call.Result);
        _pending[request.Id] = request;
        try
        {
            await SendAsync(request, call, parameters, cancellationToken).ConfigureAwait(false);
        }
        catch when (!request.Sent)
        {
            Forget(request.Id, out _);
            throw;
        }
        catch (OperationCanceledException)
        {
            Abandon(request, cancellationToken);
        }

        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
            (state, token) => Abandon((PendingRequest)state!, token), request);
        return await request.Answer.ConfigureAwait(false);
    }

    [SuppressMessage("Usage", "VSTHRD003", Justification = "The reader is this object's own and needs no particular thread.")]
    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _reading.ConfigureAwait(false);
        await _writing.WaitAsync().ConfigureAwait(false); // A last line may still be on its way out; it fails now.
        await _writer.DisposeAsync().ConfigureAwait(false);
        _writing.Release();
    }

    private async Task SendAsync<TParams, TResult>(
        PendingRequest request, RpcCall<TParams, TResult> call, TParams parameters, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        Task sending;
        try
        {
            if (_ended)
            {
                throw new ConnectionLostException(sent: false, null);
            }

            Write(request.Id, call, parameters);
            request.Sent = true;
            sending = SendLineAsync();
        }
        catch
        {
            _outgoing.Clear();
            _writing.Release();
            throw;
        }

        // Half a line would spoil the connection for everybody: the caller may leave, the line goes out whole.
        await sending.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    private void Write<TParams, TResult>(long id, RpcCall<TParams, TResult> call, TParams parameters)
    {
        _writer.Reset();
        _writer.WriteStartObject();
        _writer.WriteString("jsonrpc"u8, "2.0"u8);
        _writer.WriteNumber("id"u8, id);
        _writer.WriteString("method"u8, call.Method);
        _writer.WritePropertyName("params"u8);
        JsonSerializer.Serialize(_writer, parameters, call.Params);
        _writer.WriteEndObject();
        _writer.Flush();
        if (_outgoing.Length > LongestRequest)
        {
            throw new KmsException(
                KmsErrorCode.TooLarge, $"A request is at most {LongestRequest} bytes long; use a data key for what is larger.");
        }

        _outgoing.Write("\n"u8);
    }

    /// <summary>Sends what was written, and gives the writing back. The reader tells the callers if the connection is gone.</summary>
    [SuppressMessage("Usage", "VSTHRD003", Justification = "The reader is this object's own and needs no particular thread.")]
    private async Task SendLineAsync()
    {
        try
        {
            while (_outgoing.Length > 0)
            {
                _outgoing.Consume(await _socket.SendAsync(_outgoing.Filled, SocketFlags.None).ConfigureAwait(false));
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // A daemon that refuses a connection says so and closes: what it said is read before this counts as an end.
            _ = await Task.WhenAny(_reading, Task.Delay(s_lastWords)).ConfigureAwait(false);
            _socket.Dispose();
        }
        finally
        {
            _outgoing.Clear();
            _writing.Release();
        }
    }

    private void Abandon(PendingRequest request, CancellationToken cancellationToken)
    {
        if (request.Abandon(cancellationToken) && !_ended)
        {
            _ = Task.Run(() => SendCancellationAsync(request.Id), CancellationToken.None);
        }
    }

    private async Task SendCancellationAsync(long id)
    {
        await _writing.WaitAsync().ConfigureAwait(false);
        if (_ended || !_pending.ContainsKey(id))
        {
            _writing.Release();
            return;
        }

        _writer.Reset();
        _writer.WriteStartObject();
        _writer.WriteString("jsonrpc"u8, "2.0"u8);
        _writer.WriteString("method"u8, "$/cancelRequest"u8);
        _writer.WriteStartObject("params"u8);
        _writer.WriteNumber("id"u8, id);
        _writer.WriteEndObject();
        _writer.WriteEndObject();
        await _writer.FlushAsync().ConfigureAwait(false);
        _outgoing.Write("\n"u8);
        await SendLineAsync().ConfigureAwait(false);
    }

    private async Task ReadAsync()
    {
        var incoming = new PinnedBuffer();
        Exception? end = null;
        try
        {
            int searched = 0;
            while (true)
            {
                int length = await _socket.ReceiveAsync(incoming.GetMemory(4096), SocketFlags.None).ConfigureAwait(false);
                if (length == 0)
                {
                    break;
                }

                incoming.Advance(length);
                for (int at; (at = incoming.Filled.Span[searched..].IndexOf((byte)'\n')) >= 0; searched = 0)
                {
                    Take(incoming.Filled.Span[..(searched + at)]);
                    incoming.Consume(searched + at + 1);
                }

                searched = incoming.Length;
                if (searched > LongestAnswer)
                {
                    break;
                }
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException or JsonException or KmsException)
        {
            end = exception;
        }
        finally
        {
            _ended = true;
            incoming.Clear();
            _socket.Dispose();
            _pushed?.End();
            foreach (long id in _pending.Keys)
            {
                if (Forget(id, out PendingRequest? request))
                {
                    request!.Fail(end is KmsException ? end : new ConnectionLostException(request.Sent, end));
                }
            }
        }
    }

    /// <exception cref="KmsException">The daemon refused the connection as a whole.</exception>
    private void Take(ReadOnlySpan<byte> line)
    {
        var answer = AnswerLine.Read(line);
        if (!answer.Method.IsEmpty)
        {
            _pushed?.Receive(answer.Method, answer.Params);
            return;
        }

        if (answer.Id is not long id)
        {
            if (answer.IsError && answer.ToException() is { Code: KmsErrorCode.LimitExceeded } refusal)
            {
                throw refusal; // Too many connections: said before any request of this one was run.
            }

            return; // Any other such line is followed by the end of the connection.
        }

        if (!answer.IsAnswer || !Forget(id, out PendingRequest? request))
        {
            return;
        }

        if (answer.IsError)
        {
            request!.Fail(answer.ToException());
        }
        else
        {
            request!.Complete(answer.Result);
        }
    }

    private bool Forget(long id, out PendingRequest? request)
    {
        bool removed = _pending.TryRemove(id, out request);
        if (removed)
        {
            _slots.Release();
        }

        return removed;
    }

    private static string Describe(SocketException exception, string path) => exception.SocketErrorCode switch
    {
        SocketError.AccessDenied => $"This account may not connect to kmsd at '{path}'; it must be in the socket's group (usually kms).",
        SocketError.ConnectionRefused => $"Nothing listens at '{path}'; start kmsd (systemctl start kmsd).",
        SocketError.AddressNotAvailable => $"There is no socket at '{path}'; start kmsd, or name its socket (--socket, {ServiceAddress.Variable}).",
        _ => $"kmsd can't be reached at '{path}' ({exception.SocketErrorCode}).",
    };
}
