using System.Security.Cryptography;
using System.Text;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>
/// A generation of the root key, proven to be the one the database was made with: its seal key carries material, its mac key
/// derives the keys that vouch for the database. Lives as long as its token.
/// </summary>
public sealed class RootGeneration
{
    private readonly Token _token;
    private readonly RootGenerationDescriptor _descriptor;
    private readonly RootKeyHandles _keys;

    internal RootGeneration(Token token, RootGenerationDescriptor descriptor, RootKeyHandles keys)
    {
        _token = token;
        _descriptor = descriptor;
        _keys = keys;
    }

    /// <summary>From 1.</summary>
    public uint Number => _descriptor.Number;

    /// <summary>Seals material in the token.</summary>
    /// <param name="material">Stays the caller's.</param>
    /// <param name="additionalData">What it belongs to; needed again to open it.</param>
    /// <returns>28 bytes longer than the material.</returns>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public byte[] Seal(SecretBytes material, ReadOnlySpan<byte> additionalData)
    {
        ArgumentNullException.ThrowIfNull(material);
        byte[] plaintext = GC.AllocateUninitializedArray<byte>(material.Length, pinned: true);
        byte[] data = additionalData.ToArray();
        try
        {
            using (SecretLease lease = material.Open())
            {
                lease.Bytes.CopyTo(plaintext);
            }

            return _token.Operate(session => SealedBlob.Seal(_token.Module, session, _keys.Seal, plaintext, data));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plaintext);
        }
    }

    /// <summary>Opens sealed material; the caller owns it.</summary>
    /// <param name="blob">As <see cref="Seal"/> made it.</param>
    /// <param name="additionalData">As it was given then.</param>
    /// <exception cref="SealedBlobException">It doesn't authenticate.</exception>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public SecretBytes Open(ReadOnlySpan<byte> blob, ReadOnlySpan<byte> additionalData)
    {
        byte[] copy = blob.ToArray();
        byte[] data = additionalData.ToArray();
        return _token.Operate(session => SealedBlob.Open(_token.Module, session, _keys.Seal, copy, data));
    }

    /// <summary>
    /// A 32-byte key for one use: HMAC-SHA-256 in the token, under the mac key, over label, instance id and generation, each
    /// with its length as a big-endian u32 before it.
    /// </summary>
    /// <param name="label">Names the use; one label, one use.</param>
    /// <returns>The caller owns it.</returns>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public SecretBytes DeriveKey(string label)
    {
        ArgumentException.ThrowIfNullOrEmpty(label);
        return new SecretBytes(_token.Operate(session => Derive(_token.Module, session, _keys.Mac, label, _descriptor.InstanceId, Number)));
    }

    /// <summary>As <see cref="DeriveKey"/>, by a mac key that was found.</summary>
    internal static byte[] Derive(Module module, ulong session, ulong mac, string label, ReadOnlySpan<byte> instanceId, uint number)
    {
        byte[] input = LengthPrefixed.Join(Encoding.UTF8.GetBytes(label), instanceId.ToArray(), LengthPrefixed.Number(number));
        return module.Sign(session, CKM.CKM_SHA256_HMAC, mac, input, HMACSHA256.HashSizeInBytes);
    }

    /// <summary>
    /// Makes a key in the token, and wraps it by the wrap key. The key that was made is destroyed; what is handed out was
    /// unwrapped from the blob, can't be extracted, and was seen to do what the other, or its public key, expects of it.
    /// </summary>
    /// <param name="type">What it is for.</param>
    /// <param name="wrapped">To be kept: from it <see cref="UnwrapKey(TokenKeyType, ReadOnlySpan{byte}, string)"/> makes the key again.</param>
    /// <returns>The caller owns it.</returns>
    /// <exception cref="TokenException">The token refuses, lacks a mechanism or doesn't answer.</exception>
    public TokenKey GenerateKey(TokenKeyType type, out WrappedKey wrapped)
    {
        TokenKeyObjects.CheckType(type);
        using TokenKeyProof proof = new(type);
        WrappedKey made = _token.Operate(session => TokenKeyObjects.GenerateWrapped(_token.Module, session, _keys.Wrap, proof));
        TokenKey key = UnwrapKey(type, made.Blob, made.Mechanism);
        try
        {
            proof.Check(key);
        }
        catch
        {
            key.Dispose();
            throw;
        }

        wrapped = made;
        return key;
    }

    /// <summary>Unwraps a key into the token: private, sensitive and not extractable, which is read back.</summary>
    /// <param name="type">As it was made.</param>
    /// <param name="blob">As it was wrapped.</param>
    /// <param name="mechanism">By which it was wrapped.</param>
    /// <returns>The caller owns it. Undisposed it stays in the token until the token is closed.</returns>
    /// <exception cref="SealedBlobException">The blob is none of this generation's, or of another type or mechanism.</exception>
    /// <exception cref="TokenException">The mechanism isn't known, or the token doesn't answer or doesn't protect the key.</exception>
    public TokenKey UnwrapKey(TokenKeyType type, ReadOnlySpan<byte> blob, string mechanism) => UnwrapKey(type, blob, mechanism, isExtractable: false);

    /// <summary>Unwraps a key so that another generation can wrap it: private and sensitive, but extractable, which means by a wrap key alone.</summary>
    /// <inheritdoc cref="UnwrapKey(TokenKeyType, ReadOnlySpan{byte}, string)"/>
    public TokenKey UnwrapKeyToWrap(TokenKeyType type, ReadOnlySpan<byte> blob, string mechanism) => UnwrapKey(type, blob, mechanism, isExtractable: true);

    /// <summary>Wraps a key that another generation unwrapped for that.</summary>
    /// <param name="key">By <see cref="UnwrapKeyToWrap"/>; stays the caller's.</param>
    /// <returns>The blob, and the name of the mechanism.</returns>
    /// <exception cref="TokenException">The token refuses or doesn't answer.</exception>
    public (byte[] Blob, string Mechanism) WrapKey(TokenKey key)
    {
        ArgumentNullException.ThrowIfNull(key);
        return (key.Wrap(_keys.Wrap), TokenKeyObjects.WrapName(key.Type));
    }

    private TokenKey UnwrapKey(TokenKeyType type, ReadOnlySpan<byte> blob, string mechanism, bool isExtractable)
    {
        TokenKeyObjects.CheckType(type);
        byte[] copy = blob.ToArray();
        KeySession keys = _token.Keys;
        (ulong handle, byte[]? modulus) = _token.InKeySession(
            keys, session => TokenKeyObjects.Unwrap(_token.Module, session, _keys.Wrap, type, copy, mechanism, _descriptor.WrapCheck, isExtractable));
        return new TokenKey(_token, keys, type, handle, modulus);
    }
}
