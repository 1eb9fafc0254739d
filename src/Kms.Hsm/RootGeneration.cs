using System.Security.Cryptography;
using System.Text;
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
        byte[] input = LengthPrefixed.Join(Encoding.UTF8.GetBytes(label), _descriptor.InstanceId, LengthPrefixed.Number(Number));
        return new SecretBytes(_token.Operate(
            session => _token.Module.Sign(session, CKM.CKM_SHA256_HMAC, _keys.Mac, input, HMACSHA256.HashSizeInBytes)));
    }
}
