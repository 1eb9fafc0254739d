using Kms.Client.Protocol;

namespace Kmsd.RootKeys;

/// <summary>A key that lives in the token and is used there. Disposed, it takes no more calls and leaves the token with the last.</summary>
internal abstract class HeldKey : IDisposable
{
    /// <summary>True once the token has lost it: then it must be unwrapped again.</summary>
    public abstract bool IsLost { get; }

    /// <summary>AES-256-GCM: nonce ‖ ciphertext ‖ tag.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<byte[]> EncryptAsync(SensitiveBytes plaintext, byte[] additionalData, CancellationToken cancellationToken);

    /// <summary>Null if it doesn't authenticate. The caller owns the plaintext.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<SensitiveBytes?> DecryptAsync(byte[] payload, byte[] additionalData, CancellationToken cancellationToken);

    /// <summary>The raw private operation of RSA: an encoded message. Null if the payload is no number below the modulus.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<SensitiveBytes?> DecryptRawAsync(byte[] payload, CancellationToken cancellationToken);

    /// <summary>A signature over a SHA-256 digest; of ECDSA as r ‖ s.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>.</exception>
    public abstract Task<byte[]> SignAsync(byte[] digest, SignatureAlgorithm algorithm, CancellationToken cancellationToken);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
