using System.Formats.Asn1;
using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>Keys in the token: made, wrapped, unwrapped. Always session objects, private and sensitive.</summary>
internal static class TokenKeyObjects
{
    private const int AesLength = 32;

    // RFC 3394: one block of 8 bytes more.
    private const int WrappedAesLength = AesLength + 8;

    private static readonly CKA[] s_uses =
        [CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT, CKA.CKA_SIGN, CKA.CKA_VERIFY, CKA.CKA_WRAP, CKA.CKA_UNWRAP, CKA.CKA_DERIVE];

    // 65537, and the object identifier of prime256v1 (RFC 5480, section 2.1.1.1).
    private static readonly byte[] s_publicExponent = [1, 0, 1];
    private static readonly byte[] s_p256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

    /// <summary>What a type is in the token, and what a key of it may do, and nothing else.</summary>
    private sealed record Kind(CKO Class, CKK Type, CKM Generator, CKM Wrap, CKA[] May);

    private static readonly Kind s_aes = new(
        CKO.CKO_SECRET_KEY, CKK.CKK_AES, CKM.CKM_AES_KEY_GEN, CKM.CKM_AES_KEY_WRAP, [CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT]);

    // PKCS#8 is no multiple of 8 bytes: RFC 5649, or what the token takes for it, which the family stored beside a blob tells.
    private static readonly Kind s_rsa = new(
        CKO.CKO_PRIVATE_KEY, CKK.CKK_RSA, CKM.CKM_RSA_PKCS_KEY_PAIR_GEN, CKM.CKM_AES_KEY_WRAP_PAD, [CKA.CKA_DECRYPT, CKA.CKA_SIGN]);

    private static readonly Kind s_ecdsa = new(
        CKO.CKO_PRIVATE_KEY, CKK.CKK_EC, CKM.CKM_EC_KEY_PAIR_GEN, CKM.CKM_AES_KEY_WRAP_PAD, [CKA.CKA_SIGN]);

    public static void CheckType(TokenKeyType type) => _ = KindOf(type);

    public static string GeneratorName(TokenKeyType type) => KindOf(type).Generator.ToString();

    public static string WrapName(TokenKeyType type) => KindOf(type).Wrap.ToString();

    /// <summary>Makes a key, lets it give its proof, wraps it and destroys it.</summary>
    public static WrappedKey GenerateWrapped(Module module, ulong session, ulong wrapKey, TokenKeyProof proof)
    {
        List<ulong> made = [];
        try
        {
            (ulong key, byte[]? publicKey) = Generate(module, session, proof.Type, made);
            proof.Take(module, session, key, publicKey);
            return new WrappedKey(Wrap(module, session, wrapKey, proof.Type, key), WrapName(proof.Type), publicKey);
        }
        finally
        {
            foreach (ulong handle in made)
            {
                module.DestroyObject(session, handle);
            }
        }
    }

    /// <summary>Extractable, so that it can be wrapped, but sensitive: no other way leads out of the token.</summary>
    public static (ulong Key, byte[]? PublicKey) Generate(Module module, ulong session, TokenKeyType type, List<ulong> made)
    {
        Kind kind = KindOf(type);
        using Template template = PrivateTemplate(kind, isExtractable: true);
        if (type == TokenKeyType.Aes256)
        {
            ulong key = module.GenerateKey(session, kind.Generator, template.Add(CKA.CKA_VALUE_LEN, AesLength));
            made.Add(key);
            return (key, null);
        }

        using Template publicTemplate = new();
        _ = publicTemplate.Add(CKA.CKA_TOKEN, false).Add(CKA.CKA_PRIVATE, false).Add(CKA.CKA_VERIFY, true);
        _ = type == TokenKeyType.Rsa2048
            ? publicTemplate.Add(CKA.CKA_MODULUS_BITS, TokenKeyOperations.RsaLength * 8).Add(CKA.CKA_PUBLIC_EXPONENT, s_publicExponent)
            : publicTemplate.Add(CKA.CKA_EC_PARAMS, s_p256);
        (ulong publicHandle, ulong privateHandle) = module.GenerateKeyPair(session, kind.Generator, publicTemplate, template);
        made.Add(publicHandle);
        made.Add(privateHandle);
        return (privateHandle, type == TokenKeyType.Rsa2048 ? RsaPublicKey(module, session, publicHandle) : EcPublicKey(module, session, publicHandle));
    }

