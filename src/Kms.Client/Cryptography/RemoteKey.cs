using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Security.Cryptography;
using Kms.Client.Protocol;

namespace Kms.Client.Cryptography;

/// <summary>
/// One version of a key in the daemon, behind .NET's blocking interfaces: every failure is a <see cref="CryptographicException"/>,
/// which is what their users expect, with the client's own exception inside.
/// </summary>
internal sealed class RemoteKey(KmsClient client, KeyTag key, long version, TimeSpan timeout)
{
    public static TimeSpan DefaultTimeout { get; } = TimeSpan.FromSeconds(30);

    /// <summary>Finds the key once; from then on its tag counts, since a name can be taken by another key later.</summary>
    /// <exception cref="ArgumentException">The key is of another type.</exception>
    public static async Task<(RemoteKey Key, string PublicKey)> FindAsync(
        KmsClient client, string key, KeyType type, long? version, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(client);
        KeyDescription found = await client.GetKeyAsync(new KeyRequest { Key = key }, cancellationToken).ConfigureAwait(false);
        if (found.Type != type)
        {
            throw new ArgumentException(
                $"'{key}' is of type {Wire.KeyTypes[found.Type]}, not {Wire.KeyTypes[type]}.", nameof(key));
        }

        PublicKeyResult opened = await client.GetPublicKeyAsync(
            new GetPublicKeyRequest { Key = found.Tag, Version = version }, cancellationToken).ConfigureAwait(false);
        var remote = new RemoteKey(client, KeyTag.Parse(found.Tag), opened.KeyVersion, timeout ?? DefaultTimeout);
        return (remote, opened.PublicKey);
    }

    public KeyTag Tag => key;

    public long Version => version;

    /// <exception cref="CryptographicException">It failed, or the key has rotated: another version's signature fits no certificate.</exception>
    public byte[] Sign(byte[] digest, SignatureAlgorithm algorithm, SignatureEncoding? encoding)
    {
        if (digest.Length != Limits.DigestBytes)
        {
            throw new CryptographicException("kmsd signs SHA-256 digests: 32 bytes, not another hash's.");
        }

        var request = new SignRequest { Key = key.Text, Digest = digest, Algorithm = algorithm, Encoding = encoding };
        SignResult result = Wait(cancellation => client.SignAsync(request, cancellation));
        if (result.KeyVersion != version)
        {
            throw new CryptographicException(string.Create(
                CultureInfo.InvariantCulture,
                $"The key has rotated: version {result.KeyVersion} signs now, not {version}, whose public key this is. Open the key again."));
        }

        return VersionedText.TryRead(result.Signature, out long signed, out byte[]? signature) && signed == version
            ? signature
            : throw new CryptographicException("The daemon's signature has a form that this client doesn't know.");
    }

    /// <exception cref="CryptographicException">It doesn't decrypt, or the daemon refused.</exception>
    public byte[] Decrypt(ReadOnlySpan<byte> payload)
    {
        var request = new DecryptRequest { Key = key.Text, Ciphertext = VersionedText.Format(version, payload) };
        using DecryptResult result = Wait(cancellation => client.DecryptAsync(request, cancellation));
        return result.Plaintext.AsSpan().ToArray();
    }

    /// <summary>
    /// Waits for the daemon. The work starts on the thread pool and the client never returns to a caller's context, so no
    /// context is needed by what this thread waits for; the pool adds threads while its own are blocked here.
    /// </summary>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP013", Justification = "It is waited for before the disposal.")]
    [SuppressMessage("Usage", "VSTHRD002", Justification = "RSA and ECDsa are blocking by their nature; see above why this ends.")]
    private T Wait<T>(Func<CancellationToken, Task<T>> call)
    {
        using var patience = new CancellationTokenSource(timeout);
        CancellationToken cancellation = patience.Token;
        try
        {
            return Task.Run(() => call(cancellation), cancellation).GetAwaiter().GetResult();
        }
        catch (Exception exception) when (exception is KmsException or KmsUnreachableException or ObjectDisposedException)
        {
            throw new CryptographicException(exception.Message, exception);
        }
        catch (OperationCanceledException exception)
        {
            throw new CryptographicException(
                string.Create(CultureInfo.InvariantCulture, $"kmsd didn't answer within {timeout.TotalSeconds} seconds."), exception);
        }
    }
}
