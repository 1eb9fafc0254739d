using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Deletion;

/// <summary>
/// The time that the daemon last saw, on the disk. A gap of more than 24 hours, running or across a start, may be a clock that
/// was set wrong: then deletions wait for 24 hours of running time, or until an operator releases them. While they wait the
/// stored time stands still, so that a restart begins the wait anew rather than ending it.
/// </summary>
internal sealed class LastSeen(DateTimeOffset stored, Database database, RowAuthenticator authenticator, Writer writer, TimeProvider clock)
{
    private static readonly TimeSpan s_longestGap = TimeSpan.FromHours(24);
    private static readonly TimeSpan s_hold = TimeSpan.FromHours(24);
    private static readonly TimeSpan s_writeInterval = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private DateTimeOffset _stored = stored;
    private DateTimeOffset _seen = stored;
    private long? _heldSince;

    /// <summary>True while deletions wait.</summary>
    public bool IsHeld
    {
        get
        {
            lock (_lock)
            {
                return _heldSince is not null;
            }
        }
    }

    /// <summary>Looks at the clock; called every second or so.</summary>
    public async Task LookAsync(CancellationToken cancellationToken)
    {
        DateTimeOffset now = clock.GetUtcNow();
        lock (_lock)
        {
            if (now - _seen > s_longestGap)
            {
                _heldSince = clock.GetTimestamp();
            }
            else if (_heldSince is long since && clock.GetElapsedTime(since) >= s_hold)
            {
                _heldSince = null;
            }

            _seen = now;
            if (_heldSince is not null || (now - _stored).Duration() < s_writeInterval)
            {
                return;
            }
        }

        await StoreAsync(now, cancellationToken);
    }

    /// <summary>An operator has looked at the clock: deletions go on.</summary>
    public async Task ReleaseAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            _heldSince = null;
        }

        await StoreAsync(clock.GetUtcNow(), cancellationToken);
    }

    private async Task StoreAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        var at = DateTimeOffset.FromUnixTimeMilliseconds(now.ToUnixTimeMilliseconds());
        _ = await writer.ChangeAsync(
            () =>
            {
                SeenTime.Put(database, authenticator, at);
                lock (_lock)
                {
                    _stored = at;
                }

                return true;
            },
            cancellationToken);
    }
}
