namespace Kmsd.History;

/// <summary>Held by whoever erases entries, and by whoever reads the chain from end to end: what is read must not change under it.</summary>
internal sealed class HistoryErasure : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1);

    /// <summary>Disposed, the next may go on.</summary>
    public async Task<IDisposable> HoldAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        return new Turn(_turn);
    }

    public void Dispose() => _turn.Dispose();

    private sealed class Turn(SemaphoreSlim turn) : IDisposable
    {
        private SemaphoreSlim? _turn = turn;

        public void Dispose() => _ = Interlocked.Exchange(ref _turn, null)?.Release();
    }
}
