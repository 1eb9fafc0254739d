using Kms.Client.Protocol;

namespace Kms.Client.Transport;

/// <summary>
/// Notifications without gap or repeat: subscribes first and lists then, so that what comes in between is pushed, listed, or
/// both; of both, one is dropped by its number. A lost connection is opened again, and the list goes on after the last one seen.
/// </summary>
/// <param name="open">Opens a connection whose pushed notifications go to what it is given.</param>
/// <param name="after">The number after which to begin.</param>
internal sealed class NotificationFeed(Func<PushedNotifications, CancellationToken, Task<Connection>> open, long after) : IAsyncDisposable
{
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(5);

    private readonly Queue<NotificationDescription> _listed = new();
    private Connection? _connection;
    private PushedNotifications _pushed = new();
    private long _last = after;
    private bool _wasSubscribed;
    private TimeSpan _pause = s_firstPause;

    // Where the next page of the list begins; null while there is nothing to list.
    private long? _listAfter = after;

    /// <summary>Waits for the next one.</summary>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached, and never was.</exception>
    public async ValueTask<NotificationDescription> NextAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                NotificationDescription? next = await FindAsync(cancellationToken).ConfigureAwait(false);
                if (next is not null && next.Sequence > _last)
                {
                    _last = next.Sequence;
                    return next;
                }
            }
            catch (ConnectionLostException lost) when (!_wasSubscribed)
            {
                throw new KmsUnreachableException(
                    "kmsd closed the connection before it answered 'notifications.subscribe'; see its journal (journalctl -u kmsd).", lost);
            }
            catch (Exception exception) when (_wasSubscribed && MayPass(exception))
            {
                await CloseAsync().ConfigureAwait(false);
                await Task.Delay(_pause, cancellationToken).ConfigureAwait(false);
                _pause = _pause * 2 < s_longestPause ? _pause * 2 : s_longestPause;
            }
        }
    }

    public ValueTask DisposeAsync() => CloseAsync();

    /// <summary>The next of what was listed or pushed; null when something else had to be done first.</summary>
    private async ValueTask<NotificationDescription?> FindAsync(CancellationToken cancellationToken)
    {
        if (_listed.TryDequeue(out NotificationDescription? listed))
        {
            return listed;
        }

        if (_connection is null)
        {
            _pushed = new PushedNotifications();
            _connection = await open(_pushed, cancellationToken).ConfigureAwait(false);
            _ = await _connection.InvokeAsync(RpcCalls.SubscribeToNotifications, new EmptyRequest(), cancellationToken).ConfigureAwait(false);
            _wasSubscribed = true;
            _listAfter = _last;
        }

        if (_listAfter is long from)
        {
            ListNotificationsResult page = await _connection.InvokeAsync(
                RpcCalls.ListNotifications, new ListNotificationsRequest { After = from }, cancellationToken).ConfigureAwait(false);
            foreach (NotificationDescription notice in page.Notifications)
            {
                _listed.Enqueue(notice);
            }

            _listAfter = page.Next;
            _pause = s_firstPause;
            return null;
        }

        NotificationDescription? pushed = await _pushed.TakeAsync(cancellationToken).ConfigureAwait(false);
        _listAfter = pushed is null ? _last : null;
        return pushed;
    }

    /// <summary>Whether another connection may do better: the daemon is away, or it has too many of them.</summary>
    private static bool MayPass(Exception exception) =>
        exception is ConnectionLostException or KmsUnreachableException or KmsException { Code: KmsErrorCode.LimitExceeded };

    private async ValueTask CloseAsync()
    {
        if (_connection is Connection connection)
        {
            _connection = null;
            await connection.DisposeAsync().ConfigureAwait(false);
        }
    }
}
