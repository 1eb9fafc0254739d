using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Kms.Client.Protocol;

namespace Kms.Client.Transport;

/// <summary>A request whose answer hasn't come yet.</summary>
internal abstract class PendingRequest(long id)
{
    private int _sent;

    public long Id => id;

    /// <summary>Whether any of its bytes may have reached the daemon.</summary>
    public bool Sent
    {
        get => Volatile.Read(ref _sent) != 0;
        set => Volatile.Write(ref _sent, value ? 1 : 0);
    }

    public abstract void Complete(ReadOnlySpan<byte> result);

    public abstract void Fail(Exception exception);

    /// <summary>The caller gave up; true if the answer wasn't there yet.</summary>
    public abstract bool Abandon(CancellationToken cancellationToken);
}

internal sealed class PendingRequest<TResult>(long id, JsonTypeInfo<TResult> type) : PendingRequest(id)
{
    private readonly TaskCompletionSource<TResult> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    [SuppressMessage("Usage", "VSTHRD003", Justification = "Completed by the reader, which needs no particular thread.")]
    public Task<TResult> Answer => _answer.Task;

    public override void Complete(ReadOnlySpan<byte> result)
    {
        try
        {
            TResult value = JsonSerializer.Deserialize(result, type) ?? throw new JsonException("null");
            if (!_answer.TrySetResult(value))
            {
                (value as IDisposable)?.Dispose(); // Nobody waits any more: what is secret in it is zeroed.
            }
        }
        catch (Exception exception) when (exception is JsonException or NotSupportedException or InvalidOperationException
            or FormatException or ArgumentException or OverflowException)
        {
            // Whatever the reason: this request is answered, and the reader goes on.
            _ = _answer.TrySetException(new KmsException(
                KmsErrorCode.Internal, "The daemon's answer doesn't have the form that this client knows; compare their versions.", exception));
        }
    }

    public override void Fail(Exception exception) => _ = _answer.TrySetException(exception);

    public override bool Abandon(CancellationToken cancellationToken) => _answer.TrySetCanceled(cancellationToken);
}
