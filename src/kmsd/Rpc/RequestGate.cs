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
    private readonly Dictionary<RequestId, (int Bytes, byte[] Text)> _inFlight = [];
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
                if (_inFlight.Count == 0 || (_inFlight.Count < mostRequests && _bytes + bytes <= mostBytes))
                {
                    _inFlight.Add(id, (bytes, text));
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
        byte[]? text = null;
        lock (_lock)
        {
            if (_inFlight.Remove(id, out (int Bytes, byte[] Text) request))
            {
                _bytes -= request.Bytes;
                text = request.Text;
            }

            room = _room;
            _room = null;
        }

        _ = room?.TrySetResult();
        if (text is not null)
        {
            GiveBack(text);
        }
    }

    /// <summary>The connection is over: clears what was never answered.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach ((_, byte[] text) in _inFlight.Values)
            {
                CryptographicOperations.ZeroMemory(text);
            }

            _inFlight.Clear();
        }
    }

    public static void GiveBack(byte[] text)
    {
        CryptographicOperations.ZeroMemory(text);
        ArrayPool<byte>.Shared.Return(text);
    }
}
