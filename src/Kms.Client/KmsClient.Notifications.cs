using System.Runtime.CompilerServices;
using Kms.Client.Protocol;
using Kms.Client.Transport;

namespace Kms.Client;

/// <content>Notifications as they come.</content>
public sealed partial class KmsClient
{
    /// <summary>
    /// <c>notifications.list</c>, and from there <c>notifications.subscribe</c>: what concerned the caller and wasn't acknowledged,
    /// then what comes, in the order of their numbers and each once. It goes on until it is cancelled or no longer enumerated:
    /// while the daemon is away it waits and tries again, and misses nothing that the daemon still keeps.
    /// </summary>
    /// <remarks>
    /// It has a connection of its own, which ends with the enumeration. At most 256 that were pushed and 100 that were listed wait in
    /// memory; a caller who takes longer gets the rest from the list. Nothing is acknowledged:
    /// <see cref="AcknowledgeNotificationsAsync"/> does that.
    /// </remarks>
    /// <param name="after">Only those with a larger number: the last that was seen. 0: all that weren't acknowledged.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached at first; later that is waited for.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    /// <exception cref="ObjectDisposedException">The client was disposed of.</exception>
    public async IAsyncEnumerable<NotificationDescription> SubscribeToNotificationsAsync(
        long after = 0, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _ending.Token);
        NotificationFeed feed = new(ConnectAsync, after);
        await using (feed.ConfigureAwait(false))
        {
            while (true)
            {
                NotificationDescription next;
                try
                {
                    next = await feed.NextAsync(stop.Token).ConfigureAwait(false);
                }
                catch (OperationCanceledException)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    ObjectDisposedException.ThrowIf(_disposed, this);
                    throw;
                }

                yield return next;
            }
        }
    }
}
