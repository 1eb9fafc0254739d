using System.Collections.Immutable;
using System.Globalization;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Rotation;

/// <summary>Where the keys of a new root generation come from.</summary>
/// <param name="Origin">As it is stored.</param>
/// <param name="Make">Makes the planned keys in the token, and gives their check values.</param>
/// <param name="Shares">The set of shares, if there is one.</param>
/// <param name="Record">Writes what else is to be kept of it, in the same change.</param>
internal sealed record GenerationSource(
    string Origin, Func<StoredGeneration, Task<StoredGeneration>> Make, ShareSet? Shares = null, Action<StoredGeneration>? Record = null);

/// <summary>
/// Gives the root key a new generation: planned in the database first, so that what a crash leaves in the token is known by its
/// id; then made; then taken into use in one change. What the old one carries is carried over afterwards (<see cref="RootWork"/>).
/// </summary>
internal sealed class RootRotation(
    RootKey root, GenerationKeys rowKeys, RootGenerations generations, RowAuthenticator authenticator, CatalogueLedger catalogue, HistoryLog history,
    NoticeLog notices, Writer writer, Operators operators, byte[] instanceId, int rotateDays, Func<Caller?, Task> backUp,
    TimeProvider clock) : IDisposable
{
    public const string ByHand = "root.rotate";
    public const string Timed = "root.rotation.automatic";

    private readonly SemaphoreSlim _one = new(1);

    /// <summary>Made in the token.</summary>
    public GenerationSource Token => new(StoredGeneration.TokenOrigin, root.CreateGenerationAsync);

    /// <summary>Makes a generation and takes it into use.</summary>
    /// <param name="source">Where its keys come from.</param>
    /// <param name="operation">For the history.</param>
    /// <param name="caller">Who asked; null for the daemon itself.</param>
    /// <param name="reason">Why.</param>
    /// <exception cref="KmsException"><c>invalidState</c>: the last rotation isn't through; <c>tokenUnavailable</c>, <c>storageUnavailable</c>: everything is as it was.</exception>
    public async Task RunAsync(GenerationSource source, string operation, Caller? caller, string? reason)
    {
        await _one.WaitAsync();
        try
        {
            await RemovePlannedAsync();
            RequireThrough(catalogue.Current, generations.All);
            StoredGeneration planned = await PlanAsync(source, await root.FindNewestGenerationAsync());
            try
            {
                StoredGeneration made = await source.Make(planned);
                await backUp(caller);
                await TakeIntoUseAsync(made with { State = GenerationState.Current, Shares = source.Shares }, source, operation, caller, reason);
            }
            catch
            {
                if (generations.Current.Number == planned.Number)
                {
                    // It stands; only the token couldn't be told so.
                    root.Use(planned.Number);
                    throw;
                }

                await UndoAsync();
                throw;
            }

            root.Use(planned.Number);
        }
        finally
        {
            _ = _one.Release();
        }
    }

    /// <summary>Removes what a rotation left that was cut off before its generation was taken into use.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>, <c>storageUnavailable</c>.</exception>
    public async Task RemovePlannedAsync()
    {
        foreach (StoredGeneration planned in generations.All.Values.Where(one => one.State == GenerationState.Planned))
        {
            // A commit that took it into use and failed may still lie whole on the disk. Only once another has taken its place is it
            // certain that the keys are nobody's.
            _ = await writer.ChangeAsync(
                () =>
                {
                    generations.Put(planned);
                    return true;
                },
                CancellationToken.None);
            rowKeys.Remove(planned.Number);
            await root.DestroyGenerationAsync(planned);
            _ = await writer.ChangeAsync(
                () =>
                {
                    generations.Delete(planned);
                    return true;
                },
                CancellationToken.None);
        }
    }

    public void Dispose() => _one.Dispose();

    /// <summary>How many versions the current generation doesn't carry yet. Keys in quarantine aren't counted.</summary>
    public static long CountBehind(Catalogue catalogue, long current) => !catalogue.HasQuarantine
        ? catalogue.Carried.Where(one => one.Key != current).Sum(one => one.Value)
        : catalogue.Keys.Values.Where(key => !key.IsQuarantined).Sum(key => key.Versions.LongCount(version => version.Material.Generation != current));

    /// <exception cref="KmsException"><c>invalidState</c>: the last rotation isn't through.</exception>
    private void RequireThrough(Catalogue snapshot, ImmutableSortedDictionary<long, StoredGeneration> all)
    {
        if (all.Values.Any(one => one.State == GenerationState.Old) && CountBehind(snapshot, authenticator.Generation) is > 0 and long behind)
        {
            throw new KmsException(KmsErrorCode.InvalidState, $"The last rotation isn't through: {behind} versions are still to be re-wrapped.");
        }
    }

    private Task<StoredGeneration> PlanAsync(GenerationSource source, long newestInToken) => writer.ChangeAsync(
        () =>
        {
            DateTimeOffset now = clock.GetUtcNow();
            RequireThrough(catalogue.Staged, generations.Staged);
            var planned = StoredGeneration.Plan(Math.Max(generations.Staged.Keys.Max(), newestInToken) + 1, instanceId, source.Origin, now, rotateDays);
            generations.Put(planned);
            return planned;
        },
        CancellationToken.None);

    private async Task TakeIntoUseAsync(StoredGeneration made, GenerationSource source, string operation, Caller? caller, string? reason)
    {
        FaultPoint.Reach("root.made");
        using SecretBytes historyKey = await root.DeriveKeyAsync(TokenAccess.HistoryKeyLabel, made.Number, CancellationToken.None);
        rowKeys.Add(made.Number, await root.DeriveKeyAsync(TokenAccess.RowsKeyLabel, made.Number, CancellationToken.None));
        _ = await writer.ChangeAsync(
            () =>
            {
                StoredGeneration old = generations.Staged.Values.Single(one => one.State == GenerationState.Current);
                authenticator.Use(made.Number);
                generations.Put(old with { State = GenerationState.Old });
                generations.Put(made);
                source.Record?.Invoke(made);
                history.StartSegment(made.Number, historyKey);
                string detail = string.Create(CultureInfo.InvariantCulture, $"generation {made.Number}, origin {made.Origin}{(reason is null ? "" : $": {reason}")}");
                _ = history.Append(new HistoryEntry { At = made.CreatedAt, Scope = HistoryScope.Root, Operation = operation, Caller = caller, Detail = detail });
                notices.Append(new Notice(NoticeKind.RootRotated, made.CreatedAt, operators.All) { By = caller?.Primary, Detail = detail });
                return true;
            },
            CancellationToken.None);
    }

    private async Task UndoAsync()
    {
        try
        {
            await RemovePlannedAsync();
        }
        catch (KmsException)
        {
            // It stays planned: the next rotation, or the next start, removes it.
        }
    }
}
