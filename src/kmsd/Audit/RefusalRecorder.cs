using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.Storage;

namespace Kmsd.Audit;

/// <summary>
/// Records what was refused. Of a caller who has some right there: an entry of the key or the store, before he is answered.
/// Of a stranger: a count, so that he can't fill the disk.
/// </summary>
internal sealed class RefusalRecorder(
    CatalogueLedger catalogue, HistoryLog history, NoticeLog notices, Writer writer, Operators operators, StrangerCounter strangers, TimeProvider clock)
{
    private static readonly TimeSpan s_noticeInterval = TimeSpan.FromHours(1);

    // Of the key, what it was then and its user: when it was told last. For the writer alone.
    private readonly Dictionary<(KeyTag Tag, KeyState State, Principal By), DateTimeOffset> _told = [];

    /// <param name="caller">Who was refused.</param>
    /// <param name="operation">The method.</param>
    /// <param name="request">Its params.</param>
    /// <param name="isRecorded">Whether the method is a use or a change; what only reads leaves no entry.</param>
    /// <param name="refusal">Why.</param>
    /// <exception cref="KmsException"><c>storageUnavailable</c>: it could not be recorded.</exception>
    public async Task RecordAsync(Caller caller, string operation, object request, bool isRecorded, KmsException refusal)
    {
        if (refusal.Code is KmsErrorCode.Internal or KmsErrorCode.Cancelled or KmsErrorCode.StorageUnavailable || Refusals.IsRecorded(refusal))
        {
            return;
        }

        HistoryEntry? entry = Entry(caller, operation, request, refusal, out Key? key);
        if (entry is null)
        {
            if (request is IKeyRequest or IStoreRequest || refusal.Code == KmsErrorCode.Forbidden)
            {
                strangers.Count(caller, operation, refusal.Code.ToReason());
            }
        }
        else if (isRecorded)
        {
            Request record = new(() => Write(entry, key, caller, refusal));
            await writer.EnqueueAsync(record, CancellationToken.None);
            await record.Completion;
        }
    }

    /// <summary>Null if the caller has no right there.</summary>
    private HistoryEntry? Entry(Caller caller, string operation, object request, KmsException refusal, out Key? key)
    {
        Catalogue snapshot = catalogue.Current;
        key = FindKey(snapshot, caller, request);
        HistoryEntry entry = new()
        {
            At = clock.GetUtcNow(),
            Scope = HistoryScope.System,
            Operation = operation,
            Caller = caller,
            Outcome = refusal.Code.ToReason(),
            Detail = RefusedRequest.Describe(request, refusal.Code),
        };
        if (key is not null)
        {
            return entry with { Scope = HistoryScope.Key, StoreId = key.StoreId.ToBytes(), Tag = key.Tag };
        }

        KeyStore? store = request is IStoreRequest { Store: var name } and not IKeyRequest { Key: not null }
            ? snapshot.FindStore(name ?? KeyStore.Default)
            : null;
        bool isOperator = operators.Contains(caller);
        if (store is not null && (isOperator || store.RoleOf(caller) != StoreRole.None))
        {
            return entry with { Scope = HistoryScope.Store, StoreId = store.Id.ToBytes() };
        }

        return isOperator && request is not IKeyRequest { Key: not null } ? entry : null;
    }

    private static Key? FindKey(Catalogue snapshot, Caller caller, object request)
    {
        if (request is not IKeyRequest { Key: string name } || !KeyReference.TryParse(name, out KeyReference reference))
        {
            return null;
        }

        return snapshot.Find(reference) is Key key && snapshot.Allows(caller, key, KeyAction.See) ? key : null;
    }

    private void Write(HistoryEntry entry, Key? key, Caller caller, KmsException refusal)
    {
        _ = history.Append(entry);
        bool isUse = entry.Operation.StartsWith("crypto.", StringComparison.Ordinal);
        if (isUse && refusal.Code == KmsErrorCode.InvalidState && key is not null
            && catalogue.Staged.Keys.GetValueOrDefault(key.Tag) is { State: not KeyState.Enabled } now && IsNews((key.Tag, now.State, caller.Primary), entry.At))
        {
            notices.Append(catalogue.Staged.About(
                now, NoticeKind.UseRefused, caller, entry.At, $"{entry.Operation}: the key is {Wire.KeyStates[now.State]}"));
        }
    }

    /// <summary>One who tries again and again is told of once an hour, and anew when the key has come into another state.</summary>
    private bool IsNews((KeyTag Tag, KeyState State, Principal By) refused, DateTimeOffset now)
    {
        foreach ((KeyTag, KeyState, Principal) old in _told.Where(told => (now - told.Value).Duration() >= s_noticeInterval).Select(told => told.Key).ToList())
        {
            _ = _told.Remove(old);
        }

        return _told.TryAdd(refused, now);
    }

    private sealed class Request(Action apply) : WriteRequest
    {
        private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override bool IsChange => false;

        public Task Completion => _completion.Task;

        public override void Apply() => apply();

        public override void Succeed() => _completion.SetResult();

        public override void Fail(Exception exception) => _completion.SetException(exception);
    }
}
