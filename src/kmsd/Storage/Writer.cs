using System.Collections.Concurrent;
using Kms.Client.Protocol;
using Microsoft.Extensions.Logging;

namespace Kmsd.Storage;

/// <summary>
/// The one writer: a queue, one SQLite file, many requests a commit (group commit). Whoever comes while nobody else is about
/// writes at once, on his own thread; what comes while somebody writes forms a batch that a pool thread writes; a
/// <see cref="Burst"/> is written at its end. Nothing is answered before its batch is committed. A batch of uses alone is deferred: it is kept beside the database, and
/// goes into it with the next transaction, or with the one that is being written, if that lets uses pass.
/// </summary>
/// <param name="database">Its own, from now on.</param>
/// <param name="participants">What is written with each batch, in this order.</param>
/// <param name="witness">Told of what is committed; null: nobody.</param>
/// <param name="meter">Counts the commits.</param>
/// <param name="log">For what fails.</param>
/// <param name="isLogLeft">What was destroyed before may still stand in the write-ahead log.</param>
internal sealed class Writer(Database database, IReadOnlyList<IBatchParticipant> participants, IBatchWitness? witness, WriterMeter meter, ILogger<Writer> log, bool isLogLeft = false) : IDisposable
{
    private const int QueueCapacity = 8192;
    private const int MostRequestsInBatch = 512;

    private readonly BatchCommit _commit = new(database, participants, witness, meter, log, isLogLeft);
    private readonly ConcurrentQueue<WriteRequest> _queue = new();
    private readonly SemaphoreSlim _room = new(QueueCapacity);
    private readonly List<WriteRequest> _batch = new(MostRequestsInBatch);

    // Uses that come while a transaction is being written; and those of them that could not be deferred, for the next batch.
    private readonly List<WriteRequest> _passing = new(MostRequestsInBatch);
    private readonly List<WriteRequest> _notPassed = [];

    private readonly TaskCompletionSource _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // 1 while somebody writes; who changes it from 0 owns the database, the participants and the batch.
    private int _isWriting;

    /// <summary>Whether others wait for a thread.</summary>
    public Func<bool> IsPoolBusy { get; init; } = () => ThreadPool.PendingWorkItemCount > 0;

    /// <summary>How many requests wait.</summary>
    public int QueueLength => _queue.Count;

    /// <summary>False after a commit failed, until one succeeds.</summary>
    public bool IsHealthy => _commit.IsHealthy;

    /// <summary>True while the write-ahead log still holds what was destroyed: then it must be emptied as soon as that is possible.</summary>
    public bool MustEmptyLog => _commit.MustEmptyLog;

    /// <summary>Fails when the writer itself is broken: then the daemon must end. Never completes otherwise.</summary>
    public Task Broken => _broken.Task;

    /// <summary>Puts a request in the queue; waits while the queue is full. May write it before it returns.</summary>
    public async ValueTask EnqueueAsync(WriteRequest request, CancellationToken cancellationToken)
    {
        Task room = _room.WaitAsync(cancellationToken);
        if (!room.IsCompleted)
        {
            Burst.For(this)?.Close();
        }

        await room;
        request.Burst = Burst.For(this);
        _queue.Enqueue(request);
        if (request.Burst is not null)
        {
            return; // Written when it ends.
        }

        if (IsPoolBusy())
        {
            // Others are on their way here: behind them in the pool, the batch takes what they bring as well.
            if (TryBegin())
            {
                _ = ThreadPool.UnsafeQueueUserWorkItem(writer => writer.WriteBatch(null), this, preferLocal: false);
            }
        }
        else if (TryBegin())
        {
            WriteBatch(null);
        }
    }

    /// <summary>Writes what waits, unless somebody does already, who then sees it. What belongs to <paramref name="burst"/> is answered here.</summary>
    public void WriteWaiting(Burst burst)
    {
        if (TryBegin())
        {
            WriteBatch(burst);
        }
    }

    /// <summary>Runs a change in the writer and waits until it is on the disk.</summary>
    /// <exception cref="KmsException">It was refused, or the storage is unavailable; then nothing was changed.</exception>
    public async Task<T> ChangeAsync<T>(Func<T> apply, CancellationToken cancellationToken, bool erases = false, bool isQuiet = false)
    {
        Change<T> change = new(apply, erases, isQuiet, cancellationToken);
        await EnqueueAsync(change, cancellationToken);
        return await change.Completion;
    }

