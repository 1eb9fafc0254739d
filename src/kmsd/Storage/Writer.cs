using System.Collections.Concurrent;
using Kms.Client.Protocol;
using Kmsd.Hosting;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Kmsd.Storage;

/// <summary>Something that wants to be written. Applied and settled by the writer alone.</summary>
internal abstract class WriteRequest
{
    /// <summary>A change reaches the disk before it is answered; a use survives the death of the process only.</summary>
    public abstract bool IsChange { get; }

    /// <summary>
    /// A change that says nothing new, such as the same row coded by another key: it need not reach the disk, and the witness hears of
    /// it with the next change that does. Whoever loses it in a power cut does it again.
    /// </summary>
    public virtual bool IsQuiet => false;

    /// <summary>Set by the writer when the request alone was refused.</summary>
    public bool IsRefused { get; set; }

    /// <summary>A use that appends to the history alone: it can be kept beside the database for now.</summary>
    public virtual bool MayBeDeferred => false;

    /// <summary>It destroys secrets: after its commit the write-ahead log is emptied, and only then is it answered.</summary>
    public virtual bool Erases => false;

    /// <summary>Writes inside the batch's transaction.</summary>
    /// <exception cref="KmsException">It is refused; the rest of the batch goes on. A use throws before it wrote anything.</exception>
    public abstract void Apply();

    /// <summary>The batch was committed.</summary>
    public abstract void Succeed();

    /// <summary>It was refused, or the batch could not be committed: nothing of it stands.</summary>
    public abstract void Fail(Exception exception);
}

/// <summary>What was to be refused may stand: nobody may be told anything any more, and the daemon ends. The next start sees what stands.</summary>
internal sealed class WriterBrokenException(string message, Exception inner) : Exception(message, inner);

/// <summary>A part of the daemon that keeps in memory what the database holds, and moves with each batch.</summary>
internal interface IBatchParticipant
{
    /// <summary>True if a batch of uses alone can do without the database for now.</summary>
    bool MayDefer => true;

    /// <summary>True while something waits for the next transaction. Asked from any thread.</summary>
    bool HasDeferred => false;

    /// <summary>A transaction begins, into which goes first what was deferred.</summary>
    void Begin()
    {
    }

    /// <summary>A deferred batch begins, which may be in the midst of a transaction; what that has staged stays staged.</summary>
    void BeginDeferred()
    {
    }

    /// <summary>Makes a deferred batch survive the death of the process.</summary>
    /// <exception cref="IOException">It can't: the batch is rolled back, and goes to the database.</exception>
    /// <exception cref="WriterBrokenException">It can't, and can't be taken back either.</exception>
    void Defer()
    {
    }

    /// <summary>What was deferred is now true.</summary>
    void CommitDeferred()
    {
    }

    /// <summary>What was to be deferred is dropped.</summary>
    void RollbackDeferred()
    {
    }

    /// <summary>Remembers the staged state, so that one refused change can be taken back.</summary>
    void Mark();

    /// <summary>Takes the staged state back to the mark.</summary>
    void ReturnToMark();

    /// <summary>What was deferred since the transaction began goes into it: before anything is flushed, since what vouches for counters reads it.</summary>
    void TakeIn()
    {
    }

    /// <summary>Writes what is gathered, before the commit: over a batch, or over many.</summary>
    /// <param name="isFull">This commit reaches the disk; what may wait for one needn't wait longer.</param>
    void Flush(bool isFull);

    /// <summary>The commit happened: what was staged is now true.</summary>
    void Commit();

    /// <summary>The commit didn't happen: what was staged is dropped.</summary>
    void Rollback();
}

/// <summary>
/// The one writer: a queue, one SQLite file, many requests a commit (group commit). Whoever comes while nobody else is about
/// writes at once, on his own thread; what comes together, or while somebody writes, forms a batch that a pool thread writes.
/// Nothing is answered before its batch is committed. A batch of uses alone is deferred: it is kept beside the database, and
/// goes into it with the next transaction, or with the one that is being written, if that lets uses pass.
/// </summary>
internal sealed class Writer(Database database, IReadOnlyList<IBatchParticipant> participants, IBatchWitness? witness, WriterMeter meter, ILogger<Writer> log) : IDisposable
{
    private const int QueueCapacity = 8192;
    private const int MostRequestsInBatch = 512;

