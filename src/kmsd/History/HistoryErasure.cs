namespace Kmsd.History;

/// <summary>
/// Held by whoever erases entries, and by whoever reads the chain while he reads a piece of it: what is read must not change under it.
/// Between two pieces entries may go; who reads on is told which.
/// </summary>
internal sealed class HistoryErasure : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1);

    private readonly Lock _lock = new();
    private readonly List<Action<long, IReadOnlyList<long>>> _readers = [];

    /// <summary>Disposed, the next may go on.</summary>
    public async Task<IDisposable> HoldAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        return new Turn(_turn);
    }

    /// <summary>Until what is returned is disposed, this is told what goes: the number of the purge entry, and those that it erased. For one who has the turn.</summary>
    public IDisposable Join(Action<long, IReadOnlyList<long>> reader)
    {
        lock (_lock)
        {
            _readers.Add(reader);
        }

        return new Membership(this, reader);
    }

    /// <summary>Entries were erased, and it is committed; whoever erased them still has the turn.</summary>
    public void Tell(long purge, IReadOnlyList<long> sequences)
    {
        lock (_lock)
        {
            foreach (Action<long, IReadOnlyList<long>> reader in _readers)
            {
                reader(purge, sequences);
            }
        }
    }

    public void Dispose() => _turn.Dispose();

    private sealed class Turn(SemaphoreSlim turn) : IDisposable
    {
        private SemaphoreSlim? _turn = turn;

        public void Dispose() => _ = Interlocked.Exchange(ref _turn, null)?.Release();
    }

    private sealed class Membership(HistoryErasure erasure, Action<long, IReadOnlyList<long>> reader) : IDisposable
    {
        public void Dispose()
        {
            lock (erasure._lock)
            {
                _ = erasure._readers.Remove(reader);
            }
        }
    }
}
