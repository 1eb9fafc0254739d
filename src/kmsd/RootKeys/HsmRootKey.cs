using System.Diagnostics;
using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;
using Microsoft.Extensions.Logging;

namespace Kmsd.RootKeys;

/// <summary>
/// The root key inside a PKCS#11 token. Calls into the module block, so each runs on a pool thread; one that doesn't come
/// back in time costs that thread, and its caller hears <c>tokenUnavailable</c>.
/// </summary>
internal sealed class HsmRootKey : RootKey
{
    private const int PartOfTimeout = 8;

    private readonly Token _token;
    private readonly ConcurrentDictionary<long, (RootGenerationDescriptor Descriptor, RootGeneration Keys)> _generations = new();
    private readonly byte[] _instanceId;
    private readonly string _anchorLabel;
    private readonly TimeSpan _timeout;
    private readonly TokenMeter _meter;
    private readonly ILogger _log;
    private long _current;
    private long _anchorWrites;

    // As many calls at a time as the token has sessions: a hung token holds this many threads and no more.
    private readonly SemaphoreSlim _calls;
    private volatile bool _isAvailable = true;

    // For each type what the token lacks for keys in it, and "" if nothing: tried once, when it is first needed.
    private readonly ConcurrentDictionary<TokenKeyType, string> _missing = new();

    /// <summary>Takes over the token and disposes it, if this doesn't throw.</summary>
    /// <param name="token">Logged in.</param>
    /// <param name="generations">Every generation whose keys must be in the token.</param>
    /// <param name="current">The number of the one that carries what is made now.</param>
    /// <param name="options">Sessions and time-out.</param>
    /// <param name="meter">Counts the calls.</param>
    /// <param name="log">For what happens later.</param>
    /// <exception cref="TokenException">The keys of a generation aren't there, or aren't the ones.</exception>
    public HsmRootKey(
        Token token, IReadOnlyList<RootGenerationDescriptor> generations, long current, TokenOptions options, TokenMeter meter, ILogger log)
    {
        _token = token;
        _current = current;
        _timeout = options.Timeout;
        _meter = meter;
        _log = log;
        foreach (RootGenerationDescriptor descriptor in generations)
        {
            _generations[descriptor.Number] = (descriptor, token.OpenGeneration(descriptor));
        }

        _instanceId = generations[0].InstanceId;
        _anchorLabel = LabelOfAnchor(_instanceId);
        _calls = new SemaphoreSlim(options.Sessions);
    }

    public override long Generation => Volatile.Read(ref _current);

    public override string TokenFamily => _token.Description.Family;

    public override bool IsAvailable => _isAvailable;

    /// <summary>The label of the data object in which a token remembers the database of an instance.</summary>
    public static string LabelOfAnchor(byte[] instanceId) => $"kmsd-anchor-{Convert.ToHexStringLower(instanceId)}";

    public override Task<SecretBytes> DeriveKeyAsync(string label, long generation, CancellationToken cancellationToken) =>
        CallAsync(TokenCall.Derive, () => KeysOf(generation).DeriveKey(label), cancellationToken);

    public override Task<IReadOnlyList<byte[]>> ReadAnchorsAsync() => CallAsync(TokenCall.Anchor, () => _token.ReadData(_anchorLabel), CancellationToken.None);

    public override Task WriteAnchorAsync(byte[] anchor)
    {
        long number = Interlocked.Increment(ref _anchorWrites);
        return CallAsync(
            TokenCall.Anchor,
            () =>
            {
                // One that nobody waits for any more must not come after a newer one.
                _token.ReplaceData(_anchorLabel, anchor, () => number == Volatile.Read(ref _anchorWrites));
                return true;
            },
            CancellationToken.None);
    }

    public override Task RemoveAnchorsAsync() => CallAsync(
        TokenCall.Anchor,
        () =>
        {
            _token.DestroyData(_anchorLabel);
            return true;
        },
        CancellationToken.None);

    public override async Task<SealedMaterial> SealAsync(
        SecretBytes material, MaterialBinding binding, CancellationToken cancellationToken)
    {
        long generation = Generation;
        byte[] additionalData = binding.ToAdditionalData(_instanceId, generation);
        byte[] blob = await CallAsync(TokenCall.Seal, () => KeysOf(generation).Seal(material, additionalData), cancellationToken);
        return new SealedMaterial(generation, _generations[generation].Descriptor.SealMechanism, TokenFamily, blob);
    }

