namespace Kmsd.Storage;

/// <summary>A change: decided, written and recorded in one transaction; answered when it is on the disk, or committed if it is a quiet one.</summary>
internal sealed class Change<T>(Func<T> apply, bool erases, bool isQuiet, CancellationToken cancellationToken) : WriteRequest
{
    private readonly TaskCompletionSource<T> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private T? _result;

    public override bool IsChange => true;

    public override bool IsQuiet => isQuiet;

    public override bool Erases => erases;

    /// <summary>The outcome, once the batch was committed.</summary>
    public Task<T> Completion => _completion.Task;

    public override void Apply()
    {
        // Whoever gave up before this gets nothing written; from here on the change goes through.
        cancellationToken.ThrowIfCancellationRequested();
        _result = apply();
    }

    public override void Succeed() => _completion.SetResult(_result!);

    public override void Fail(Exception exception)
    {
        if (exception is OperationCanceledException)
        {
            _completion.SetCanceled(cancellationToken);
        }
        else
        {
            _completion.SetException(exception);
        }
    }
}
