using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>Root generations whose values come from outside: from a ceremony, or from its shares.</summary>
internal static partial class RootKeyObjects
{
    private const int CarrierBits = 2048;

    private static readonly byte[] s_proofText = "kmsd/v1/proof/seal: thirty-two b"u8.ToArray();
    private static readonly byte[] s_proofData = "kmsd/v1/proof/seal"u8.ToArray();

    /// <summary>Puts the keys that were planned into the token. Half of them never stays, unless the process dies.</summary>
    /// <param name="module">The module.</param>
    /// <param name="session">Of this call's own.</param>
    /// <param name="planned">Its ids and labels.</param>
    /// <param name="values">Stay the caller's.</param>
    /// <param name="isWrapped">By C_UnwrapKey alone, as for a token that takes no plain value.</param>
    /// <param name="tokenFamily">Stored with the check values.</param>
    public static RootGenerationDescriptor Import(
        Module module, ulong session, RootGenerationDescriptor planned, RootKeyValues values, bool isWrapped, string tokenFamily)
    {
        List<ulong> made = [];
        try
        {
            RootKeyHandles keys = Put(module, session, planned, values, isWrapped, stays: true, made);
            return WithChecks(module, session, planned, keys, tokenFamily);
        }
        catch
        {
            DestroyAll(module, session, made);
            throw;
        }
    }

    /// <summary>Puts keys back under the descriptor that they had, and proves by it that they are the ones.</summary>
    public static RootKeyHandles Restore(Module module, ulong session, RootGenerationDescriptor descriptor, RootKeyValues values, bool isWrapped)
    {
        List<ulong> made = [];
        try
        {
            _ = Put(module, session, descriptor, values, isWrapped, stays: true, made);
            return Open(module, session, descriptor);
        }
        catch
        {
            DestroyAll(module, session, made);
            throw;
        }
    }

    /// <summary>
    /// True if the values are those of a generation: each key gives the same as the token's, and what one has sealed the other
    /// opens. Compared in the token, with keys that live for this session only.
    /// </summary>
    public static bool Proves(Module module, ulong session, RootKeyHandles keys, RootGenerationDescriptor descriptor, RootKeyValues values, bool isWrapped)
    {
        List<ulong> made = [];
        try
        {
            return AreSame(module, session, keys, Put(module, session, descriptor, values, isWrapped, stays: false, made));
        }
        finally
        {
            DestroyAll(module, session, made);
        }
    }

    /// <summary>True if two sets of values are the same keys to the token, which keeps neither.</summary>
    public static bool AreSame(Module module, ulong session, RootGenerationDescriptor planned, RootKeyValues one, RootKeyValues other, bool isWrapped)
    {
        List<ulong> made = [];
        try
        {
            RootKeyHandles keys = Put(module, session, planned, one, isWrapped, stays: false, made);
            return Proves(module, session, keys, planned, other, isWrapped);
        }
        finally
        {
            DestroyAll(module, session, made);
        }
    }

    private static bool AreSame(Module module, ulong session, RootKeyHandles one, RootKeyHandles other)
    {
        byte[] mac = module.Sign(session, CKM.CKM_SHA256_HMAC, one.Mac, s_macCheckText, HMACSHA256.HashSizeInBytes);
        byte[] otherMac = module.Sign(session, CKM.CKM_SHA256_HMAC, other.Mac, s_macCheckText, HMACSHA256.HashSizeInBytes);
        return CryptographicOperations.FixedTimeEquals(mac, otherMac)
            && WrapCheck(module, session, one.Wrap).AsSpan().SequenceEqual(WrapCheck(module, session, other.Wrap))
            && Carries(module, session, one.Seal, other.Seal)
            && Carries(module, session, other.Seal, one.Seal);
    }

    /// <summary>What one key seals the other opens.</summary>
    private static bool Carries(Module module, ulong session, ulong from, ulong to)
    {
        byte[] blob = SealedBlob.Seal(module, session, from, s_proofText, s_proofData);
        try
        {
            using SecretBytes text = SealedBlob.Open(module, session, to, blob, s_proofData);
            using SecretLease lease = text.Open();
            return lease.Bytes.SequenceEqual(s_proofText);
        }
        catch (SealedBlobException)
        {
            return false;
        }
    }

