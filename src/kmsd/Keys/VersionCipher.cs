using Kms.Client.Protocol;

namespace Kmsd.Keys;

/// <summary>Encrypts and decrypts under one version, whatever its type. Who may, and what is recorded, is decided elsewhere.</summary>
internal sealed class VersionCipher(MaterialCache cache)
{
    /// <exception cref="KmsException"><c>unsupported</c>, <c>tooLarge</c>, <c>invalidParams</c>: the key's type can't do this.</exception>
    public async ValueTask<Ciphertext> EncryptAsync(
        Key key, KeyVersion version, SensitiveBytes plaintext, byte[]? context, CancellationToken cancellationToken)
    {
        CheckType(key, context);
        if (key.Type == KeyType.Rsa2048)
        {
            if (plaintext.Length > Rsa2048.MostPlaintextBytes)
            {
                throw new KmsException(
                    KmsErrorCode.TooLarge,
                    $"An RSA-2048 key encrypts at most {Rsa2048.MostPlaintextBytes} bytes; use an AES key, or a data key (crypto.createDataKey).");
            }

            await cache.ProvePublicKeyAsync(key, version, cancellationToken);
            return new Ciphertext(version.Number, Rsa2048.Encrypt(version.PublicKey, plaintext.AsSpan()));
        }

        using MaterialLease lease = await cache.LeaseAsync(key, version, cancellationToken);
        byte[] additionalData = Aes256Gcm96.AdditionalData(key.Tag, version.Number, context);
        return new Ciphertext(version.Number, await lease.Key.EncryptAesAsync(plaintext, additionalData, cancellationToken));
    }

    /// <summary>Null if it doesn't authenticate. The caller owns the plaintext.</summary>
    /// <exception cref="KmsException"><c>invalidState</c>, <c>unsupported</c>, <c>invalidParams</c>; <c>invalidCiphertext</c>: no such version.</exception>
    public async Task<SensitiveBytes?> DecryptAsync(Key key, Ciphertext ciphertext, byte[]? context, CancellationToken cancellationToken)
    {
        CheckType(key, context);
        KeyVersion version = key.Usable(ciphertext.Version);
        return key.Type == KeyType.Rsa2048
            ? await DecryptRsaAsync(key, version, ciphertext.Payload, cancellationToken)
            : await DecryptAesAsync(key, version, ciphertext.Payload, context, cancellationToken);
    }

    private async Task<SensitiveBytes?> DecryptAesAsync(
        Key key, KeyVersion version, byte[] payload, byte[]? context, CancellationToken cancellationToken)
    {
        if (payload.Length < Aes256Gcm96.Overhead)
        {
            return null;
        }

        using MaterialLease lease = await cache.LeaseAsync(key, version, cancellationToken);
        byte[] additionalData = Aes256Gcm96.AdditionalData(key.Tag, version.Number, context);
        return await lease.Key.DecryptAesAsync(payload, additionalData, cancellationToken);
    }

    private async Task<SensitiveBytes?> DecryptRsaAsync(Key key, KeyVersion version, byte[] payload, CancellationToken cancellationToken)
    {
        if (payload.Length != Rsa2048.PayloadLength)
        {
            return null;
        }

        using MaterialLease lease = await cache.LeaseAsync(key, version, cancellationToken);
        return await lease.Key.DecryptRsaAsync(payload, cancellationToken);
    }

    private static void CheckType(Key key, byte[]? context)
    {
        if (key.Type == KeyType.EcdsaP256)
        {
            throw new KmsException(KmsErrorCode.Unsupported, $"The key '{key.Name}' is of type ECDSA-P256, which signs and verifies alone.");
        }

        if (key.Type == KeyType.Rsa2048 && context is { Length: > 0 })
        {
            throw new KmsException(KmsErrorCode.InvalidParams, "A context is for AES keys alone; RSA has no place for it.");
        }
    }
}