    public override Task<SecretBytes> OpenAsync(SealedMaterial material, MaterialBinding binding, CancellationToken cancellationToken)
    {
        RootGeneration keys = KeysOf(material);
        byte[] additionalData = binding.ToAdditionalData(_instanceId, material.Generation);
        return CallAsync(TokenCall.Open, () => keys.Open(material.Blob, additionalData), cancellationToken);
    }

    public override async Task<(SealedMaterial Material, byte[]? PublicKey)> GenerateAsync(
        MaterialBinding binding, CancellationToken cancellationToken)
    {
        TokenKeyType type = HeldKeyBinding.TypeOf(binding.Type);
        if (await CallAsync(TokenCall.Probe, () => _missing.GetOrAdd(type, _ => _token.FindMissing(type) ?? ""), cancellationToken) is { Length: > 0 } mechanism)
        {
            throw new KmsException(
                KmsErrorCode.Unsupported,
                $"The token lacks {mechanism}, which a key of type {Wire.KeyTypes[binding.Type]} with protection 'hsm' needs; protection 'software' is another way.");
        }

        long generation = Generation;
        byte[] fields = binding.ToAdditionalData(_instanceId, generation);
        return await CallAsync(TokenCall.Generate, () => Generate(generation, type, fields), cancellationToken);
    }

    public override Task<HeldKey> UnwrapAsync(
        SealedMaterial material, byte[]? publicKey, MaterialBinding binding, CancellationToken cancellationToken)
    {
        RootGeneration keys = KeysOf(material);
        TokenKeyType type = HeldKeyBinding.TypeOf(binding.Type);
        byte[] fields = binding.ToAdditionalData(_instanceId, material.Generation);
        return CallAsync<HeldKey>(TokenCall.Unwrap, () => Unwrap(keys, type, material, publicKey, fields), cancellationToken);
    }

    public override async Task<IReadOnlyList<Rewrapped>> RewrapAsync(IReadOnlyList<ToRewrap> versions, long generation, CancellationToken cancellationToken)
    {
        // A call of its own for each that the token holds: some tokens take their time for those.
        var made = new Rewrapped[versions.Count];
        List<int> together = [];
        for (int i = 0; i < versions.Count; i++)
        {
            if (versions[i].Protection == KeyProtection.Hsm)
            {
                ToRewrap held = versions[i];
                made[i] = await CallAsync(TokenCall.Rewrap, () => TryRewrap(held, generation), cancellationToken);
            }
            else
            {
                together.Add(i);
            }
        }

        // As many in a call as a slow token does in a part of the time-out, which is for one.
        int done = 0;
        while (done < together.Count)
        {
            int first = done;
            done = await CallAsync(
                TokenCall.Rewrap,
                () =>
                {
                    long began = Stopwatch.GetTimestamp();
                    int next = first;
                    do
                    {
                        made[together[next]] = TryRewrap(versions[together[next]], generation);
                        next++;
                        _ = Thread.Yield(); // Whoever serves requests may wait for this processor.
                    }
                    while (next < together.Count && Stopwatch.GetElapsedTime(began) < _timeout / PartOfTimeout);
                    return next;
                },
                cancellationToken);
        }

        return made;
    }

    public override Task<StoredGeneration> CreateGenerationAsync(StoredGeneration planned) => CallAsync(
        TokenCall.Root,
        () =>
        {
            RootGenerationDescriptor made = _token.CreateGeneration(planned.Descriptor);
            _generations[made.Number] = (made, _token.OpenGeneration(made));
            return planned with { Descriptor = made };
        },
        CancellationToken.None);

    public override Task<SecretBytes?> FindDerivedKeyAsync(string label, long generation) => CallAsync(
        TokenCall.Derive,
        () => generation is > 0 and <= uint.MaxValue ? _token.FindDerivedKey((uint)generation, _instanceId, label) : null,
        CancellationToken.None);

    public override Task<IReadOnlyList<long>> FindGenerationsAsync() => CallAsync(
        TokenCall.Root, () => (IReadOnlyList<long>)[.. _token.FindRootGenerations(_instanceId)], CancellationToken.None);

    public override Task DestroyLeftGenerationAsync(long generation) => CallAsync(
        TokenCall.Root,
        () =>
        {
            if (_generations.ContainsKey(generation))
            {
                throw new InvalidOperationException($"Generation {generation} of the root key is in use.");
            }

            _token.DestroyGeneration(checked((uint)generation), _instanceId);
            return true;
        },
        CancellationToken.None);

