namespace Kmsd.Storage;

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
