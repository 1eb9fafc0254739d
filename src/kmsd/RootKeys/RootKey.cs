using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Storage;

namespace Kmsd.RootKeys;

/// <summary>
/// The root key as the rest of the daemon sees it: it carries the material of versions, and vouches for what the database
/// holds. Two implementations: the token's, and one in memory for tests of operations.
/// </summary>
internal abstract class RootKey : IDisposable
{
    /// <summary>The generation that carries what is made now.</summary>
    public abstract long Generation { get; }

    /// <summary>The family of tokens that made a blob, as stored with each of them.</summary>
    public abstract string TokenFamily { get; }

    /// <summary>False while the token is away.</summary>
    public abstract bool IsAvailable { get; }

    /// <summary>Seals material of protection <c>software</c>.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<SealedMaterial> SealAsync(SecretBytes material, MaterialBinding binding, CancellationToken cancellationToken);

    /// <summary>Opens material of protection <c>software</c>; the caller owns it.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>, or <c>integrityFailure</c>: the blob isn't this version's.</exception>
    public abstract Task<SecretBytes> OpenAsync(SealedMaterial material, MaterialBinding binding, CancellationToken cancellationToken);

    /// <summary>Makes a key of protection <c>hsm</c> in the token. It stays there no longer than it takes to wrap and bind it.</summary>
    /// <returns>The wrapped key, and its public key as SubjectPublicKeyInfo DER if it has one.</returns>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>; <c>unsupported</c>, with the mechanism that is missing.</exception>
    public abstract Task<(SealedMaterial Material, byte[]? PublicKey)> GenerateAsync(MaterialBinding binding, CancellationToken cancellationToken);

    /// <summary>Brings a key of protection <c>hsm</c> into the token; the caller owns it.</summary>
    /// <param name="material">As <see cref="GenerateAsync"/> made it.</param>
    /// <param name="publicKey">As it was made with the key.</param>
    /// <param name="binding">What the key belongs to.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>, or <c>integrityFailure</c>: the blob isn't this version's.</exception>
    public abstract Task<HeldKey> UnwrapAsync(
        SealedMaterial material, byte[]? publicKey, MaterialBinding binding, CancellationToken cancellationToken);

    /// <summary>A 32-byte key for one use, derived by a generation's mac key; the caller owns it.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<SecretBytes> DeriveKeyAsync(string label, long generation, CancellationToken cancellationToken);

    /// <summary>The same of several generations; the caller owns them.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public async Task<GenerationKeys> DeriveKeysAsync(string label, IEnumerable<long> generations, CancellationToken cancellationToken)
    {
        GenerationKeys keys = new();
        try
        {
            foreach (long generation in generations)
            {
                keys.Add(generation, await DeriveKeyAsync(label, generation, cancellationToken));
            }

            return keys;
        }
        catch
        {
            keys.Dispose();
            throw;
        }
    }

    /// <summary>Versions' material, carried by another generation: opened, sealed again, opened again and compared, in the token where it is held there.</summary>
    /// <param name="versions">A few: the token is asked for them in one go, but for those that it holds.</param>
    /// <param name="generation">Which is to carry them: what the database calls the current one may not be <see cref="Generation"/> for a moment.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>In the order of <paramref name="versions"/>.</returns>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<IReadOnlyList<Rewrapped>> RewrapAsync(IReadOnlyList<ToRewrap> versions, long generation, CancellationToken cancellationToken);

    /// <summary>Makes the keys of a generation that was planned. It derives keys; it carries nothing before <see cref="Use"/>.</summary>
    /// <returns>With check values.</returns>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<StoredGeneration> CreateGenerationAsync(StoredGeneration planned);

    /// <summary>The same by a generation that the database needn't name: after an older one was put back, the token holds later ones. Null if it doesn't.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<SecretBytes?> FindDerivedKeyAsync(string label, long generation);

    /// <summary>The same of several generations: of those that the token holds.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public async Task<GenerationKeys> FindDerivedKeysAsync(string label, IEnumerable<long> generations)
    {
        GenerationKeys keys = new();
        try
        {
            foreach (long generation in generations)
            {
                if (await FindDerivedKeyAsync(label, generation) is SecretBytes key)
                {
                    keys.Add(generation, key);
                }
            }

            return keys;
        }
        catch
        {
            keys.Dispose();
            throw;
        }
    }

    /// <summary>The numbers of the generations of which the token holds a key, whether the database names them or not.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<IReadOnlyList<long>> FindGenerationsAsync();

    /// <summary>The highest of them; 0 if there are none.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public async Task<long> FindNewestGenerationAsync() => (await FindGenerationsAsync()).DefaultIfEmpty().Max();

    /// <summary>Destroys the keys of a generation that the database doesn't name. What is gone already is no error.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task DestroyLeftGenerationAsync(long generation);

    /// <summary>From now on this generation carries what is made.</summary>
    public abstract void Use(long generation);

    /// <summary>Destroys the keys of a generation, which must carry nothing any more. What is gone already is no error.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task DestroyGenerationAsync(StoredGeneration generation);

    /// <summary>What the token remembers of the database, in no order: several where a write was cut off.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<IReadOnlyList<byte[]>> ReadAnchorsAsync();

    /// <summary>Makes the token remember this, and then forget what it remembered before.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>; whether it was written isn't known then.</exception>
    public abstract Task WriteAnchorAsync(byte[] anchor);

    /// <summary>Makes the token remember nothing.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task RemoveAnchorsAsync();

    /// <summary>Random from the token's generator.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task FillRandomAsync(Memory<byte> destination, CancellationToken cancellationToken);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}

/// <summary>A version whose material an older generation carries.</summary>
/// <param name="Material">As it is.</param>
/// <param name="Protection">How it was made.</param>
/// <param name="PublicKey">As it was made with the key.</param>
/// <param name="Binding">What it belongs to.</param>
internal sealed record ToRewrap(SealedMaterial Material, KeyProtection Protection, byte[]? PublicKey, MaterialBinding Binding);

/// <summary>What came of it: one of the two.</summary>
/// <param name="Material">As it was asked for.</param>
/// <param name="Refusal"><c>integrityFailure</c>: the blob isn't this version's; <c>unsupported</c>: the token can't carry it.</param>
internal readonly record struct Rewrapped(SealedMaterial? Material, KmsException? Refusal);
