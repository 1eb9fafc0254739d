using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.RootKeys;

namespace Kmsd.Keys;

/// <summary>A version's key, opened, whatever protects it: what its type can do, on checked input. The cache owns it.</summary>
internal abstract class OpenedKey : IDisposable
{
    /// <summary>True once it can't be used any more, and must be opened again.</summary>
    public virtual bool IsLost => false;

    /// <summary>AES-256-GCM: nonce ‖ ciphertext ‖ tag.</summary>
    public abstract ValueTask<byte[]> EncryptAesAsync(SensitiveBytes plaintext, byte[] additionalData, CancellationToken cancellationToken);

    /// <summary>Null if it doesn't authenticate. The caller owns the plaintext.</summary>
    public abstract ValueTask<SensitiveBytes?> DecryptAesAsync(byte[] payload, byte[] additionalData, CancellationToken cancellationToken);

    /// <summary>RSAES-OAEP of 256 bytes. Null if it doesn't decrypt. The caller owns the plaintext.</summary>
    public abstract ValueTask<SensitiveBytes?> DecryptRsaAsync(byte[] payload, CancellationToken cancellationToken);

    /// <summary>A signature over a SHA-256 digest; of ECDSA as r ‖ s.</summary>
    public abstract ValueTask<byte[]> SignAsync(byte[] digest, SignatureAlgorithm algorithm, CancellationToken cancellationToken);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);

    /// <summary>The message in a block, whose reading takes the same time whatever is in it.</summary>
    protected static SensitiveBytes? Take(bool isMessage, SensitiveBytes room, int length) =>
        isMessage ? new SensitiveBytes(room.AsSpan()[..length]) : null;
}

/// <summary>Protection <c>software</c>: the bytes lie in locked memory of the daemon, and are used there.</summary>
/// <param name="material">Taken over.</param>
internal sealed class SoftwareKey(SecretBytes material) : OpenedKey
{
    public SecretBytes Material => material;

    public override ValueTask<byte[]> EncryptAesAsync(SensitiveBytes plaintext, byte[] additionalData, CancellationToken cancellationToken) =>
        new(Aes256Gcm96.Encrypt(material, plaintext.AsSpan(), additionalData));

    public override ValueTask<SensitiveBytes?> DecryptAesAsync(byte[] payload, byte[] additionalData, CancellationToken cancellationToken)
    {
        SensitiveBytes plaintext = new(payload.Length - Aes256Gcm96.Overhead);

        // Where it doesn't authenticate the bytes are zero already.
        return new(Aes256Gcm96.TryDecrypt(material, payload, additionalData, plaintext.AsSpan()) ? plaintext : null);
    }

    public override ValueTask<SensitiveBytes?> DecryptRsaAsync(byte[] payload, CancellationToken cancellationToken)
    {
        using SensitiveBytes room = new(Rsa2048.MostPlaintextBytes);
        bool isMessage = Rsa2048.TryDecrypt(material, payload, room.AsSpan(), out int length);
        return new(Take(isMessage, room, length));
    }

    public override ValueTask<byte[]> SignAsync(byte[] digest, SignatureAlgorithm algorithm, CancellationToken cancellationToken) =>
        new(algorithm == SignatureAlgorithm.EcdsaSha256
            ? EcdsaP256.Sign(material, digest, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)
            : Rsa2048.Sign(material, digest, algorithm));

    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "The constructor takes it over.")]
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            material.Dispose();
        }
    }
}

/// <summary>Protection <c>hsm</c>: the key lives in the token, and is used there.</summary>
/// <param name="key">Taken over.</param>
internal sealed class HsmKey(HeldKey key) : OpenedKey
{
    public override bool IsLost => key.IsLost;

    public override ValueTask<byte[]> EncryptAesAsync(SensitiveBytes plaintext, byte[] additionalData, CancellationToken cancellationToken) =>
        new(key.EncryptAsync(plaintext, additionalData, cancellationToken));

    public override ValueTask<SensitiveBytes?> DecryptAesAsync(byte[] payload, byte[] additionalData, CancellationToken cancellationToken) =>
        new(key.DecryptAsync(payload, additionalData, cancellationToken));

    public override async ValueTask<SensitiveBytes?> DecryptRsaAsync(byte[] payload, CancellationToken cancellationToken)
    {
        using SensitiveBytes? encoded = await key.DecryptRawAsync(payload, cancellationToken);
        if (encoded is null)
        {
            return null;
        }

        using SensitiveBytes room = new(Oaep.MostMessageBytes);
        bool isMessage = Oaep.TryDecode(encoded.AsSpan(), room.AsSpan(), out int length);
        return Take(isMessage, room, length);
    }

    public override ValueTask<byte[]> SignAsync(byte[] digest, SignatureAlgorithm algorithm, CancellationToken cancellationToken) =>
        new(key.SignAsync(digest, algorithm, cancellationToken));

    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "The constructor takes it over.")]
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            key.Dispose();
        }
    }
}
