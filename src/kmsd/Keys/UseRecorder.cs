using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Threading.Tasks.Sources;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>What was done with a version of a key, for the record.</summary>
internal sealed record KeyUse(Caller Caller, string Operation, KeyAction Action, KeyTag Tag, long Version)
{
    /// <summary>The context that was given; only its digest is kept.</summary>
    public byte[]? Context { get; init; }

    /// <summary>How many items it touched: more than one for a batch.</summary>
    public long Items { get; init; } = 1;

    /// <summary>Other versions of the key that it touched; each counts one.</summary>
    public IReadOnlyList<long> AlsoTouched { get; init; } = [];

    /// <summary><c>ok</c>, or the reason why it was refused after it was carried out.</summary>
    public string Outcome { get; init; } = "ok";
}

/// <summary>
/// Records uses: counter and history entry in one commit, before the answer leaves. The writer looks again whether key,
/// version and right still stand, so that no use follows its revocation.
/// </summary>
internal sealed class UseRecorder(CatalogueLedger catalogue, HistoryLog history, Writer writer, TimeProvider clock)
{
    /// <exception cref="KmsException">It no longer stands, or could not be written: the use must not be answered.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask RecordAsync(KeyUse use, CancellationToken cancellationToken)
    {
        Request request = new(this, use);
        await writer.EnqueueAsync(request, cancellationToken);
        await request.Completion;
    }

    /// <param name="use">What was done.</param>
    /// <param name="mayReserve">The batch is a transaction that reaches the disk.</param>
    private void Apply(KeyUse use, bool mayReserve)
    {
        Key key = catalogue.Staged.Require(use.Caller, KeyReference.Of(use.Tag), use.Action);
        KeyVersion version = key.Usable(use.Version);
        if (use.Action == KeyAction.Encrypt && key.Type == KeyType.Aes256Gcm96 && version.MostEncryptions + use.Items > KeyLimits.MostEncryptions)
        {
            throw new KmsException(
                KmsErrorCode.LimitExceeded, $"Version {version.Number} of '{key.Name}' has sealed as often as its algorithm allows.");
        }

        // A use is refused before it has written anything.
        List<KeyVersion> others = [.. use.AlsoTouched.Select(key.Usable)];
        if (mayReserve && Reserves(use))
        {
            version = version with { EncryptionsReserved = version.MostEncryptions + KeyLimits.EncryptionsReservedAtOnce };
            key = key.With(version);
            catalogue.Replace(key);
        }

        DateTimeOffset now = clock.GetUtcNow();
        long sequence = history.Append(new HistoryEntry
        {
            At = now,
            Scope = HistoryScope.Key,
            Operation = use.Operation,
            Caller = use.Caller,
            StoreId = key.StoreId.ToBytes(),
            Tag = key.Tag,
            Version = version.Number,
            Outcome = use.Outcome,
            Items = use.Items,
            Detail = UsageReplay.WriteAlso(use.AlsoTouched),
            ContextDigest = use.Context is { Length: > 0 } context ? SHA256.HashData(context) : null,
        });

        catalogue.CountUse(key, version, UsageReplay.CountedItems(use.Operation, use.Items), now, sequence);
        foreach (KeyVersion other in others)
        {
            catalogue.CountVersion(key, other, now);
        }
    }

    /// <summary>
    /// True if what the disk allows for comes to its end: then the batch is written in full, and another block is reserved,
    /// ahead of the use that needs it by more than a batch holds.
    /// </summary>
    private bool Reserves(KeyUse use) => use.Action == KeyAction.Encrypt
        && catalogue.Staged.Keys.GetValueOrDefault(use.Tag) is { Type: KeyType.Aes256Gcm96 } key
        && key.FindVersion(use.Version) is KeyVersion version
        && version.MostEncryptions + (KeyLimits.EncryptionsReservedAtOnce / 2) > version.EncryptionsReserved;

    private sealed class Request(UseRecorder recorder, KeyUse use) : WriteRequest, IValueTaskSource
    {
        private ManualResetValueTaskSourceCore<bool> _completion = new() { RunContinuationsAsynchronously = true };
        private bool? _reserves;

        // Asked by the writer, whose thread alone may look at what is staged; once, so that it doesn't change within a batch.
        public override bool IsChange => _reserves ??= recorder.Reserves(use);

        public override bool MayBeDeferred => true;

        /// <summary>To be awaited once.</summary>
        public ValueTask Completion => new(this, _completion.Version);

        public override void Apply() => recorder.Apply(use, IsChange);

        public override void Succeed() => _completion.SetResult(true);

        public override void SucceedHere()
        {
            _completion.RunContinuationsAsynchronously = false;
            _completion.SetResult(true);
        }

        public override void Fail(Exception exception) => _completion.SetException(exception);

        void IValueTaskSource.GetResult(short token) => _ = _completion.GetResult(token);

        ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _completion.GetStatus(token);

        void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            _completion.OnCompleted(continuation, state, token, flags);
    }
}
