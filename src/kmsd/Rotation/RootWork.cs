using System.Diagnostics;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Rotation;

/// <summary>
/// What a rotation or a retirement of the root key leaves to be done, in batches beside the requests: versions are carried over to
/// the current generation, every row is coded anew by it, and material of a retired one is overwritten. Whatever was done
/// is committed batch by batch, so that it goes on after a crash where it was.
/// </summary>
internal sealed class RootWork(
    RootKey root, GenerationKeys rowKeys, RootGenerations generations, RowAuthenticator authenticator, RowSet rows, Database database, DatabaseReader reader,
    Func<Instance> instance, CatalogueLedger catalogue, HistoryLog history, NoticeLog notices, Writer writer, Operators operators, TimeProvider clock,
    ILogger<RootWork> log) : IDisposable
{
    // Few, since whoever uses a key meanwhile waits for a batch.
    private const int VersionsAtOnce = 8;
    private const int RowsAtOnce = 256;

    // Of the time that versions take to carry over, so much is left to requests, while there are any.
    private const double LeftToRequests = 0.2;

    // All tables with coded rows but version_material, whose older rows go with the generation that carries them.
    private static readonly string[] s_tables =
    [
        "instance", "last_seen", "root_generations", "root_shares", "stores", "members", "keys", "versions", "grants", "history_segments",
        "history_heads", "usage_mark", "deleted_keys", "notification_days",
    ];

    // Whatever a row says of itself: a version without material of a later generation would be lost, also one of a key in quarantine.
    private const string CarriedByNoOther = $"""
        SELECT count(*) FROM version_material AS old WHERE generation = $1 AND NOT ({DestroyedMaterial.IsDestroyed})
        AND NOT EXISTS (SELECT 1 FROM version_material AS new WHERE new.tag = old.tag AND new.version = old.version AND new.generation > old.generation
            AND new.blob != zeroblob(length(new.blob)))
        """;

    // What couldn't be opened: tried again after the next start.
    private readonly HashSet<(KeyTag Tag, long Generation)> _failed = [];
    private readonly SemaphoreSlim _retirement = new(1);
    private long _recodedFor;

    /// <summary>One look: does all there is to do. Called every second.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        try
        {
            foreach (StoredGeneration retiring in generations.All.Values.Where(one => one.State == GenerationState.Retiring))
            {
                await FinishRetirementAsync(retiring);
            }

            StoredGeneration current = generations.Current;
            if (generations.All.Values.Any(one => one.State == GenerationState.Old))
            {
                await RewrapAsync(current.Number, stopping);
                await RecodeAsync(current.Number, stopping);
            }
        }
        catch (KmsException exception)
        {
            // Tried again at the next look.
            RootWorkLog.Failed(log, exception);
        }
    }

    /// <summary>Overwrites what a generation carried, and destroys its keys in the token.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>, <c>storageUnavailable</c>: it goes on later.</exception>
    public async Task FinishRetirementAsync(StoredGeneration retiring)
    {
        await _retirement.WaitAsync();
        try
        {
            if (generations.All[retiring.Number].State == GenerationState.Retiring)
            {
                await FinishAsync(retiring);
            }
        }
        finally
        {
            _ = _retirement.Release();
        }
    }

    public void Dispose() => _retirement.Dispose();

    private async Task FinishAsync(StoredGeneration retiring)
    {
        rowKeys.Remove(retiring.Number);
        while (await writer.ChangeAsync(() => catalogue.DestroyMaterial(retiring.Number, RowsAtOnce), CancellationToken.None, erases: true) > 0)
        {
            FaultPoint.Reach("root.retiring");
        }

        await root.DestroyGenerationAsync(retiring);
        FaultPoint.Reach("root.destroyed");
        _ = await writer.ChangeAsync(
            () =>
            {
                generations.Put(retiring with { State = GenerationState.Retired });
                foreach (StoredShare share in StoredShare.ReadVerified(database, authenticator).Where(share => share.Generation == retiring.Number))
                {
                    share.Delete(database, authenticator, rows);
                }

                notices.Append(new Notice(NoticeKind.RootRetired, clock.GetUtcNow(), operators.All) { Detail = $"generation {retiring.Number}" });
                return true;
            },
            CancellationToken.None);
    }

    /// <summary>
    /// Destroys keys in the token that the database doesn't need. It is recorded first: cut off after it, the next start finds
    /// them again. Their number stays taken, as that of a retired generation: it must not mean other keys some day.
    /// </summary>
    /// <returns>False if they were destroyed meanwhile.</returns>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>, <c>storageUnavailable</c>: they may be there still.</exception>
    public async Task<bool> DestroyLeftAsync(long generation, Action record)
    {
        await _retirement.WaitAsync();
        try
        {
            if (!generations.Left.Contains(generation))
            {
                return false;
            }

            await ChangeAsync(() =>
            {
                DateTimeOffset now = clock.GetUtcNow();
                if (!generations.Staged.ContainsKey(generation))
                {
                    generations.Put(StoredGeneration.Plan(generation, instance().Id, StoredGeneration.TokenOrigin, now, rotateDays: 0) with { State = GenerationState.Retired });
                }

                record();
                notices.Append(new Notice(NoticeKind.RootRetired, now, operators.All) { Detail = $"generation {generation}, left in the token" });
            });
            FaultPoint.Reach("root.left-recorded");
            await root.DestroyLeftGenerationAsync(generation);
            generations.RemoveLeft(generation);
            FaultPoint.Reach("root.left-destroyed");
            return true;
        }
        finally
        {
            _ = _retirement.Release();
        }
    }

    /// <summary>The tables in which rows are still coded by a generation, each with how many there are.</summary>
    public Task<IReadOnlyList<(string Table, long Rows)>> FindRowsOfAsync(long generation, CancellationToken cancellationToken) => reader.ReadAsync(
        from => (IReadOnlyList<(string, long)>)
        [
            .. s_tables.Select(table => (table, from.Prepare($"SELECT count(*) FROM {table} WHERE mac_generation = $1").BindAll(generation).QueryNumber()))
                .Append(("version_material", from.Prepare(CarriedByNoOther).BindAll(generation).QueryNumber()))
                .Where(found => found.Item2 > 0),
        ],
        cancellationToken);

    private async Task RewrapAsync(long current, CancellationToken stopping)
    {
        TimeSpan owed = TimeSpan.Zero;

        // In the order in which their rows stand, so that a batch touches few pages.
        foreach (IReadOnlyList<Key> batch in Batches([.. catalogue.Current.Keys.Values.Where(key => IsBehind(key, current)).OrderBy(key => key.CreatedAt)]))
        {
            stopping.ThrowIfCancellationRequested();
            long began = Stopwatch.GetTimestamp();
            long entries = history.Committed.Sequence;

            // While the token carries over the next, the writer is free for others.
            await WriteAsync(await RewrapAsync(batch, current, stopping));
            owed = history.Committed.Sequence == entries ? TimeSpan.Zero : owed + (Stopwatch.GetElapsedTime(began) * LeftToRequests);
            owed -= await PauseAsync(owed, stopping);
        }
    }

    /// <summary>How long it waited: not at all for what is shorter than the timer's step.</summary>
    private static async Task<TimeSpan> PauseAsync(TimeSpan owed, CancellationToken stopping)
    {
        if (owed < TimeSpan.FromMilliseconds(1))
        {
            return TimeSpan.Zero;
        }

        long began = Stopwatch.GetTimestamp();
        await Task.Delay(TimeSpan.FromMilliseconds(1), stopping);
        return Stopwatch.GetElapsedTime(began);
    }

    /// <summary>Of each key, by its versions' numbers, from what and what came of it. A key of which one version can't be opened stays as it is.</summary>
    private async Task<Dictionary<KeyTag, Dictionary<long, (SealedMaterial, SealedMaterial)>>> RewrapAsync(
        IReadOnlyList<Key> keys, long current, CancellationToken stopping)
    {
        var made = keys.ToDictionary(key => key.Tag, _ => new Dictionary<long, (SealedMaterial, SealedMaterial)>());
        IEnumerable<(Key Key, KeyVersion Version)> behind = keys.SelectMany(
            key => key.Versions.Where(version => version.Material.Generation != current).Select(version => (key, version)));
        foreach ((Key Key, KeyVersion Version)[] few in behind.Chunk(VersionsAtOnce))
        {
            IReadOnlyList<Rewrapped> results = await root.RewrapAsync(
                [.. few.Select(one => new ToRewrap(one.Version.Material, one.Key.Protection, one.Version.PublicKey, one.Key.BindingOf(one.Version.Number)))],
                current,
                stopping);
            foreach (((Key key, KeyVersion version), Rewrapped result) in few.Zip(results))
            {
                if (result.Refusal is { } refusal)
                {
                    RootWorkLog.NotRewrapped(log, refusal, version.Number, key.Tag);
                    _ = _failed.Add((key.Tag, current));
                    _ = made.Remove(key.Tag);
                }
                else if (made.TryGetValue(key.Tag, out Dictionary<long, (SealedMaterial, SealedMaterial)>? versions))
                {
                    versions.Add(version.Number, (version.Material, result.Material!));
                }
            }
        }

        return made;
    }

    private async Task WriteAsync(Dictionary<KeyTag, Dictionary<long, (SealedMaterial, SealedMaterial)>> made) => _ = await writer.ChangeAsync(
        () =>
        {
            foreach ((KeyTag tag, Dictionary<long, (SealedMaterial, SealedMaterial)> versions) in made)
            {
                if (catalogue.Staged.Keys.TryGetValue(tag, out Key? key))
                {
                    catalogue.Rewrap(key, versions);
                    rows.HashChanged();
                    writer.LetUsesPass();
                }
            }

            return true;
        },
        CancellationToken.None,
        isQuiet: true);

    /// <summary>Everything but keys; once for a generation and run of the daemon.</summary>
    private async Task RecodeAsync(long current, CancellationToken stopping)
    {
        if (_recodedFor == current)
        {
            return;
        }

        foreach (DeletedKey[] deleted in catalogue.Current.Deleted.Values.Chunk(RowsAtOnce))
        {
            await ChangeAsync(() => Array.ForEach([.. deleted.Where(key => catalogue.Staged.Deleted.ContainsKey(key.Tag))], catalogue.Recode));
            stopping.ThrowIfCancellationRequested();
        }

        for (long? after = 0; after is long row;)
        {
            after = await writer.ChangeAsync(() => notices.Recode(row, RowsAtOnce), CancellationToken.None, isQuiet: true);
            stopping.ThrowIfCancellationRequested();
        }

        await ChangeAsync(() =>
        {
            foreach (KeyStore store in catalogue.Staged.Stores.Values.Where(store => !store.IsQuarantined))
            {
                catalogue.Recode(store);
            }

            foreach (StoredGeneration generation in generations.Staged.Values)
            {
                generations.Put(generation);
            }

            foreach (StoredShare share in StoredShare.ReadVerified(database, authenticator))
            {
                share.Put(database, authenticator, rows);
            }

            instance().Update(database, authenticator, rows);
            history.RecodeSegments();
            SeenTime.Put(database, authenticator, SeenTime.Read(database, authenticator));
            catalogue.AdvanceMark(history.StagedSequence);
        });
        _recodedFor = current;
    }

    private async Task ChangeAsync(Action apply) => _ = await writer.ChangeAsync(
        () =>
        {
            apply();
            return true;
        },
        CancellationToken.None);

    private bool IsBehind(Key key, long current) =>
        !key.IsQuarantined && key.Versions.Any(version => version.Material.Generation != current) && !_failed.Contains((key.Tag, current));

    /// <summary>Keys with so many versions together that a batch delays nobody long; one with more is a batch by itself.</summary>
    private static IEnumerable<IReadOnlyList<Key>> Batches(List<Key> keys)
    {
        List<Key> batch = [];
        int versions = 0;
        foreach (Key key in keys)
        {
            if (versions > 0 && versions + key.Versions.Length > VersionsAtOnce)
            {
                yield return batch;
                (batch, versions) = ([], 0);
            }

            batch.Add(key);
            versions += key.Versions.Length;
        }

        if (batch.Count > 0)
        {
            yield return batch;
        }
    }
}

internal static partial class RootWorkLog
{
    [LoggerMessage(5201, LogLevel.Error, "What the root key's rotation left to be done could not be done; it is tried again.")]
    public static partial void Failed(ILogger log, Exception exception);

    [LoggerMessage(5202, LogLevel.Critical, "Version {Version} of key {Tag} could not be carried over to the current root generation; the old one can't be retired.")]
    public static partial void NotRewrapped(ILogger log, Exception exception, long version, KeyTag tag);

    [LoggerMessage(5203, LogLevel.Error, "The root key could not be rotated; it is tried again in an hour.")]
    public static partial void NotRotated(ILogger log, Exception exception);
}
