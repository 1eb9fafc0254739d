using System.Collections.Concurrent;
using System.Threading.Channels;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Notifications;

/// <summary>Who listens now, and what waits to be sent to each: bounded, so that a slow one loses its connection and not memory.</summary>
internal sealed class NoticeHub
{
    private readonly ConcurrentDictionary<NoticeSubscription, byte> _subscriptions = new();

    /// <summary>How many listen.</summary>
    public int Count => _subscriptions.Count;

    public NoticeSubscription Subscribe(Caller caller)
    {
        NoticeSubscription subscription = new(this, caller);
        _ = _subscriptions.TryAdd(subscription, 0);
        return subscription;
    }

    /// <summary>Hands a committed notice to everybody whom it concerns. Never waits.</summary>
    public void Publish(NotificationDescription notice, IReadOnlyCollection<Principal> recipients)
    {
        foreach (NoticeSubscription subscription in _subscriptions.Keys)
        {
            if (recipients.Any(subscription.Caller.Is))
            {
                subscription.Offer(notice);
            }
        }
    }

    public void Remove(NoticeSubscription subscription) => _ = _subscriptions.TryRemove(subscription, out _);
}

/// <summary>One connection's share of what is published, from its subscription on.</summary>
internal sealed class NoticeSubscription(NoticeHub hub, Caller caller) : IDisposable
{
    private const int MostWaiting = 256;

    private readonly Channel<NotificationDescription> _waiting = Channel.CreateBounded<NotificationDescription>(
        new BoundedChannelOptions(MostWaiting) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

    public Caller Caller => caller;

    /// <summary>What waits; ends when there was no room for one, and the connection must end too.</summary>
    public IAsyncEnumerable<NotificationDescription> ReadAllAsync(CancellationToken cancellationToken) => _waiting.Reader.ReadAllAsync(cancellationToken);

    public void Offer(NotificationDescription notice)
    {
        if (!_waiting.Writer.TryWrite(notice))
        {
            _ = _waiting.Writer.TryComplete();
        }
    }

    public void Dispose()
    {
        hub.Remove(this);
        _ = _waiting.Writer.TryComplete();
    }
}
