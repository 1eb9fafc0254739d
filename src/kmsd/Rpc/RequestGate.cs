using System.Buffers;
using System.Security.Cryptography;
using StreamJsonRpc;

namespace Kmsd.Rpc;

/// <summary>
/// What is in flight on one connection: which ids, and how much memory requests and answers may hold. When there is no
/// room the daemon stops reading; it never drops a request.
/// </summary>
internal sealed class RequestGate(int mostRequests, int mostBytes) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<RequestId, Request> _inFlight = [];
    private long _bytes;
    private int _requests;

    // Set while the one reader waits; completed by the next answer that was sent.
    private TaskCompletionSource? _room;

    public bool IsInFlight(RequestId id)
    {
        lock (_lock)
        {
            return _inFlight.ContainsKey(id);
        }
    }

    /// <summary>Waits for room and takes it. A request that alone is larger than the bound passes when it is alone.</summary>
    /// <param name="id">Not in flight yet.</param>
    /// <param name="bytes">What request and answer may hold.</param>
    /// <param name="text">The request's text, from the shared pool: the gate gives it back, cleared, once the request is answered.</param>
    /// <param name="cancellationToken">The connection ends.</param>
    public async ValueTask EnterAsync(RequestId id, int bytes, byte[] text, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task waiting;
            lock (_lock)
            {
                if (_requests == 0 || (_requests < mostRequests && _bytes + bytes <= mostBytes))
                {
                    _inFlight.Add(id, new Request(bytes, text));
                    _bytes += bytes;
                    _requests++;
                    return;
                }

                _room = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                waiting = _room.Task;
            }

            await waiting.WaitAsync(cancellationToken);
        }
    }

    /// <summary>
    /// The request's answer is about to leave: from here the client may use the id again. What the request holds counts until
    /// <see cref="Leave"/>.
    /// </summary>
    public Request? Answer(RequestId id)
    {
        lock (_lock)
        {
            return _inFlight.Remove(id, out Request? request) ? request : null;
        }
    }

    /// <summary>The answer was taken by the socket, or never will be.</summary>
    public void Leave(Request request)
    {
        TaskCompletionSource? room;
        lock (_lock)
        {
            _bytes -= request.Bytes;
            _requests--;
            room = _room;
            _room = null;
        }

        _ = room?.TrySetResult();
        GiveBack(request.Text);
    }

    /// <summary>Waits until every request is answered.</summary>
    /// <exception cref="TimeoutException">Not in time.</exception>
    public async Task DrainAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        ends.CancelAfter(timeout);
        while (true)
        {
            Task waiting;
            lock (_lock)
            {
                if (_requests == 0)
                {
                    return;
                }

                _room = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                waiting = _room.Task;
            }

            try
            {
                await waiting.WaitAsync(ends.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw new TimeoutException("Requests in flight were not answered in time.");
            }
        }
    }

    /// <summary>The connection is over: clears what was never answered.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach (Request request in _inFlight.Values)
            {
                CryptographicOperations.ZeroMemory(request.Text);
            }

            _inFlight.Clear();
        }
    }

    public static void GiveBack(byte[] text)
    {
        CryptographicOperations.ZeroMemory(text);
        ArrayPool<byte>.Shared.Return(text);
    }

    /// <summary>What one request holds.</summary>
    internal sealed record Request(int Bytes, byte[] Text);
}
