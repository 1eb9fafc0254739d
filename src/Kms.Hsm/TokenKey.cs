using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>
/// A key that lives in the token as a session object and is used there; its bytes never leave it. Safe for many threads.
/// Disposal refuses new operations at once, and destroys the object as soon as the last running one has ended. After a lost
/// session it is gone, and every operation says <see cref="TokenFault.Unavailable"/>.
/// </summary>
public sealed class TokenKey : IDisposable
{
    private readonly Token _token;
    private readonly KeySession _keys;
    private readonly ulong _handle;
    private readonly byte[]? _modulus;
    private readonly Lock _lock = new();
    private int _uses;
    private bool _isDisposed;

    internal TokenKey(Token token, KeySession keys, TokenKeyType type, ulong handle, byte[]? modulus)
    {
        _token = token;
        _keys = keys;
        Type = type;
        _handle = handle;
        _modulus = modulus;
    }

    /// <summary>What it is for.</summary>
    public TokenKeyType Type { get; }

    /// <summary>True once the session in which it lived was lost: then it is gone, and must be unwrapped again.</summary>
    public bool IsLost => _keys.IsLost;

    internal ulong Handle => _handle;

    /// <summary>AES-256-GCM under a fresh nonce of the kernel's random.</summary>
    /// <param name="plaintext">May be empty: then the payload is a nonce and a tag over the additional data.</param>
    /// <param name="additionalData">Needed again to decrypt.</param>
    /// <returns>nonce ‖ ciphertext ‖ tag: 28 bytes longer than the plaintext.</returns>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public byte[] Encrypt(ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> additionalData)
    {
        Demand(TokenKeyType.Aes256);
        using CallBuffer input = new(plaintext);
        byte[] data = additionalData.ToArray();
        return Use((module, session) => TokenKeyOperations.EncryptGcm(module, session, _handle, input, data));
    }

    /// <summary>Opens what <see cref="Encrypt"/> made.</summary>
    /// <param name="payload">nonce ‖ ciphertext ‖ tag.</param>
    /// <param name="additionalData">As it was given then.</param>
    /// <param name="plaintext">28 bytes shorter than the payload; not touched unless the payload authenticates.</param>
    /// <exception cref="SealedBlobException">It doesn't authenticate.</exception>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public void Decrypt(ReadOnlySpan<byte> payload, ReadOnlySpan<byte> additionalData, Span<byte> plaintext)
    {
        Demand(TokenKeyType.Aes256);
        if (payload.Length < TokenKeyOperations.GcmOverhead)
        {
            throw new SealedBlobException();
        }

        ArgumentOutOfRangeException.ThrowIfNotEqual(plaintext.Length, payload.Length - TokenKeyOperations.GcmOverhead);
        using CallBuffer output = new(payload.Length);
        byte[] copy = payload.ToArray();
        byte[] data = additionalData.ToArray();
        _ = Use((module, session) =>
        {
            Open(() => TokenKeyOperations.DecryptGcm(module, session, _handle, copy, data, output));
            return true;
        });
        output.Span[..plaintext.Length].CopyTo(plaintext);
    }

    /// <summary>The key, wrapped by another; only of one that was unwrapped for that.</summary>
    internal byte[] Wrap(ulong wrapKey) => Use((module, session) => TokenKeyObjects.Wrap(module, session, wrapKey, Type, _handle));

    /// <summary>The raw private operation of RSA. What it gives is a secret whose padding must be read in constant time.</summary>
    /// <param name="ciphertext">256 bytes, as a number below the modulus.</param>
    /// <param name="encoded">256 bytes.</param>
    /// <exception cref="SealedBlobException">The ciphertext is no number below the modulus.</exception>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public void DecryptRaw(ReadOnlySpan<byte> ciphertext, Span<byte> encoded)
    {
        Demand(TokenKeyType.Rsa2048);
        ArgumentOutOfRangeException.ThrowIfNotEqual(encoded.Length, TokenKeyOperations.RsaLength);
        if (ciphertext.Length != TokenKeyOperations.RsaLength || ciphertext.SequenceCompareTo(_modulus) >= 0)
        {
            throw new SealedBlobException();
        }

        byte[] copy = ciphertext.ToArray();
        using CallBuffer output = new(TokenKeyOperations.RsaLength);
        _ = Use((module, session) =>
        {
            TokenKeyOperations.DecryptRaw(module, session, _handle, copy, output);
            return true;
        });
        output.Span.CopyTo(encoded);
    }

