using Kms.Client.Protocol;
using Kmsd.Hosting;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Kmsd.Storage;

/// <summary>What was to be refused may stand: nobody may be told anything any more, and the daemon ends. The next start sees what stands.</summary>
internal sealed class WriterBrokenException(string message, Exception inner) : Exception(message, inner);

/// <summary>
/// What becomes of one batch: a transaction, with which its participants move; or, for uses alone, a write beside the database. For
/// whoever is the one who writes; see <see cref="Writer"/>.
/// </summary>
internal sealed class BatchCommit(Database database, IReadOnlyList<IBatchParticipant> participants, IBatchWitness? witness, WriterMeter meter, ILogger log, bool isLogLeft)
{
    // SQLITE_CONSTRAINT: memory doesn't know of a row that is there, since it didn't parse when it was loaded.
    private const int ConstraintViolated = 19;

    // SQLITE_FULL.
    private const int DiskFull = 13;

    private volatile bool _isHealthy = true;
    private volatile bool _mustEmptyLog = isLogLeft;
    private bool _isLogRead;
    private bool _mustSupersede;
    private bool _wasDiskFull;

    /// <summary>False after a commit failed, until one succeeds.</summary>
    public bool IsHealthy => _isHealthy;

    /// <summary>True while the write-ahead log still holds what was destroyed: then it must be emptied as soon as that is possible.</summary>
    public bool MustEmptyLog => _mustEmptyLog;

    /// <summary>True while something waits beside the database for the next transaction. Asked from any thread.</summary>
    public bool HasDeferred => participants.Any(participant => participant.HasDeferred);

    /// <summary>While the database can't be written nothing is deferred: a use that would never get there is refused.</summary>
    public bool MayDefer => _isHealthy && !_mustSupersede && participants.All(participant => participant.MayDefer);

    public static bool IsDeferrable(WriteRequest request) => request is { MayBeDeferred: true, IsChange: false };

    /// <summary>Ends with everything in the file, where nobody reads it.</summary>
    public void Close()
    {
        Write([], isFull: true, []);
        witness?.Close();
        try
        {
            _ = database.TryEmptyLog(); // What readers keep from it is emptied at the next start.
        }
        catch (SqliteException exception)
        {
            // On a full disk: what stands in the log stands, and the next start reads it.
            if (_mustEmptyLog)
            {
                StorageLog.LogNotEmptied(log, exception);
            }
            else
            {
                StorageLog.LogNotShortened(log, exception);
            }
        }
    }

    /// <summary>Takes what was deferred meanwhile into the transaction that is being written.</summary>
    public void TakeIn()
    {
        foreach (IBatchParticipant participant in participants)
        {
            participant.TakeIn();
        }
    }

    /// <summary>Writes a batch, and tells whoever is refused.</summary>
    /// <param name="batch">In the order in which they came.</param>
    /// <param name="isFull">It must reach the disk, whatever is in it.</param>
    /// <param name="committed">Where those go that stand now, and are to be answered.</param>
    /// <exception cref="WriterBrokenException">Nobody may be told anything any more.</exception>
    public void Write(List<WriteRequest> batch, bool isFull, List<WriteRequest> committed)
    {
        isFull |= batch.Exists(request => request is { IsChange: true, IsQuiet: false });
        if (!isFull && batch.Count > 0 && MayDefer && batch.TrueForAll(IsDeferrable) && TryDefer(batch))
        {
            committed.AddRange(batch.Where(request => !request.IsRefused));
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

            TakeIn();
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
            WriteWithoutChanges(batch, exception, committed);
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
                committed.Add(request);
            }
        }
    }

    /// <summary>Keeps a batch of uses beside the database. False if that can't be written: then nothing of it stands, but who was refused was told.</summary>
    public bool TryDefer(List<WriteRequest> batch)
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
    private void WriteWithoutChanges(List<WriteRequest> batch, KmsException exception, List<WriteRequest> committed)
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
            Write(uses, isFull: false, committed);
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
