using Kmsd.Access;

namespace Kmsd.Rpc;

/// <summary>
/// How many requests of one user run at a time, over all his connections: many while he is alone, few while others ask as
/// well. The rest wait in order, so that whoever asks for much waits for himself, and not everybody for him; and while they
/// wait, no more of his is read. Requests that
/// end too slowly to be at work themselves, but wait for the token or read long, hold up none of their user's others.
/// </summary>
/// <param name="alone">While nobody else asks.</param>
/// <param name="besideOthers">While others do.</param>
/// <param name="clock">Tells how long ago somebody else asked.</param>
internal sealed class CallerShares(int alone, int besideOthers, TimeProvider clock)
{
    /// <summary>How long after requests of two users in turn they are held apart.</summary>
    public static readonly TimeSpan BesideFor = TimeSpan.FromMilliseconds(20);

    /// <summary>If none of a user's requests ends in this time, they aren't what the processors are busy with.</summary>
    private static readonly TimeSpan s_slow = TimeSpan.FromMilliseconds(5);

    private readonly Lock _lock = new();
    private readonly Dictionary<uint, Share> _shares = [];
    private readonly long _besideFor = (long)(BesideFor.TotalSeconds * clock.TimestampFrequency);

    // Who asked last, and until when others count as asking too. Neither has to be exact.
    private Share? _last;
    private long _besideUntil = long.MinValue;

    /// <summary>The share of a connection's caller; given back when the connection ends.</summary>
    public Share Join(Caller caller)
    {
        lock (_lock)
        {
            if (!_shares.TryGetValue(caller.Uid, out Share? share))
            {
                _shares.Add(caller.Uid, share = new Share(this, caller.Uid));
            }

            share.Connections++;
            return share;
        }
    }

    public void Leave(Share share)
    {
        lock (_lock)
        {
            share.Connections--;
        }

        Forget(share);
    }

    /// <summary>Not while his requests run: whoever comes back at once comes back to what he has running.</summary>
    private void Forget(Share share)
    {
        lock (_lock)
        {
            if (share is { Connections: 0, IsIdle: true } && _shares.Remove(share.Uid))
            {
#pragma warning disable IDISP007 // It was made here.
                share.Dispose();
#pragma warning restore IDISP007
            }
        }
    }

    private int MostAlone => alone;

    private ITimer MakeTimer(Action look) => clock.CreateTimer(_ => look(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

    private void Ask(Share share)
    {
        if (!ReferenceEquals(share, _last))
        {
            if (Interlocked.Exchange(ref _last, share) is not null)
            {
                Volatile.Write(ref _besideUntil, clock.GetTimestamp() + _besideFor);
            }
        }
    }

    private int MostRunning()
    {
        long until = Volatile.Read(ref _besideUntil);
        return until != long.MinValue && clock.GetTimestamp() < until ? besideOthers : alone;
    }

    /// <summary>What one user's requests share.</summary>
    internal sealed class Share(CallerShares shares, uint uid) : IDisposable
    {
        private readonly Lock _lock = new();
        private readonly Queue<TaskCompletionSource> _waiting = new();

        // Connections that would read another request.
        private readonly Queue<TaskCompletionSource> _reading = new();
        private int _running;
        private int _connections;

        // How many have left, and how many had when it was looked last.
        private long _left;
        private long _leftBefore;
        private ITimer? _timer;
        private bool _isTimed;

        public uint Uid => uid;

        /// <summary>False while other users ask as well: then what this one sent together is taken up in turns with theirs.</summary>
        public bool IsAlone => shares.MostRunning() == shares.MostAlone;

        public int Connections
        {
            get => Volatile.Read(ref _connections);
            set => Volatile.Write(ref _connections, value);
        }

        public bool IsIdle
        {
            get
            {
                lock (_lock)
                {
                    return _running == 0 && _waiting.Count == 0;
                }
            }
        }

        /// <summary>Beside other users, waits while one of this user's requests waits for its turn: the next one couldn't run yet.</summary>
        public Task TurnToReadAsync()
        {
            shares.Ask(this); // Also whoever sends what comes to nothing, and never enters.
            if (IsAlone)
            {
                return Task.CompletedTask;
            }

            lock (_lock)
            {
                if (_waiting.Count == 0)
                {
                    return Task.CompletedTask;
                }

                TaskCompletionSource turn = new(TaskCreationOptions.RunContinuationsAsynchronously);
                _reading.Enqueue(turn);
                LookLater();
                return turn.Task;
            }
        }

        /// <summary>Waits for its turn; whoever enters must leave.</summary>
        public Task EnterAsync()
        {
            shares.Ask(this);
            int most = shares.MostRunning();
            lock (_lock)
            {
                if (_running < most && _waiting.Count == 0)
                {
                    _running++;
                    return Task.CompletedTask;
                }

                TaskCompletionSource turn = new(TaskCreationOptions.RunContinuationsAsynchronously);
                _waiting.Enqueue(turn);
                LookLater();
                return turn.Task;
            }
        }

        public void Leave()
        {
            int most = shares.MostRunning();
            lock (_lock)
            {
                _running--;
                _left++;
                LetIn(most);
            }

            if (Volatile.Read(ref _connections) == 0)
            {
                shares.Forget(this);
            }
        }

        public void Dispose()
        {
            lock (_lock)
            {
                _timer?.Dispose();
                _timer = null;
                _isTimed = true; // No other is begun.
            }
        }

        /// <summary>Under the lock: whoever is let in goes on elsewhere.</summary>
        private void LetIn(int most)
        {
            while (_running < most && _waiting.TryDequeue(out TaskCompletionSource? turn))
            {
                _running++;
                turn.SetResult();
            }

            // One for each that goes; all of them where there is room.
            while (_waiting.Count == 0 && _reading.TryDequeue(out TaskCompletionSource? turn))
            {
                turn.SetResult();
                if (most != shares.MostAlone)
                {
                    break;
                }
            }
        }

        /// <summary>Under the lock.</summary>
        private void LookLater()
        {
            if (!_isTimed)
            {
                _isTimed = true;
                _leftBefore = _left;
                _timer ??= shares.MakeTimer(Look);
                _ = _timer.Change(s_slow, Timeout.InfiniteTimeSpan);
            }
        }

        private void Look()
        {
            lock (_lock)
            {
                if (_timer is null)
                {
                    return;
                }

                if (_left == _leftBefore)
                {
                    LetIn(shares.MostAlone);
                }

                _isTimed = false;
                if (_waiting.Count + _reading.Count > 0)
                {
                    LookLater();
                }
            }
        }
    }
}