    // SQLITE_CONSTRAINT: memory doesn't know of a row that is there, since it didn't parse when it was loaded.
    private const int ConstraintViolated = 19;

    // SQLITE_FULL.
    private const int DiskFull = 13;

    private readonly ConcurrentQueue<WriteRequest> _queue = new();
    private readonly SemaphoreSlim _room = new(QueueCapacity);
    private readonly List<WriteRequest> _batch = new(MostRequestsInBatch);

    // Uses that come while a transaction is being written; and those of them that could not be deferred, for the next batch.
    private readonly List<WriteRequest> _passing = new(MostRequestsInBatch);
    private readonly List<WriteRequest> _notPassed = [];
    private readonly TaskCompletionSource _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // 1 while somebody writes; who changes it from 0 owns the database, the participants and the batch.
    private int _isWriting;
    private volatile bool _isHealthy = true;
    private volatile bool _mustEmptyLog;
    private bool _isLogRead;
    private bool _mustSupersede;
    private bool _wasDiskFull;

    /// <summary>How many requests wait.</summary>
    public int QueueLength => _queue.Count;

    /// <summary>False after a commit failed, until one succeeds.</summary>
    public bool IsHealthy => _isHealthy;

    /// <summary>True while the write-ahead log still holds what was destroyed: then it must be emptied as soon as that is possible.</summary>
    public bool MustEmptyLog => _mustEmptyLog;

    /// <summary>Fails when the writer itself is broken: then the daemon must end. Never completes otherwise.</summary>
    public Task Broken => _broken.Task;

    /// <summary>Puts a request in the queue; waits while the queue is full. May write it before it returns.</summary>
    public async ValueTask EnqueueAsync(WriteRequest request, CancellationToken cancellationToken)
    {
        await _room.WaitAsync(cancellationToken);
        _queue.Enqueue(request);
        if (ThreadPool.PendingWorkItemCount > 0)
        {
            // Others are on their way here: behind them in the pool, the batch takes what they bring as well.
            if (TryBegin())
            {
                _ = ThreadPool.UnsafeQueueUserWorkItem(writer => writer.WriteBatch(), this, preferLocal: false);
            }
        }
        else if (TryBegin())
        {
            WriteBatch();
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
        if (!MayDefer())
        {
            return;
        }

        _ = Thread.Yield(); // Whoever serves them may wait for this processor.
        while (_passing.Count < MostRequestsInBatch && _queue.TryPeek(out WriteRequest? next) && IsDeferrable(next) && _queue.TryDequeue(out WriteRequest? request))
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
            if (!TryDefer(_passing))
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
        if (!participants.Any(participant => participant.HasDeferred))
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

                WriteBatch();
            }

            await Task.Delay(TimeSpan.FromMilliseconds(1));
        }

