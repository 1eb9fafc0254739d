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
    private readonly Token _token;
    private readonly RootGeneration _generation;
    private readonly RootGenerationDescriptor _descriptor;
    private readonly TimeSpan _timeout;
    private readonly TokenMeter _meter;
    private readonly ILogger _log;

    // As many calls at a time as the token has sessions: a hung token holds this many threads and no more.
    private readonly SemaphoreSlim _calls;
    private volatile bool _isAvailable = true;

    // For each type what the token lacks for keys in it, and "" if nothing: tried once, when it is first needed.
    private readonly ConcurrentDictionary<TokenKeyType, string> _missing = new();

    /// <summary>Takes over the token and disposes it.</summary>
    public HsmRootKey(Token token, RootGenerationDescriptor descriptor, TokenOptions options, TokenMeter meter, ILogger log)
    {
        _token = token;
        _descriptor = descriptor;
        _timeout = options.Timeout;
        _meter = meter;
        _log = log;
        _calls = new SemaphoreSlim(options.Sessions);
        _generation = token.OpenGeneration(descriptor);
    }

    public override long Generation => _descriptor.Number;

    public override string TokenFamily => _descriptor.TokenFamily;

    public override bool IsAvailable => _isAvailable;

    /// <summary>A key that the token's mac key derives for one use; the caller owns it.</summary>
    public SecretBytes DeriveKey(string label) => _generation.DeriveKey(label);

    public override Task<SecretBytes> DeriveKeyAsync(string label, CancellationToken cancellationToken) =>
        CallAsync(TokenCall.Derive, () => _generation.DeriveKey(label), cancellationToken);

    public override async Task<SealedMaterial> SealAsync(
        SecretBytes material, MaterialBinding binding, CancellationToken cancellationToken)
    {
        byte[] additionalData = binding.ToAdditionalData(_descriptor.InstanceId, Generation);
        byte[] blob = await CallAsync(TokenCall.Seal, () => _generation.Seal(material, additionalData), cancellationToken);
        return new SealedMaterial(Generation, _descriptor.SealMechanism, TokenFamily, blob);
    }

    public override Task<SecretBytes> OpenAsync(SealedMaterial material, MaterialBinding binding, CancellationToken cancellationToken)
    {
        CheckGeneration(material);
        byte[] additionalData = binding.ToAdditionalData(_descriptor.InstanceId, material.Generation);
        return CallAsync(TokenCall.Open, () => _generation.Open(material.Blob, additionalData), cancellationToken);
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

        byte[] fields = binding.ToAdditionalData(_descriptor.InstanceId, Generation);
        return await CallAsync(TokenCall.Generate, () => Generate(type, fields), cancellationToken);
    }

    public override Task<HeldKey> UnwrapAsync(
        SealedMaterial material, byte[]? publicKey, MaterialBinding binding, CancellationToken cancellationToken)
    {
        CheckGeneration(material);
        TokenKeyType type = HeldKeyBinding.TypeOf(binding.Type);
        byte[] fields = binding.ToAdditionalData(_descriptor.InstanceId, material.Generation);
        return CallAsync<HeldKey>(TokenCall.Unwrap, () => Unwrap(type, material, publicKey, fields), cancellationToken);
    }

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

    private (SealedMaterial, byte[]?) Generate(TokenKeyType type, byte[] fields)
    {
        using TokenKey key = _generation.GenerateKey(type, out WrappedKey wrapped);
        byte[] binding = HeldKeyBinding.Make(key, fields);
        return (new SealedMaterial(Generation, wrapped.Mechanism, TokenFamily, wrapped.Blob, binding), wrapped.PublicKey);
    }

    private HsmHeldKey Unwrap(TokenKeyType type, SealedMaterial material, byte[]? publicKey, byte[] fields)
    {
#pragma warning disable IDISP001 // The held key takes it over.
        TokenKey key = _generation.UnwrapKey(type, material.Blob, material.Mechanism);
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

    private void CheckGeneration(SealedMaterial material)
    {
        if (material.Generation != Generation)
        {
            throw new KmsException(
                KmsErrorCode.IntegrityFailure, $"The material is of root generation {material.Generation}, which isn't in use.");
        }
    }

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