    /// <summary>
    /// Lets uses that came meanwhile be deferred and answered now. For a change that is being applied, has said nothing in the
    /// history, and takes its time; where the batch holds another that has, they wait.
    /// </summary>
    public void LetUsesPass()
    {
        if (!_commit.MayDefer)
        {
            return;
        }

        _ = Thread.Yield(); // Whoever serves them may wait for this processor.
        while (_passing.Count < MostRequestsInBatch && _queue.TryPeek(out WriteRequest? next) && BatchCommit.IsDeferrable(next) && _queue.TryDequeue(out WriteRequest? request))
        {
            _passing.Add(request);
        }

        if (_passing.Count == 0)
        {
            return;
        }

        _ = _room.Release(_passing.Count);
        try
        {
            if (_commit.TryDefer(_passing))
            {
                foreach (WriteRequest request in _passing.Where(request => !request.IsRefused))
                {
                    request.Succeed();
                }

                _commit.TakeIn();
            }
            else
            {
                _notPassed.AddRange(_passing);
            }
        }
        finally
        {
            _passing.Clear();
        }
    }

    /// <summary>Brings what is deferred into the database, for who reads there. Where that can't be written, less is seen.</summary>
    public async Task SettleAsync(CancellationToken cancellationToken)
    {
        if (!_commit.HasDeferred)
        {
            return;
        }

        try
        {
            _ = await ChangeAsync(() => true, cancellationToken, isQuiet: true);
        }
        catch (KmsException)
        {
            // Logged where the commit failed. What is deferred stands, and goes in with the first commit that succeeds.
        }
    }

    /// <summary>Writes what waits and what was gathered, and empties the write-ahead log. Nobody may ask for more.</summary>
    public async Task StopAsync()
    {
        while (true)
        {
            if (Interlocked.CompareExchange(ref _isWriting, 1, 0) == 0)
            {
                if (_queue.IsEmpty)
                {
                    break; // And stays the one who writes: nobody else will.
                }

                WriteBatch(null);
            }

            await Task.Delay(TimeSpan.FromMilliseconds(1));
        }

        _commit.Close();
    }

    public void Dispose() => _room.Dispose();

    private bool TryBegin() => !_queue.IsEmpty && Interlocked.CompareExchange(ref _isWriting, 1, 0) == 0;

    /// <summary>Writes one batch as the one who may, and hands over to the pool if more came meanwhile.</summary>
    private void WriteBatch(Burst? burst)
    {
        List<WriteRequest> committed = [];
        try
        {
            while (_batch.Count < MostRequestsInBatch && _queue.TryDequeue(out WriteRequest? request))
            {
                _batch.Add(request);
            }

            if (_batch.Count > 0)
            {
                _ = _room.Release(_batch.Count);
                _commit.Write(_batch, isFull: false, committed);
            }

            if (_notPassed.Count > 0)
            {
                _commit.Write([.. _notPassed], isFull: false, committed);
                _notPassed.Clear();
            }
        }
#pragma warning disable CA1031 // Whatever gets here left memory and database apart: the daemon ends with it.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            _ = _broken.TrySetException(exception);
            return; // And nobody writes any more.
        }

        _batch.Clear();

        // In full order with the look at the queue: who enqueues before this is seen, who comes after begins himself.
        _ = Interlocked.Exchange(ref _isWriting, 0);
        if (TryBegin())
        {
            _ = ThreadPool.UnsafeQueueUserWorkItem(writer => writer.WriteBatch(null), this, preferLocal: false);
        }

        Answer(committed, burst);
    }

    /// <summary>Answers what was committed: this thread's burst here, each other one in one go elsewhere.</summary>
    private static void Answer(List<WriteRequest> committed, Burst? own)
    {
        IGrouping<Burst?, WriteRequest>? here = null;
        foreach (IGrouping<Burst?, WriteRequest> requests in committed.GroupBy(request => request.Burst))
        {
            if (requests.Key is null)
            {
                foreach (WriteRequest request in requests)
                {
                    request.Succeed();
                }
            }
            else if (ReferenceEquals(requests.Key, own))
            {
                here = requests; // Last, since others needn't wait for it.
            }
            else
            {
                _ = ThreadPool.UnsafeQueueUserWorkItem(answers => answers.Key!.Answer(answers), requests, preferLocal: false);
            }
        }

        if (here is not null)
        {
            own!.Answer(here);
        }
    }
}
