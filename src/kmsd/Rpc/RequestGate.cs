using StreamJsonRpc;

namespace Kmsd.Rpc;

/// <summary>
/// What is in flight on one connection: which ids, and how much memory requests and answers may hold. When there is no
/// room the daemon stops reading; it never drops a request.
/// </summary>
internal sealed class RequestGate(int mostRequests, int mostBytes)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<RequestId, int> _inFlight = [];
    private long _bytes;

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
    public async ValueTask EnterAsync(RequestId id, int bytes, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task waiting;
            lock (_lock)
            {
                if (_inFlight.Count == 0 || (_inFlight.Count < mostRequests && _bytes + bytes <= mostBytes))
                {
                    _inFlight.Add(id, bytes);
                    _bytes += bytes;
                    return;
                }

                _room = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                waiting = _room.Task;
            }

            await waiting.WaitAsync(cancellationToken);
        }
    }

    public void Leave(RequestId id)
    {
        TaskCompletionSource? room;
        lock (_lock)
        {
            if (_inFlight.Remove(id, out int bytes))
            {
                _bytes -= bytes;
            }

            room = _room;
            _room = null;
        }

        _ = room?.TrySetResult();
    }
}
