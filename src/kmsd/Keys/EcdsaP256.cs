using System.Formats.Asn1;
using System.Numerics;
using System.Security.Cryptography;
using Kms.Hsm;

namespace Kmsd.Keys;

/// <summary>
/// ECDSA on P-256 over SHA-256 digests (FIPS 186-5, section 6), in software. The material is the private key as PKCS#8 DER
/// (RFC 5915 in RFC 5208's PrivateKeyInfo, with the public key), always of one layout; the public key is SubjectPublicKeyInfo DER.
/// </summary>
internal static class EcdsaP256
{
    /// <summary>Of r and of s, and of a coordinate.</summary>
    public const int FieldLength = 32;

    /// <summary>Of a signature in the P1363 encoding: r ‖ s.</summary>
    public const int P1363Length = 2 * FieldLength;

    // n of P-256: SP 800-186, section 3.2.1.3.
    private static ReadOnlySpan<byte> Order =>
    [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];

    // PrivateKeyInfo { 0, { ecPublicKey, prime256v1 }, ECPrivateKey { 1, d, [1] publicKey } }: all but d and the point.
    private static ReadOnlySpan<byte> BeforeScalar =>
    [
        0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
        0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
    ];

    private static ReadOnlySpan<byte> BeforePoint => [0xa1, 0x44, 0x03, 0x42, 0x00, 0x04];

    private static int MaterialLength => BeforeScalar.Length + FieldLength + BeforePoint.Length + (2 * FieldLength);