    public static byte[] Wrap(Module module, ulong session, ulong wrapKey, TokenKeyType type, ulong key) =>
        module.Wrap(session, KindOf(type).Wrap, wrapKey, key);

    /// <summary>The key, and for RSA its modulus.</summary>
    /// <param name="module">The module.</param>
    /// <param name="session">In which the key will live.</param>
    /// <param name="wrapKey">The generation's.</param>
    /// <param name="type">As it was made.</param>
    /// <param name="blob">As it was wrapped.</param>
    /// <param name="mechanism">By which it was wrapped.</param>
    /// <param name="goodBlob">An AES key under the same wrap key: tells a bad blob from a token that doesn't work.</param>
    /// <param name="isExtractable">By a wrap key, since it is sensitive all the same.</param>
    public static (ulong Key, byte[]? Modulus) Unwrap(
        Module module, ulong session, ulong wrapKey, TokenKeyType type, byte[] blob, string mechanism, byte[] goodBlob, bool isExtractable)
    {
        Kind kind = KindOf(type);
        CheckMechanism(kind, mechanism);
        if (type == TokenKeyType.Aes256 && blob.Length != WrappedAesLength)
        {
            throw new SealedBlobException();
        }

        ulong key;
        try
        {
            using Template template = UnwrapTemplate(kind, isExtractable);
            key = module.Unwrap(session, kind.Wrap, wrapKey, blob, template);
        }
        catch (Pkcs11Exception exception) when (MayMeanBadBlob((CKR)exception.ReturnValue) && Unwraps(module, session, wrapKey, goodBlob))
        {
            throw new SealedBlobException(exception);
        }

        try
        {
            return (key, CheckAttributes(module, session, type, kind, key, isExtractable));
        }
        catch
        {
            module.DestroyObject(session, key);
            throw;
        }
    }

    private static void CheckMechanism(Kind kind, string mechanism)
    {
        if (mechanism == kind.Wrap.ToString())
        {
            return;
        }

        // A mechanism of another type is a row that doesn't fit; one that nobody here makes comes from another version.
        bool isKnown = new[] { s_aes, s_rsa, s_ecdsa }.Any(other => mechanism == other.Wrap.ToString());
        throw isKnown
            ? new SealedBlobException()
            : new TokenException(TokenFault.Unsupported, $"A key was wrapped by {mechanism}, which this version doesn't know.");
    }

