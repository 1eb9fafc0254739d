using System.Collections.Concurrent;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Deletion;
using Kmsd.History;
using Kmsd.Integrity;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.RootKeys;
using Kmsd.Rotation;
using Kmsd.Storage;

namespace Kmsd.Recovery;

/// <summary>What is to be done to a database that was put back.</summary>
/// <param name="Destroyed">Keys that were destroyed before, or whose time is over; with the time of their first destruction where it is known.</param>
/// <param name="Rotated">Keys whose counters are stale.</param>
/// <param name="Left">Keys in quarantine: they aren't served, and can be neither destroyed nor rotated.</param>
internal sealed record AcceptancePlan(
    IReadOnlyList<(Key Key, DateTimeOffset? DeletedAt)> Destroyed, IReadOnlyList<Key> Rotated, IReadOnlyList<Key> Left);

/// <summary>
/// An operator accepts a database that isn't the one that the token knows. One transaction: another lineage in an epoch that was
/// never used, every AES key with a new version, what must be destroyed destroyed, and the record of it. So whenever it is cut off, it
/// happened or it didn't. The token isn't told here: the database itself names the one anchor that it takes the place of.
/// </summary>
internal sealed class AcceptDatabase(
    Database database, RowAuthenticator authenticator, RowSet rows, RootGenerations generations, CatalogueLedger catalogue, HistoryLog history, Writer writer,
    VersionMaker versions, RotateKey rotate, KeyDestruction destruction, NoticeLog notices, Operators operators, TimeProvider clock)
{
    private const int VersionsMadeAtOnce = 8;

    /// <summary>Looks at what must be done; changes nothing.</summary>
    public AcceptancePlan Plan(DeletionList deleted)
    {
        DateTimeOffset now = clock.GetUtcNow();
        List<(Key, DateTimeOffset?)> destroyed = [];
        List<Key> rotated = [];
        List<Key> left = [];
        foreach (Key key in catalogue.Current.Keys.Values.OrderBy(key => key.Tag.Text, StringComparer.Ordinal))
        {
            bool isOver = deleted.Find(key.Tag) is not null || DeleteKey.IsDue(key, now);
            if (key.IsQuarantined)
            {
                left.Add(key);
            }
            else if (isOver)
            {
                destroyed.Add((key, deleted.Find(key.Tag)));
            }
            else if (key.Type == KeyType.Aes256Gcm96)
            {
                rotated.Add(key);
            }
        }

        return new AcceptancePlan(destroyed, rotated, left);
    }

    /// <summary>Does it, and puts it on the disk; what the token must then be told.</summary>
    /// <param name="plan">As it was shown.</param>
    /// <param name="instance">The database's.</param>
    /// <param name="superseded">What the token knows; null if nothing that verifies.</param>
    /// <param name="isAnchored">Whether it is told.</param>
    /// <param name="operation">For the history.</param>
    /// <param name="detail">For the history.</param>
    /// <param name="openings">Of custody, which this database doesn't know of yet.</param>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>, <c>storageUnavailable</c>: nothing was changed.</exception>
    public async Task<AnchorRecord> RunAsync(
        AcceptancePlan plan, Instance instance, AnchorRecord? superseded, bool isAnchored, string operation, string detail, IReadOnlyList<OpeningNote> openings)
    {
        ConcurrentDictionary<KeyTag, KeyVersion> made = new();
        await Parallel.ForEachAsync(
            plan.Rotated,
            new ParallelOptions { MaxDegreeOfParallelism = VersionsMadeAtOnce },
            async (key, cancellationToken) => made[key.Tag] = await versions.MakeAsync(key, key.CurrentVersion.Number + 1, cancellationToken));
        Instance next = instance with { Lineage = Instance.NewLineage(), IsAnchored = isAnchored, Supersedes = superseded?.Name };
        _ = await writer.ChangeAsync(
            () =>
            {
                DateTimeOffset now = clock.GetUtcNow();
                next.Update(database, authenticator, rows);

                // What was planned then was taken into use since, or removed: its keys, if they are there, aren't to be destroyed by it.
                foreach (StoredGeneration planned in generations.Staged.Values.Where(one => one.State == GenerationState.Planned).ToList())
                {
                    generations.Delete(planned);
                }

                // Who said the word has looked at the clock: what is due isn't held back once more.
                SeenTime.Put(database, authenticator, now);
                _ = history.Append(new HistoryEntry { At = now, Scope = HistoryScope.System, Operation = operation, Detail = detail });
                foreach (OpeningNote opening in openings)
                {
                    Record(opening, now);
                }

                foreach ((Key key, DateTimeOffset? deletedAt) in plan.Destroyed)
                {
                    _ = destruction.Run(
                        catalogue.Staged.Keys[key.Tag], "deletion.automatic", null, now, deletedAt, deletedAt is null ? null : "destroyed again: the database was put back");
                }

                foreach (Key key in plan.Rotated)
                {
                    rotate.AddRecovered(catalogue.Staged.Keys[key.Tag], made[key.Tag]);
                }

                return true;
            },
            CancellationToken.None,
            erases: plan.Destroyed.Count > 0);
        await writer.StopAsync();
        return new AnchorRecord(
            (superseded?.WriteNumber ?? 0) + 1, authenticator.Generation, next.Lineage, rows.Committed, Pending: null, history.Committed);
    }

    /// <summary>Shares that this database doesn't name are of a later state than it.</summary>
    private void Record(OpeningNote opening, DateTimeOffset now)
    {
        foreach (StoredShare share in StoredShare.ReadVerified(database, authenticator).Where(share => share.Generation == opening.Generation))
        {
            if (opening.Seals.TryGetValue(share.Member, out string? seal))
            {
                (share with { Seal = seal, RecordedAt = opening.At, VerifiedAt = opening.At }).Put(database, authenticator, rows);
            }
        }

        notices.Append(new Notice(NoticeKind.CustodyOpened, now, operators.All) { Detail = opening.Description });
        _ = history.Append(RecordedOpenings.EntryOf(opening));
    }
}