    /// <summary>A fresh key; the caller owns the material.</summary>
    public static SecretBytes NewMaterial(out byte[] publicKey)
    {
        byte[] scalar = GC.AllocateUninitializedArray<byte>(FieldLength, pinned: true);
        try
        {
            // FIPS 186-5, appendix A.2.2: candidates until one is in [1, n − 1]. .NET would export its own through arrays
            // that a collection may copy.
            do
            {
                RandomNumberGenerator.Fill(scalar);
            }
            while (!IsScalar(scalar));

            using var ecdsa = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, D = scalar });
            publicKey = ecdsa.ExportSubjectPublicKeyInfo();
            ECPoint point = ecdsa.ExportParameters(includePrivateParameters: false).Q;
            return new SecretBytes(MaterialLength, material => Write(material, scalar, point));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(scalar);
        }
    }

    /// <summary>Whether the public key belongs to the private one.</summary>
    /// <param name="key">As <see cref="NewMaterial"/> made it.</param>
    /// <param name="publicKey">As it was made with the key.</param>
    public static bool IsPair(SecretBytes key, ReadOnlySpan<byte> publicKey)
    {
        using ECDsa ecdsa = Private(key);
        return ecdsa.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(publicKey);
    }

    /// <param name="key">As <see cref="NewMaterial"/> made it.</param>
    /// <param name="digest">SHA-256 of the message.</param>
    /// <param name="encoding">DER or P1363.</param>
    public static byte[] Sign(SecretBytes key, ReadOnlySpan<byte> digest, DSASignatureFormat encoding)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(digest.Length, SHA256.HashSizeInBytes);
        byte[] signature = new byte[P1363Length];
        using ECDsa ecdsa = Private(key);
        return ecdsa.TrySignHash(digest, signature, DSASignatureFormat.IeeeP1363FixedFieldConcatenation, out int length)
            && length == P1363Length
                ? Encode(signature, encoding)
                : throw new InvalidOperationException("An ECDSA signature on P-256 isn't 64 bytes long.");
    }

    /// <summary>A signature in another encoding than the module's and .NET's P1363.</summary>
    public static byte[] Encode(ReadOnlySpan<byte> p1363, DSASignatureFormat encoding)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(p1363.Length, P1363Length);
        if (encoding == DSASignatureFormat.IeeeP1363FixedFieldConcatenation)
        {
            return p1363.ToArray();
        }

        AsnWriter writer = new(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteInteger(new BigInteger(p1363[..FieldLength], isUnsigned: true, isBigEndian: true));
            writer.WriteInteger(new BigInteger(p1363[FieldLength..], isUnsigned: true, isBigEndian: true));
        }

        return writer.Encode();
    }

    /// <summary>DER is read strictly (X.690, section 10): one signature has one encoding.</summary>
    public static bool Verify(
        ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> digest, ReadOnlySpan<byte> signature, DSASignatureFormat encoding)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(digest.Length, SHA256.HashSizeInBytes);
        Span<byte> p1363 = stackalloc byte[P1363Length];
        if (encoding == DSASignatureFormat.IeeeP1363FixedFieldConcatenation && signature.Length == P1363Length)
        {
            signature.CopyTo(p1363);
        }
        else if (encoding != DSASignatureFormat.Rfc3279DerSequence || !TryReadDer(signature, p1363))
        {
            return false;
        }

        using var ecdsa = ECDsa.Create();
        ecdsa.ImportSubjectPublicKeyInfo(publicKey, out _);
        return ecdsa.VerifyHash(digest, p1363, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }

    private static bool TryReadDer(ReadOnlySpan<byte> der, Span<byte> p1363)
    {
        try
        {
            AsnDecoder.ReadSequence(der, AsnEncodingRules.DER, out int start, out int length, out int read);
            ReadOnlySpan<byte> content = der.Slice(start, length);
            ReadOnlySpan<byte> r = AsnDecoder.ReadIntegerBytes(content, AsnEncodingRules.DER, out int rLength);
            ReadOnlySpan<byte> s = AsnDecoder.ReadIntegerBytes(content[rLength..], AsnEncodingRules.DER, out int sLength);
            return read == der.Length && rLength + sLength == content.Length
                && TryReadField(r, p1363[..FieldLength]) && TryReadField(s, p1363[FieldLength..]);
        }
        catch (AsnContentException)
        {
            return false;
        }
    }

    /// <summary>False for what is negative or has more than 32 bytes; OpenSSL refuses zero and what isn't below n.</summary>
    private static bool TryReadField(ReadOnlySpan<byte> integer, Span<byte> field)
    {
        ReadOnlySpan<byte> value = integer.Length > 1 && integer[0] == 0 ? integer[1..] : integer;
        if (value.Length > FieldLength || (integer[0] & 0x80) != 0)
        {
            return false;
        }

        value.CopyTo(field[^value.Length..]);
        return true;
    }

    private static ECDsa Private(SecretBytes key)
    {
        byte[] scalar = GC.AllocateUninitializedArray<byte>(FieldLength, pinned: true);
        try
        {
            using SecretLease lease = key.Open();
            if (lease.Bytes.Length != MaterialLength || !lease.Bytes.StartsWith(BeforeScalar))
            {
                throw new CryptographicException("The material is no private key of P-256.");
            }

            lease.Bytes.Slice(BeforeScalar.Length, FieldLength).CopyTo(scalar);
            ReadOnlySpan<byte> point = lease.Bytes[^(2 * FieldLength)..];
            return ECDsa.Create(new ECParameters
            {
                Curve = ECCurve.NamedCurves.nistP256,
                D = scalar,
                Q = new ECPoint { X = point[..FieldLength].ToArray(), Y = point[FieldLength..].ToArray() },
            });
        }
        finally
        {
            CryptographicOperations.ZeroMemory(scalar);
        }
    }

    private static void Write(Span<byte> material, ReadOnlySpan<byte> scalar, ECPoint point)
    {
        BeforeScalar.CopyTo(material);
        Span<byte> rest = material[BeforeScalar.Length..];
        scalar.CopyTo(rest);
        rest = rest[FieldLength..];
        BeforePoint.CopyTo(rest);
        rest = rest[BeforePoint.Length..];
        point.X.CopyTo(rest);
        point.Y.CopyTo(rest[FieldLength..]);
    }

    /// <summary>1 ≤ d &lt; n, without a branch on its bytes but for the answer.</summary>
    private static bool IsScalar(ReadOnlySpan<byte> candidate)
    {
        int borrow = 0;
        int some = 0;
        for (int i = FieldLength - 1; i >= 0; i--)
        {
            borrow = ((candidate[i] - Order[i] - borrow) >> 8) & 1;
            some |= candidate[i];
        }

        return borrow == 1 && some != 0;
    }
}
