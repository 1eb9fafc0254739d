using Kms.Hsm;

namespace Kmsd.RootKeys;

/// <summary>
/// The root key as the rest of the daemon sees it: it seals and opens the material of versions, and vouches for what the
/// database holds. Two implementations: the token's, and one in memory for tests of operations.
/// </summary>
internal abstract class RootKey : IDisposable
{
    /// <summary>The generation that seals.</summary>
    public abstract long Generation { get; }

    /// <summary>How blobs are made, as stored with each of them.</summary>
    public abstract string SealMechanism { get; }

    /// <summary>The family of tokens that made a blob, as stored with each of them.</summary>
    public abstract string TokenFamily { get; }

    /// <summary>False while the token is away.</summary>
    public abstract bool IsAvailable { get; }

    /// <exception cref="Kms.Client.Protocol.KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<byte[]> SealAsync(SecretBytes material, MaterialBinding binding, CancellationToken cancellationToken);

    /// <summary>The caller owns the material.</summary>
    /// <exception cref="Kms.Client.Protocol.KmsException"><c>tokenUnavailable</c>, or <c>integrityFailure</c>: the blob isn't this version's.</exception>
    public abstract Task<SecretBytes> OpenAsync(byte[] blob, MaterialBinding binding, CancellationToken cancellationToken);

    /// <summary>Random from the token's generator.</summary>
    /// <exception cref="Kms.Client.Protocol.KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task FillRandomAsync(Memory<byte> destination, CancellationToken cancellationToken);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
