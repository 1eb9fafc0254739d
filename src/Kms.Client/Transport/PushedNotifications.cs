using System.Text.Json;
using Kms.Client.Protocol;

namespace Kms.Client.Transport;

/// <summary>
/// What the daemon has pushed on a connection and nobody has taken yet. Bounded: when there is no room, all of it is dropped and
/// the taker told to list instead, since the daemon keeps what it pushes. So the reader of the connection never waits.
/// </summary>
internal sealed class PushedNotifications
{
    public const int MostWaiting = 256;

    private readonly Lock _lock = new();
    private readonly Queue<NotificationDescription> _waiting = new();
    private TaskCompletionSource _news = NewSignal();
    private bool _hasMissed;
    private bool _hasEnded;

    /// <summary>Takes a message that the daemon sent unasked; what isn't a notification is ignored.</summary>
    /// <param name="method">The method, in quotes.</param>
    /// <param name="parameters">Its params.</param>
    public void Receive(ReadOnlySpan<byte> method, ReadOnlySpan<byte> parameters)
    {
        if (!method.SequenceEqual("\"notifications.event\""u8))
        {
            return;
        }

        NotificationDescription? notice = Read(parameters);
        lock (_lock)
        {
            if (_hasMissed)
            {
                return; // What is listed next has it.
            }

            // One that isn't understood must not be passed over: the list has it too, and says so if it can't be read.
            _hasMissed = notice is null || _waiting.Count == MostWaiting;
            if (_hasMissed)
            {
                _waiting.Clear();
            }
            else
            {
                _waiting.Enqueue(notice!);
            }

            _ = _news.TrySetResult();
        }
    }

    /// <summary>The connection has ended.</summary>
    public void End()
    {
        lock (_lock)
        {
            _hasEnded = true;
            _ = _news.TrySetResult();
        }
    }

    /// <summary>The next one; null if some were dropped, and must be listed now.</summary>
    /// <exception cref="ConnectionLostException">The connection has ended, and all that came before was taken.</exception>
    public async ValueTask<NotificationDescription?> TakeAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task news;
            lock (_lock)
            {
                if (_hasMissed)
                {
                    _hasMissed = false;
                    return null;
                }

                if (_waiting.TryDequeue(out NotificationDescription? notice))
                {
                    return notice;
                }

                if (_hasEnded)
                {
                    throw new ConnectionLostException(sent: false, null);
                }

                if (_news.Task.IsCompleted)
                {
                    _news = NewSignal();
                }

                news = _news.Task;
            }

            await news.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static NotificationDescription? Read(ReadOnlySpan<byte> parameters)
    {
        try
        {
            return JsonSerializer.Deserialize(parameters, ProtocolJsonContext.Default.NotificationDescription);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