    private static RootKeyHandles Put(
        Module module, ulong session, RootGenerationDescriptor planned, RootKeyValues values, bool isWrapped, bool stays, List<ulong> made)
    {
        using Carrier? carrier = isWrapped ? new Carrier(module, session) : null;
        Carrier? occasion = null;
        try
        {
            return new RootKeyHandles(
                PutOne(s_wrap, planned.WrapKeyId, values.Wrap),
                PutOne(s_seal, planned.SealKeyId, values.Seal),
                PutOne(s_mac, planned.MacKeyId, values.Mac));
        }
        finally
        {
            occasion?.Dispose();
        }

        ulong PutOne(Role role, byte[] id, SecretBytes value)
        {
            if (value.Length != KeyLength)
            {
                throw new ArgumentException($"A key of the root has {KeyLength} bytes.", nameof(values));
            }

            if (carrier is not null)
            {
                return Make(module, session, role, planned, id, stays, made, template => carrier.Unwrap(value, template));
            }

            try
            {
                return Make(module, session, role, planned, id, stays, made, template => Create(module, session, value, template));
            }
            catch (Pkcs11Exception exception) when (exception.Function == "C_CreateObject")
            {
                // Tokens that take no plain value say so in many ways; if it was something else, the other way fails as well.
                occasion ??= new Carrier(module, session);
                return Make(module, session, role, planned, id, stays, made, template => occasion.Unwrap(value, template));
            }
        }
    }

    private static ulong Create(Module module, ulong session, SecretBytes value, Template template)
    {
        using SecretLease lease = value.Open();
        return module.CreateObject(session, template.Add(CKA.CKA_VALUE, lease.Bytes));
    }

    private static void DestroyAll(Module module, ulong session, List<ulong> made)
    {
        foreach (ulong key in made)
        {
            module.DestroyObject(session, key);
        }
    }

    /// <summary>An RSA pair that the token makes for the occasion: what is encrypted to it, the token unwraps into a key.</summary>
    private sealed class Carrier : IDisposable
    {
        private readonly Module _module;
        private readonly ulong _session;
        private readonly ulong _public;
        private readonly ulong _private;
        private readonly RSA _rsa;

        [SuppressMessage("Security", "CA5350", Justification = "OAEP with SHA-1 is what tokens know; it needs no resistance to collisions.")]
        private static readonly (RSAEncryptionPadding Padding, Func<Mechanism> Mechanism)[] s_ways =
        [
            (RSAEncryptionPadding.OaepSHA1, Mechanism.RsaOaepSha1),
            (RSAEncryptionPadding.Pkcs1, () => new Mechanism(CKM.CKM_RSA_PKCS)),
        ];

        public Carrier(Module module, ulong session)
        {
            _module = module;
            _session = session;
            using Template publicKey = new();
            using Template privateKey = new();
            _ = publicKey.Add(CKA.CKA_TOKEN, false).Add(CKA.CKA_WRAP, true).Add(CKA.CKA_ENCRYPT, true).Add(CKA.CKA_VERIFY, false)
                .Add(CKA.CKA_MODULUS_BITS, CarrierBits).Add(CKA.CKA_PUBLIC_EXPONENT, [1, 0, 1]);
            _ = privateKey.Add(CKA.CKA_TOKEN, false).Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_SENSITIVE, true).Add(CKA.CKA_EXTRACTABLE, false)
                .Add(CKA.CKA_UNWRAP, true).Add(CKA.CKA_DECRYPT, false).Add(CKA.CKA_SIGN, false);
            (_public, _private) = module.GenerateKeyPair(session, CKM.CKM_RSA_PKCS_KEY_PAIR_GEN, publicKey, privateKey);
            try
            {
                _rsa = RSA.Create(new RSAParameters
                {
                    Modulus = module.Attribute(session, _public, CKA.CKA_MODULUS),
                    Exponent = module.Attribute(session, _public, CKA.CKA_PUBLIC_EXPONENT),
                });
            }
            catch
            {
                Destroy();
                throw;
            }
        }

        public ulong Unwrap(SecretBytes value, Template template)
        {
            for (int way = 0; ; way++)
            {
                byte[] wrapped;
                using (SecretLease lease = value.Open())
                {
                    wrapped = _rsa.Encrypt(lease.Bytes, s_ways[way].Padding);
                }

                using Mechanism mechanism = s_ways[way].Mechanism();
                try
                {
                    return _module.Unwrap(_session, mechanism, _private, wrapped, template);
                }
                catch (Pkcs11Exception exception) when (way + 1 < s_ways.Length
                    && (CKR)exception.ReturnValue is CKR.CKR_MECHANISM_INVALID or CKR.CKR_MECHANISM_PARAM_INVALID)
                {
                    // The older padding, then.
                }
            }
        }

        public void Dispose()
        {
            _rsa.Dispose();
            Destroy();
        }

        private void Destroy()
        {
            _module.DestroyObject(_session, _public);
            _module.DestroyObject(_session, _private);
        }
    }
}