    /// <summary>RSASSA-PSS with MGF1-SHA-256 and a salt of 32 bytes (RFC 8017, section 8.1).</summary>
    /// <param name="digest">SHA-256 of the message.</param>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public byte[] SignPss(ReadOnlySpan<byte> digest) => Sign(TokenKeyType.Rsa2048, digest, TokenKeyOperations.SignPss);

    /// <summary>RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2).</summary>
    /// <param name="digest">SHA-256 of the message.</param>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public byte[] SignPkcs1(ReadOnlySpan<byte> digest) => Sign(TokenKeyType.Rsa2048, digest, TokenKeyOperations.SignPkcs1);

    /// <summary>ECDSA (FIPS 186-5, section 6); r ‖ s, 64 bytes.</summary>
    /// <param name="digest">SHA-256 of the message.</param>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public byte[] SignEcdsa(ReadOnlySpan<byte> digest) => Sign(TokenKeyType.EcdsaP256, digest, TokenKeyOperations.SignEcdsa);

    /// <summary>Ends use at once, and the object in the token with the last running operation.</summary>
    public void Dispose()
    {
        bool isLast;
        lock (_lock)
        {
            isLast = !_isDisposed && _uses == 0;
            _isDisposed = true;
        }

        if (isLast)
        {
            Destroy();
        }
    }

    private byte[] Sign(TokenKeyType type, ReadOnlySpan<byte> digest, Func<Module, ulong, ulong, byte[], byte[]> sign)
    {
        Demand(type);
        ArgumentOutOfRangeException.ThrowIfNotEqual(digest.Length, SHA256.HashSizeInBytes);
        byte[] copy = digest.ToArray();
        return Use((module, session) => sign(module, session, _handle, copy));
    }

    private void Demand(TokenKeyType type)
    {
        if (Type != type)
        {
            throw new InvalidOperationException($"A key of type {Type} doesn't do what one of type {type} does.");
        }
    }

    private T Use<T>(Func<Module, ulong, T> operation)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            _uses++;
        }

        try
        {
            return _token.Operate(session =>
            {
                // Within the gate: what is lost stays lost.
                _keys.ThrowIfLost();
                return operation(_token.Module, session);
            });
        }
        finally
        {
            EndUse();
        }
    }

    private void EndUse()
    {
        bool isLast;
        lock (_lock)
        {
            _uses--;
            isLast = _isDisposed && _uses == 0;
        }

        if (isLast)
        {
            Destroy();
        }
    }

    /// <summary>A token that can't destroy it now does so with the next call for any key; one that is gone has no keys.</summary>
    private void Destroy()
    {
        _keys.Condemn(_handle);
        try
        {
            _ = _token.InKeySession(_keys, _ => true);
        }
        catch (Exception exception) when (exception is TokenException or ObjectDisposedException)
        {
            // Nobody who disposes could do anything about it.
        }
    }

    /// <summary>A wrong tag has no code of its own (SoftHSM: CKR_GENERAL_ERROR), so the token is asked whether the key still is.</summary>
    private void Open(Action decrypt)
    {
        try
        {
            decrypt();
        }
        catch (Pkcs11Exception exception) when (exception.Function == "C_Decrypt" && SealedBlob.MayMeanBadTag((CKR)exception.ReturnValue))
        {
            _keys.NoteLoss();
            _keys.ThrowIfLost();
            throw new SealedBlobException(exception);
        }
    }
}