    private static Kind KindOf(TokenKeyType type) => type switch
    {
        TokenKeyType.Aes256 => s_aes,
        TokenKeyType.Rsa2048 => s_rsa,
        TokenKeyType.EcdsaP256 => s_ecdsa,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "No key has this type."),
    };

    private static Template UnwrapTemplate(Kind kind, bool isExtractable) =>
        PrivateTemplate(kind, isExtractable).Add(CKA.CKA_CLASS, kind.Class).Add(CKA.CKA_KEY_TYPE, kind.Type);

    private static Template PrivateTemplate(Kind kind, bool isExtractable)
    {
        Template template = new();
        _ = template.Add(CKA.CKA_TOKEN, false).Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_SENSITIVE, true)
            .Add(CKA.CKA_EXTRACTABLE, isExtractable);
        foreach (CKA use in s_uses.Where(use => IsKnownTo(kind, use)))
        {
            _ = template.Add(use, kind.May.Contains(use));
        }

        return template;
    }

    /// <summary>Private keys neither encrypt, verify nor wrap (PKCS#11 v2.40 §4.9).</summary>
    private static bool IsKnownTo(Kind kind, CKA use) =>
        kind.Class == CKO.CKO_SECRET_KEY || use is CKA.CKA_DECRYPT or CKA.CKA_SIGN or CKA.CKA_UNWRAP or CKA.CKA_DERIVE;

    /// <summary>SoftHSM says CKR_GENERAL_ERROR, and CKR_ARGUMENTS_BAD of a length; not a blob's fault is what the token can't do.</summary>
    private static bool MayMeanBadBlob(CKR result) =>
        result is not (CKR.CKR_MECHANISM_INVALID or CKR.CKR_MECHANISM_PARAM_INVALID or CKR.CKR_FUNCTION_NOT_SUPPORTED);

    private static bool Unwraps(Module module, ulong session, ulong wrapKey, byte[] goodBlob)
    {
        try
        {
            using Template template = UnwrapTemplate(s_aes, isExtractable: false);
            module.DestroyObject(session, module.Unwrap(session, s_aes.Wrap, wrapKey, goodBlob, template));
            return true;
        }
        catch (Pkcs11Exception)
        {
            return false;
        }
    }

    /// <summary>Reads back what was asked for (some tokens hand out keys that can be read), and what kind of key it is.</summary>
    private static byte[]? CheckAttributes(Module module, ulong session, TokenKeyType type, Kind kind, ulong key, bool isExtractable)
    {
        foreach ((CKA attribute, byte expected) in new[]
        {
            (CKA.CKA_PRIVATE, (byte)1), (CKA.CKA_SENSITIVE, (byte)1), (CKA.CKA_EXTRACTABLE, isExtractable ? (byte)1 : (byte)0), (CKA.CKA_TOKEN, (byte)0),
        })
        {
            if (module.Attribute(session, key, attribute) is not [byte flag] || (flag != 0) != (expected != 0))
            {
                throw new TokenException(
                    TokenFault.Unsupported, $"The token doesn't protect an unwrapped key: {attribute} isn't {(expected != 0 ? "true" : "false")}.");
            }
        }

        byte[]? modulus = type == TokenKeyType.Rsa2048 ? module.Attribute(session, key, CKA.CKA_MODULUS) : null;
        bool isOfKind = module.Attribute(session, key, CKA.CKA_KEY_TYPE) is byte[] found
            && BitConverter.ToUInt64(found) == (ulong)kind.Type
            && (type != TokenKeyType.Rsa2048 || modulus?.Length == TokenKeyOperations.RsaLength)
            && (type != TokenKeyType.EcdsaP256
                || module.Attribute(session, key, CKA.CKA_EC_PARAMS) is byte[] curve && curve.AsSpan().SequenceEqual(s_p256));
        return isOfKind ? modulus : throw new SealedBlobException();
    }

    private static byte[] RsaPublicKey(Module module, ulong session, ulong key)
    {
        using var rsa = RSA.Create(new RSAParameters
        {
            Modulus = Required(module, session, key, CKA.CKA_MODULUS),
            Exponent = Required(module, session, key, CKA.CKA_PUBLIC_EXPONENT),
        });
        return rsa.ExportSubjectPublicKeyInfo();
    }

    /// <summary>CKA_EC_POINT is an OCTET STRING (PKCS#11 v2.40 §2.3.3); some tokens give the bare point.</summary>
    private static byte[] EcPublicKey(Module module, ulong session, ulong key)
    {
        const int PointLength = 65;
        byte[] value = Required(module, session, key, CKA.CKA_EC_POINT);
        byte[] point = value.Length == PointLength ? value : AsnDecoder.ReadOctetString(value, AsnEncodingRules.DER, out _);
        using var ecdsa = ECDsa.Create(new ECParameters
        {
            Curve = ECCurve.NamedCurves.nistP256,
            Q = new ECPoint { X = point[1..33], Y = point[33..PointLength] },
        });
        return ecdsa.ExportSubjectPublicKeyInfo();
    }

    private static byte[] Required(Module module, ulong session, ulong key, CKA attribute) =>
        module.Attribute(session, key, attribute)
            ?? throw new TokenException(TokenFault.Unsupported, $"The token doesn't say what a public key's {attribute} is.");
}
