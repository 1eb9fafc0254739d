using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Rotation;

/// <summary>A new generation of a root key that the token makes: <c>root.rotate</c>.</summary>
internal sealed class RotateRoot(RootRotation rotation, RootGenerations generations, Operators operators)
{
    public async Task RunAsync(Caller caller, RotateRootRequest request)
    {
        operators.RequireRootAdministrator(caller);
        string reason = Reason.Check(request.Reason);
        if (generations.Current.Origin != StoredGeneration.TokenOrigin)
        {
            throw new KmsException(
                KmsErrorCode.Unsupported, "This root key's shares lie with custodians: stop kmsd, and run kmsd root rotate with them present.");
        }

        await rotation.RunAsync(rotation.Token, RootRotation.ByHand, caller, reason);
    }
}

/// <summary>
/// Destroys the keys of an old generation: <c>root.retire</c>. Backups from before are dead then, so one is made after it. Those of one
/// that was left in the token and that nothing here needs go at once.
/// </summary>
/// <param name="generations">The generations.</param>
/// <param name="work">Whether anything is left to be carried over, and what does the rest.</param>
/// <param name="catalogue">Whose versions must be carried by another.</param>
/// <param name="history">Whose segment must be vouched for by another.</param>
/// <param name="prove">Computes the history again.</param>
/// <param name="backUp">Copies the database.</param>
/// <param name="writer">The writer.</param>
/// <param name="operators">Who may.</param>
/// <param name="clock">The time.</param>
internal sealed class RetireRoot(
    RootGenerations generations, RootWork work, CatalogueLedger catalogue, HistoryLog history, Func<CancellationToken, Task<(HistoryVerdict Verdict, IReadOnlyDictionary<long, byte[]> Checkpoints)>> prove,
    Func<Caller?, Task> backUp, Writer writer, Operators operators, TimeProvider clock)
{
    /// <summary>How long after the rotation the generation before must stay: time to find out that something is wrong with the new one.</summary>
    public static readonly TimeSpan Earliest = TimeSpan.FromDays(7);

    public const string Operation = "root.retire";

    public async Task RunAsync(Caller caller, RetireRootRequest request, CancellationToken cancellationToken)
    {
        operators.RequireRootAdministrator(caller);
        string reason = Reason.Check(request.Reason);
        if (generations.Left.Contains(request.Generation)
            && await work.DestroyLeftAsync(request.Generation, () => Record(caller, $"generation {request.Generation}, left in the token: {reason}")))
        {
            return;
        }

        StoredGeneration old = Require(generations.All.Values, request.Generation);
        await RequireNothingLeftAsync(old, cancellationToken);

        // From here on a checkpoint vouches for what this generation linked: what is wrong in it would never be found again.
        (HistoryVerdict verdict, IReadOnlyDictionary<long, byte[]> checkpoints) = await prove(cancellationToken);
        if (verdict.FirstBad is long bad)
        {
            throw new KmsException(
                KmsErrorCode.IntegrityFailure, $"Entry {bad} of the history isn't as it was written; nothing was retired.");
        }

        HistorySegment segment = history.Segments.Single(one => one.Generation == old.Number);
        byte[] checkpoint = checkpoints[old.Number];
        StoredGeneration retiring = await writer.ChangeAsync(
            () =>
            {
                StoredGeneration staged = Require(generations.Staged.Values, old.Number) with { State = GenerationState.Retiring };
                generations.Put(staged);
                history.Seal(segment, checkpoint);
                Record(caller, $"generation {old.Number}: {reason}");
                catalogue.AdvanceMark(history.StagedSequence);
                return staged;
            },
            cancellationToken);
        await work.FinishRetirementAsync(retiring);
        try
        {
            await backUp(caller);
        }
        catch (KmsException exception)
        {
            throw new KmsException(
                exception.Code, $"Generation {old.Number} is retired, but the backup after it wasn't made: {exception.Message} Backups from before can't be restored any more: make one (kmsctl backup).", exception);
        }
    }

    private void Record(Caller caller, FormattableString detail) => _ = history.Append(new HistoryEntry
    {
        At = clock.GetUtcNow(),
        Scope = HistoryScope.Root,
        Operation = Operation,
        Caller = caller,
        Detail = FormattableString.Invariant(detail),
    });

    private StoredGeneration Require(IEnumerable<StoredGeneration> all, long number)
    {
        StoredGeneration old = all.FirstOrDefault(one => one.Number == number && one.State != GenerationState.Planned)
            ?? throw new KmsException(KmsErrorCode.NotFound, $"There is no generation {number} of the root key.");
        if (old.State != GenerationState.Old)
        {
            throw new KmsException(
                KmsErrorCode.InvalidState, $"Generation {number} is {old.StateName}; only an old one can be retired, after kmsctl root rotate.");
        }

        if (all.FirstOrDefault(one => one.State == GenerationState.Old && one.Number < number) is StoredGeneration older)
        {
            throw new KmsException(KmsErrorCode.InvalidState, $"Retire generation {older.Number} first: it is older.");
        }

        DateTimeOffset from = all.Where(one => one.Number > number && one.IsInToken).Min(one => one.CreatedAt) + Earliest;
        return clock.GetUtcNow() >= from
            ? old
            : throw new KmsException(
                KmsErrorCode.InvalidState,
                $"Generation {number} can be retired from {from.UtcDateTime:yyyy-MM-ddTHH:mm:ssZ} on, {Earliest.TotalDays} days after it was replaced.");
    }

    private async Task RequireNothingLeftAsync(StoredGeneration old, CancellationToken cancellationToken)
    {
        if (RootRotation.CountBehind(catalogue.Current, generations.Current.Number) is > 0 and long behind)
        {
            throw new KmsException(KmsErrorCode.InvalidState, $"{behind} versions are still to be re-wrapped; see kmsctl root status and the journal.");
        }

        IReadOnlyList<(string Table, long Rows)> left = await work.FindRowsOfAsync(old.Number, cancellationToken);
        if (left.Count > 0)
        {
            throw new KmsException(
                KmsErrorCode.InvalidState,
                $"Generation {old.Number} still vouches for rows ({string.Join(", ", left.Select(one => $"{one.Table}: {one.Rows}"))}): "
                + "wait until they are coded anew; what is in quarantine must be restored from a backup first.");
        }
    }
}

/// <summary>Rotates a root key that the token makes early enough to be through before it must be: <c>[root] rotate = automatic</c>.</summary>
internal sealed class AutomaticRootRotation(RootRotation rotation, RootGenerations generations, bool isOn, ILogger<AutomaticRootRotation> log)
{
    private static readonly TimeSpan s_ahead = TimeSpan.FromDays(30);
    private static readonly TimeSpan s_pause = TimeSpan.FromHours(1);

    private DateTimeOffset _next = DateTimeOffset.MinValue;

    /// <summary>One look; called every second.</summary>
    public async Task RunDueAsync(DateTimeOffset now)
    {
        StoredGeneration current = generations.Current;
        TimeSpan lifetime = current.RotateBy - current.CreatedAt;
        DateTimeOffset due = current.RotateBy - (lifetime / 2 < s_ahead ? lifetime / 2 : s_ahead);
        if (!isOn || current.Origin != StoredGeneration.TokenOrigin || now < due || now < _next)
        {
            return;
        }

        try
        {
            await rotation.RunAsync(rotation.Token, RootRotation.Timed, caller: null, reason: null);
        }
        catch (KmsException exception)
        {
            RootWorkLog.NotRotated(log, exception);
            _next = now + s_pause;
        }
    }
}