        Write([], isFull: true);
        witness?.Close();
        _ = database.TryEmptyLog(); // What readers keep from it is emptied at the next start.
    }

    public void Dispose() => _room.Dispose();

    private bool TryBegin() => !_queue.IsEmpty && Interlocked.CompareExchange(ref _isWriting, 1, 0) == 0;

    /// <summary>Writes one batch as the one who may, and hands over to the pool if more came meanwhile.</summary>
    private void WriteBatch()
    {
        try
        {
            while (_batch.Count < MostRequestsInBatch && _queue.TryDequeue(out WriteRequest? request))
            {
                _batch.Add(request);
            }

            if (_batch.Count > 0)
            {
                _ = _room.Release(_batch.Count);
                Write(_batch, isFull: false);
            }

            if (_notPassed.Count > 0)
            {
                Write([.. _notPassed], isFull: false);
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
            _ = ThreadPool.UnsafeQueueUserWorkItem(writer => writer.WriteBatch(), this, preferLocal: false);
        }
    }

    private void Write(List<WriteRequest> batch, bool isFull)
    {
        isFull |= batch.Exists(request => request is { IsChange: true, IsQuiet: false });
        if (!isFull && batch.Count > 0 && MayDefer() && batch.TrueForAll(IsDeferrable) && TryDefer(batch))
        {
            return;
        }

        bool isCommitting = false;
        long began = meter.Now();
        try
        {
            Supersede();
            UseRoomForFile();
            database.SetFullySynchronous(isFull);
            database.Execute("BEGIN IMMEDIATE");
            FaultPoint.Reach("writer.begun");
            foreach (IBatchParticipant participant in participants)
            {
                participant.Begin();
            }

            foreach (WriteRequest request in batch)
            {
                Apply(request);
            }

            foreach (IBatchParticipant participant in participants)
            {
                participant.TakeIn();
            }

            foreach (IBatchParticipant participant in participants)
            {
                participant.Flush(isFull);
            }

            FaultPoint.Reach("writer.before-announce");
            if (isFull)
            {
                witness?.Announce();
            }

            FaultPoint.Reach("writer.before-commit");
            isCommitting = true;
            database.Execute("COMMIT");
            FaultPoint.Reach("writer.after-commit");
        }
        catch (KmsException exception)
        {
            WriteWithoutChanges(batch, exception);
            return;
        }
#pragma warning disable CA1031 // Whatever stops a commit stops this batch, not the daemon: it is logged, and everybody in it is told.
        catch (Exception exception) when (exception is not WriterBrokenException)
#pragma warning restore CA1031
        {
            _mustSupersede |= isCommitting;
            _wasDiskFull |= exception is SqliteException { SqliteErrorCode: DiskFull };
            TakeBack(batch, exception);
            return;
        }

        foreach (IBatchParticipant participant in participants)
        {
            participant.Commit();
        }

        meter.Committed(isFull, batch.Count, began);
        _isHealthy = true;
        _mustEmptyLog |= batch.Exists(request => request is { Erases: true, IsRefused: false });
        EmptyLog();
        KmsException? doubt = Confirm(isFull);
        FaultPoint.Reach("writer.after-confirm");
        foreach (WriteRequest request in batch.Where(request => !request.IsRefused))
        {
            if (doubt is not null && request is { IsChange: true, IsQuiet: false })
            {
                request.Fail(doubt);
            }
            else
            {
                request.Succeed();
            }
        }
    }

    /// <summary>While the database can't be written nothing is deferred: a use that would never get there is refused.</summary>
    private bool MayDefer() => _isHealthy && !_mustSupersede && participants.All(participant => participant.MayDefer);

    private static bool IsDeferrable(WriteRequest request) => request is { MayBeDeferred: true, IsChange: false };

    /// <summary>Keeps a batch of uses beside the database. False if that can't be written: then nothing of it stands, but who was refused was told.</summary>
    private bool TryDefer(List<WriteRequest> batch)
    {
        long began = meter.Now();
        try
        {
            foreach (IBatchParticipant participant in participants)
            {
                participant.BeginDeferred();
            }

            foreach (WriteRequest request in batch)
            {
                _ = TryRun(request);
            }

            foreach (IBatchParticipant participant in participants)
            {
                participant.Defer();
            }

            FaultPoint.Reach("writer.deferred");
        }
        catch (IOException exception)
        {
            StorageLog.NotDeferred(log, exception.Message);
            foreach (IBatchParticipant participant in participants)
            {
                participant.RollbackDeferred();
            }

            _ = batch.RemoveAll(request => request.IsRefused);
            return false;
        }

        foreach (IBatchParticipant participant in participants)
        {
            participant.CommitDeferred();
        }

        meter.Deferred(batch.Count, began);
        foreach (WriteRequest request in batch)
        {
            if (!request.IsRefused)
            {
                request.Succeed();
            }
        }

        return true;
    }

    /// <summary>What the changes of a committed batch are told in place of success; null if nothing is in the way.</summary>
    private KmsException? Confirm(bool isFull)
    {
        try
        {
            witness?.Confirm(isFull);
            return null;
        }
        catch (KmsException exception)
        {
            return new KmsException(
                exception.Code, "The change was made, but the token couldn't be told that it was: look again whether it stands once the token is back.", exception);
        }
    }

    /// <summary>The token can't be told of the batch's changes: they are refused, and its uses, which change nothing that it knows, are written.</summary>
    private void WriteWithoutChanges(List<WriteRequest> batch, KmsException exception)
    {
        RollBack();
        foreach (IBatchParticipant participant in participants)
        {
            participant.Rollback();
        }

        foreach (WriteRequest change in batch.Where(request => request is { IsChange: true, IsQuiet: false, IsRefused: false }))
        {
            change.IsRefused = true;
            change.Fail(exception);
        }

        List<WriteRequest> uses = [.. batch.Where(request => !request.IsRefused)];
        if (uses.Count > 0)
        {
            Write(uses, isFull: false);
        }
    }

    /// <summary>What was overwritten in the file may still stand in the write-ahead log.</summary>
    private void EmptyLog()
    {
        if (!_mustEmptyLog)
        {
            return;
        }

        // The change stands; where it fails it is tried again.
        try
        {
            _mustEmptyLog = !database.TryEmptyLog();
            if (_mustEmptyLog && !_isLogRead)
            {
                StorageLog.LogIsRead(log);
            }

            _isLogRead = _mustEmptyLog;
        }
        catch (SqliteException exception)
        {
            StorageLog.LogNotEmptied(log, exception);
        }
    }

    private void Apply(WriteRequest request)
    {
        if (!request.IsChange)
        {
            _ = TryRun(request);
            return;
        }

        database.Execute("SAVEPOINT change");
        foreach (IBatchParticipant participant in participants)
        {
            participant.Mark();
        }

        if (TryRun(request))
        {
            database.Execute("RELEASE change");
            return;
        }

        foreach (IBatchParticipant participant in participants)
        {
            participant.ReturnToMark();
        }

        database.Execute("ROLLBACK TO change");
        database.Execute("RELEASE change");
    }

    private static bool TryRun(WriteRequest request)
    {
        try
        {
            request.Apply();
            return true;
        }
        catch (SqliteException exception) when (request.IsChange && exception.SqliteErrorCode == ConstraintViolated)
        {
            request.IsRefused = true;
            request.Fail(new KmsException(
                KmsErrorCode.IntegrityFailure, "The database holds a row that doesn't verify in the place of this one; nothing was changed.", exception));
            return false;
        }
#pragma warning disable CA1031 // Whatever one request throws fails that request; a storage fault fails the batch.
        catch (Exception exception) when (exception is not (SqliteException or WriterBrokenException))
#pragma warning restore CA1031
        {
            request.IsRefused = true;
            request.Fail(exception);
            return false;
        }
    }

    private void TakeBack(List<WriteRequest> batch, Exception exception)
    {
        _isHealthy = false;
        meter.Failed();
        StorageLog.CommitFailed(log, batch.Count, exception.Message);
        RollBack();
        foreach (IBatchParticipant participant in participants)
        {
            participant.Rollback();
        }

        FaultPoint.Reach("writer.failed");
        string told = "The record of this could not be written; nothing was changed.";
        try
        {
            Supersede();
        }
        catch (SqliteException superseding)
        {
            StorageLog.NotSuperseded(log, superseding.Message);
            told = "The record of this could not be written, and the storage is still unavailable: look again whether it stands, once it is back.";
        }

        foreach (WriteRequest request in batch)
        {
            if (!request.IsRefused)
            {
                request.Fail(new KmsException(KmsErrorCode.StorageUnavailable, told, exception));
            }
        }
    }

    /// <summary>
    /// Where the disk was full, the first room that comes is for the file, which takes in what the log holds and so makes more.
    /// The log would take all of it, and then neither could ever go on.
    /// </summary>
    /// <exception cref="SqliteException">There is too little still.</exception>
    private void UseRoomForFile()
    {
        if (_wasDiskFull)
        {
            _ = database.TryEmptyLog(); // What readers keep of it is brought in by the next look.
            _wasDiskFull = false;
        }
    }

    /// <summary>
    /// A commit that failed at its fsync may lie whole in the write-ahead log, where recovery after a crash would find it. The
    /// next commit takes its place there; so one that changes nothing is made, before anything else is written or answered.
    /// </summary>
    /// <exception cref="SqliteException">The storage is still unavailable.</exception>
    private void Supersede()
    {
        if (!_mustSupersede)
        {
            return;
        }

        database.SetFullySynchronous(true);
        database.Execute("BEGIN IMMEDIATE");
        try
        {
            // Writes the first page; an UPDATE that changes nothing would write none.
            database.Execute(Schema.WriteVersion);
            database.Execute("COMMIT");
        }
        catch (SqliteException)
        {
            RollBack();
            throw;
        }

        _mustSupersede = false;
    }

    private void RollBack()
    {
        try
        {
            database.Execute("ROLLBACK");
        }
        catch (SqliteException rollback)
        {
            // SQLite rolls back by itself on a full disk or an I/O error; then there is nothing left to take back.
            StorageLog.NothingToRollBack(log, rollback.SqliteErrorCode);
        }
    }
}
