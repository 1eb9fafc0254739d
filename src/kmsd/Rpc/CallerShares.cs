using Kmsd.Access;

namespace Kmsd.Rpc;

/// <summary>
/// How many requests of one user run at a time, over all his connections. The rest wait in order, so that whoever asks for
/// much waits for himself, and not everybody for him.
/// </summary>
internal sealed class CallerShares(int running)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<uint, Share> _shares = [];

    /// <summary>The share of a connection's caller; given back when the connection ends.</summary>
    public Share Join(Caller caller)
    {
        lock (_lock)
        {
            if (!_shares.TryGetValue(caller.Uid, out Share? share))
            {
                _shares.Add(caller.Uid, share = new Share(caller.Uid, running));
            }

            share.Connections++;
            return share;
        }
    }

    public void Leave(Share share)
    {
        lock (_lock)
        {
            if (--share.Connections == 0)
            {
                _ = _shares.Remove(share.Uid);
            }
        }
    }

    /// <summary>What one user's requests share.</summary>
    internal sealed class Share(uint uid, int free)
    {
        private readonly Lock _lock = new();
        private readonly Queue<TaskCompletionSource> _waiting = new();
        private int _free = free;

        public uint Uid => uid;

        public int Connections { get; set; }

        /// <summary>Waits for its turn; whoever enters must leave.</summary>
        public Task EnterAsync()
        {
            lock (_lock)
            {
                if (_free > 0)
                {
                    _free--;
                    return Task.CompletedTask;
                }

                TaskCompletionSource turn = new(TaskCreationOptions.RunContinuationsAsynchronously);
                _waiting.Enqueue(turn);
                return turn.Task;
            }
        }

        public void Leave()
        {
            TaskCompletionSource? next;
            lock (_lock)
            {
                if (!_waiting.TryDequeue(out next))
                {
                    _free++;
                }
            }

            next?.SetResult();
        }
    }
}