    /// <summary>For what asks the token before there is a generation: a ceremony.</summary>
    public Token Token => _token;

    /// <summary>As <see cref="CreateGenerationAsync"/>, of keys that come from outside.</summary>
    /// <param name="planned">Whose ids they get.</param>
    /// <param name="import">Puts them into the token, and proves them.</param>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public Task<StoredGeneration> ImportGenerationAsync(
        StoredGeneration planned, Func<Token, RootGenerationDescriptor, RootGenerationDescriptor> import) => CallAsync(
        TokenCall.Root,
        () =>
        {
            RootGenerationDescriptor made = import(_token, planned.Descriptor);
            _generations[made.Number] = (made, _token.OpenGeneration(made));
            return planned with { Descriptor = made };
        },
        CancellationToken.None);

    public override void Use(long generation)
    {
        _ = KeysOf(generation);
        Volatile.Write(ref _current, generation);
    }

    public override Task DestroyGenerationAsync(StoredGeneration generation) => CallAsync(
        TokenCall.Root,
        () =>
        {
            if (generation.Number == Generation)
            {
                throw new InvalidOperationException("The current generation of the root key isn't destroyed.");
            }

            _ = _generations.TryRemove(generation.Number, out _);
            _token.DestroyGeneration(generation.Descriptor);
            return true;
        },
        CancellationToken.None);

    public override Task FillRandomAsync(Memory<byte> destination, CancellationToken cancellationToken) =>
        CallAsync(
            TokenCall.Random,
            () =>
            {
                _token.GenerateRandom(destination.Span);
                return true;
            },
            cancellationToken,
            usesRootKey: false);

    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "The constructor takes the token over.")]
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _token.Dispose();
            _calls.Dispose();
        }
    }

    private (SealedMaterial, byte[]?) Generate(long generation, TokenKeyType type, byte[] fields)
    {
        using TokenKey key = KeysOf(generation).GenerateKey(type, out WrappedKey wrapped);
        byte[] binding = HeldKeyBinding.Make(key, fields);
        return (new SealedMaterial(generation, wrapped.Mechanism, TokenFamily, wrapped.Blob, binding), wrapped.PublicKey);
    }

    private Rewrapped TryRewrap(ToRewrap version, long generation)
    {
        try
        {
            RootGeneration old = KeysOf(version.Material);
            byte[] oldFields = version.Binding.ToAdditionalData(_instanceId, version.Material.Generation);
            byte[] fields = version.Binding.ToAdditionalData(_instanceId, generation);
            return new Rewrapped(
                version.Protection == KeyProtection.Hsm
                    ? Rewrap(old, generation, HeldKeyBinding.TypeOf(version.Binding.Type), version.Material, version.PublicKey, oldFields, fields)
                    : Reseal(old, generation, version.Material, oldFields, fields),
                null);
        }
        catch (Exception exception) when (exception is SealedBlobException or TokenException { Fault: TokenFault.Unsupported })
        {
            return new Rewrapped(null, TokenFaults.ToKmsException(exception));
        }
        catch (KmsException exception) when (exception.Code == KmsErrorCode.IntegrityFailure)
        {
            return new Rewrapped(null, exception);
        }
    }

    private SealedMaterial Reseal(RootGeneration old, long generation, SealedMaterial material, byte[] oldFields, byte[] fields)
    {
        using SecretBytes opened = old.Open(material.Blob, oldFields);
        byte[] blob = KeysOf(generation).Seal(opened, fields);
        using SecretBytes again = KeysOf(generation).Open(blob, fields);
        using SecretLease one = opened.Open();
        using SecretLease other = again.Open();
        return CryptographicOperations.FixedTimeEquals(one.Bytes, other.Bytes)
            ? new SealedMaterial(generation, _generations[generation].Descriptor.SealMechanism, TokenFamily, blob)
            : throw new SealedBlobException();
    }

    private SealedMaterial Rewrap(
        RootGeneration old, long generation, TokenKeyType type, SealedMaterial material, byte[]? publicKey, byte[] oldFields, byte[] fields)
    {
        using TokenKey key = old.UnwrapKeyToWrap(type, material.Blob, material.Mechanism);
        HeldKeyBinding.Check(key, material.Binding, publicKey, oldFields);
        (byte[] blob, string mechanism) = KeysOf(generation).WrapKey(key);
        byte[] binding = HeldKeyBinding.Make(key, fields);

        // What the key made, the one out of the new blob must know.
        using TokenKey again = KeysOf(generation).UnwrapKey(type, blob, mechanism);
        HeldKeyBinding.Check(again, binding, publicKey, fields);
        return new SealedMaterial(generation, mechanism, TokenFamily, blob, binding);
    }

    private HsmHeldKey Unwrap(RootGeneration keys, TokenKeyType type, SealedMaterial material, byte[]? publicKey, byte[] fields)
    {
#pragma warning disable IDISP001 // The held key takes it over.
        TokenKey key = keys.UnwrapKey(type, material.Blob, material.Mechanism);
#pragma warning restore IDISP001
        try
        {
            HeldKeyBinding.Check(key, material.Binding, publicKey, fields);
            return new HsmHeldKey(this, key);
        }
        catch
        {
            key.Dispose();
            throw;
        }
    }

    private RootGeneration KeysOf(long generation) => _generations.TryGetValue(generation, out (RootGenerationDescriptor, RootGeneration Keys) found)
        ? found.Keys
        : throw new InvalidOperationException($"Root generation {generation} isn't in use.");

    private RootGeneration KeysOf(SealedMaterial material) => _generations.ContainsKey(material.Generation)
        ? KeysOf(material.Generation)
        : throw new KmsException(
            KmsErrorCode.IntegrityFailure, $"The material is of root generation {material.Generation}, which isn't in use.");

    /// <summary>Runs a call into the token: on a pool thread, bounded in number and in time.</summary>
    internal async Task<T> CallAsync<T>(TokenCall kind, Func<T> call, CancellationToken cancellationToken, bool usesRootKey = true)
    {
        long began = _meter.Now();
        try
        {
            if (!await _calls.WaitAsync(_timeout, cancellationToken))
            {
                throw Away(new TimeoutException("Every session is busy."));
            }

            // The native call can't be cancelled: it runs to its end, whoever still waits.
            T result = await WaitAsync(Task.Run(() => Run(call), CancellationToken.None), cancellationToken);

            // Random bytes come from a token whose root key is gone, too.
            _isAvailable |= usesRootKey;
            _meter.Succeeded(kind, began);
            return result;
        }
        catch (Exception exception)
        {
            _meter.Failed(kind, CodeOf(exception), began);
            throw;
        }
    }

    private async Task<T> WaitAsync<T>(Task<T> running, CancellationToken cancellationToken)
    {
        try
        {
            return await running.WaitAsync(_timeout, cancellationToken);
        }
        catch (Exception exception) when (exception is TimeoutException or OperationCanceledException)
        {
            Abandon(running);
            if (exception is TimeoutException)
            {
                throw Away(exception);
            }

            throw;
        }
        catch (Exception exception) when (exception is TokenException or SealedBlobException or ObjectDisposedException)
        {
            var told = TokenFaults.ToKmsException(exception);
            throw told.Code == KmsErrorCode.TokenUnavailable ? Away(exception) : told;
        }
    }

    private static KmsErrorCode CodeOf(Exception exception) => exception switch
    {
        KmsException refusal => refusal.Code,
        OperationCanceledException => KmsErrorCode.Cancelled,
        _ => KmsErrorCode.Internal,
    };

    private T Run<T>(Func<T> call)
    {
        try
        {
            return call();
        }
        finally
        {
            _ = _calls.Release();
        }
    }

    private KmsException Away(Exception exception)
    {
        if (_isAvailable)
        {
            RootKeysLog.TokenAway(_log, exception);
        }

        _isAvailable = false;
        return TokenFaults.ToKmsException(exception);
    }

    /// <summary>What a call still brings after nobody waits for it is thrown away.</summary>
    private static void Abandon<T>(Task<T> running) => _ = running.ContinueWith(
        finished =>
        {
            switch (finished)
            {
                case { IsCompletedSuccessfully: true, Result: IDisposable secret }:
                    secret.Dispose();
                    break;
                case { IsCompletedSuccessfully: true, Result: byte[] bytes }:
                    CryptographicOperations.ZeroMemory(bytes);
                    break;
                default:
                    _ = finished.Exception;
                    break;
            }
        },
        CancellationToken.None,
        TaskContinuationOptions.ExecuteSynchronously,
        TaskScheduler.Default);
}
