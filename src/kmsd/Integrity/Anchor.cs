using Kms.Client.Protocol;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Integrity;

/// <summary>
/// Keeps the token's record of the database: before each commit of a change what is about to be, after it what is. Written by
/// the writer alone, who waits for it.
/// </summary>
internal sealed class Anchor(
    RootKey root, RowAuthenticator authenticator, RowSet rows, HistoryLog history, byte[] lineage, AnchorRecord? last, TimeProvider clock, ILogger log)
    : IBatchWitness
{
    /// <summary>How many entries the history may grow before the record follows.</summary>
    public const int MostEntriesBehind = 10_000;

    /// <summary>How long the record may be behind the history.</summary>
    public static readonly TimeSpan LongestBehind = TimeSpan.FromSeconds(60);

    // What was tried, whether it was written or not.
    private long _writeNumber = last?.WriteNumber ?? 0;

    // The last entry of the history and the set of rows that are on the disk for certain.
    private HistoryHead _onDisk = last?.History ?? history.Committed;
    private SetState _setOnDisk = rows.Committed;
    private long _writtenEpoch = last?.Settled.Epoch ?? 0;
    private long _written = last?.History.Sequence ?? 0;
    private long _writtenAt = clock.GetTimestamp();
    private volatile bool _isBehind;
    private bool _isAnnounced;

    /// <summary>True if the token doesn't know yet that the last change was committed.</summary>
    public bool IsBehind => _isBehind;

    /// <summary>
    /// The record that counts: of those that verify the one that was written last. Null if there is none. A database that was put back
    /// from before a rotation of the root key doesn't name the generation that vouches for what the token knows; the token still holds it.
    /// </summary>
    /// <param name="root">Whose token it is.</param>
    /// <param name="authenticator">Of the database.</param>
    /// <param name="instanceId">Whose database it is.</param>
    /// <param name="isOver">Which generations vouch for nothing any more.</param>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public static async Task<AnchorRecord?> ReadAsync(RootKey root, RowAuthenticator authenticator, byte[] instanceId, Func<long, bool> isOver)
    {
        List<AnchorRecord> found = [];
        foreach (byte[] value in await root.ReadAnchorsAsync())
        {
            if ((AnchorRecord.Decode(value, authenticator) ?? await DecodeByOtherAsync(value)) is AnchorRecord record)
            {
                found.Add(record);
            }
        }

        return found.MaxBy(record => record.WriteNumber);

        async Task<AnchorRecord?> DecodeByOtherAsync(byte[] value)
        {
            if (AnchorRecord.ReadGeneration(value) is not long generation || authenticator.Knows(generation) || isOver(generation))
            {
                return null;
            }

            using GenerationKeys keys = await root.FindDerivedKeysAsync(TokenAccess.RowsKeyLabel, [generation]);
            return AnchorRecord.Decode(value, new RowAuthenticator(keys, instanceId, generation));
        }
    }

    /// <summary>True if the record should follow the history; what does it is an empty change.</summary>
    public bool IsDue()
    {
        long behind = history.Committed.Sequence - Volatile.Read(ref _written);
        return _isBehind || Volatile.Read(ref _writtenEpoch) != rows.Committed.Epoch || behind >= MostEntriesBehind || (behind > 0 && clock.GetElapsedTime(Volatile.Read(ref _writtenAt)) >= LongestBehind);
    }

    public void Announce()
    {
        if (rows.Staged.Epoch == rows.Committed.Epoch)
        {
            return;
        }

        if (!root.IsAvailable)
        {
            // Known to be away: nobody's uses wait for what would only time out. Whoever looks after it finds it back.
            throw new KmsException(KmsErrorCode.TokenUnavailable, "The token doesn't answer; no change can be made until it does.");
        }

        Write(rows.Staged);
        _isAnnounced = true;
    }

    public void Confirm(bool isFull)
    {
        if (!isFull)
        {
            return;
        }

        _onDisk = history.Committed;
        _setOnDisk = rows.Committed;
        bool isAwaited = _isAnnounced;
        _isAnnounced = false;
        if (!isAwaited && !(root.IsAvailable && IsDue()))
        {
            return;
        }

        try
        {
            Write(pending: null);
        }
        catch (KmsException)
        {
            _isBehind |= isAwaited;
            if (isAwaited)
            {
                throw;
            }
        }
    }

    /// <summary>At start: the commit that was announced last had happened.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public void Settle() => Write(pending: null);

    public void Close()
    {
        _onDisk = history.Committed;
        _setOnDisk = rows.Committed;
        if (_isBehind || _onDisk.Sequence != _written || _setOnDisk.Epoch != _writtenEpoch)
        {
            try
            {
                Write(pending: null);
            }
            catch (KmsException)
            {
                // It was logged. What the token knows is behind, and the next start finds that it is.
            }
        }
    }

    /// <summary>Writes what is committed, and what is about to be.</summary>
    private void Write(SetState? pending)
    {
        // By a generation that the database names already: it may be that what is about to be never comes.
        AnchorRecord record = new(++_writeNumber, authenticator.CommittedGeneration, lineage, _setOnDisk, pending, _onDisk);
        FaultPoint.Reach("anchor.before-write");
        try
        {
#pragma warning disable VSTHRD002 // The writer waits, as for the disk: on a thread of the pool, bounded by the token's time-out.
            root.WriteAnchorAsync(record.Encode(authenticator)).GetAwaiter().GetResult();
#pragma warning restore VSTHRD002
        }
        catch (KmsException exception)
        {
            // Whatever is logged, the caller decides what stands.
            IntegrityLog.AnchorNotWritten(log, exception);
            throw;
        }

        FaultPoint.Reach("anchor.after-write");
        _isBehind = false;
        Volatile.Write(ref _written, _onDisk.Sequence);
        Volatile.Write(ref _writtenEpoch, _setOnDisk.Epoch);
        Volatile.Write(ref _writtenAt, clock.GetTimestamp());
    }
}
