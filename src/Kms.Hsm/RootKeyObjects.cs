using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>The handles of a generation's three keys.</summary>
internal readonly record struct RootKeyHandles(ulong Wrap, ulong Seal, ulong Mac);

/// <summary>The objects of root generations in a token: made, found, proven, destroyed.</summary>
internal static partial class RootKeyObjects
{
    public const CKM WrapMechanism = CKM.CKM_AES_KEY_WRAP;

    private const string LabelPrefix = "kmsd-root-";
    private const int KeyLength = 32;
    private const int IdLength = 16;

    private static readonly byte[] s_macCheckText = "kmsd/v1/check/mac"u8.ToArray();
    private static readonly byte[] s_sealCheckText = "kmsd/v1/check/seal: thirty-two b"u8.ToArray();
    private static readonly byte[] s_sealCheckData = "kmsd/v1/check/seal"u8.ToArray();

    // A public constant, not a secret: wrapped, it tells one wrap key from another.
    private static readonly byte[] s_wrapCheckKey = "kmsd/v1/check/wrap: thirty-two b"u8.ToArray();

    /// <summary>What a key may do, and nothing else (PKCS#11 v2.40 §4.9).</summary>
    private sealed record Role(string Name, CKK Type, CKM Generator, CKA[] May);

    private static readonly Role s_wrap = new("wrap", CKK.CKK_AES, CKM.CKM_AES_KEY_GEN, [CKA.CKA_WRAP, CKA.CKA_UNWRAP]);
    private static readonly Role s_seal = new("seal", CKK.CKK_AES, CKM.CKM_AES_KEY_GEN, [CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT]);
    private static readonly Role s_mac = new(
        "mac", CKK.CKK_GENERIC_SECRET, CKM.CKM_GENERIC_SECRET_KEY_GEN, [CKA.CKA_SIGN, CKA.CKA_VERIFY]);

    private static readonly CKA[] s_uses =
        [CKA.CKA_WRAP, CKA.CKA_UNWRAP, CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT, CKA.CKA_SIGN, CKA.CKA_VERIFY, CKA.CKA_DERIVE];

    public static byte[] NewId() => RandomNumberGenerator.GetBytes(IdLength);

    public static RootGenerationDescriptor Create(Module module, ulong session, RootGenerationDescriptor planned, string tokenFamily)
    {
        List<ulong> made = [];
        try
        {
            ulong wrap = Generate(module, session, s_wrap, planned, planned.WrapKeyId, made);
            ulong seal = Generate(module, session, s_seal, planned, planned.SealKeyId, made);
            ulong mac = Generate(module, session, s_mac, planned, planned.MacKeyId, made);
            return WithChecks(module, session, planned, new RootKeyHandles(wrap, seal, mac), tokenFamily);
        }
        catch
        {
            foreach (ulong key in made)
            {
                module.DestroyObject(session, key);
            }

            throw;
        }
    }

    private static RootGenerationDescriptor WithChecks(
        Module module, ulong session, RootGenerationDescriptor planned, RootKeyHandles keys, string tokenFamily) => planned with
        {
            WrapCheck = WrapCheck(module, session, keys.Wrap),
            SealCheck = SealedBlob.Seal(module, session, keys.Seal, s_sealCheckText, s_sealCheckData),
            MacCheck = module.Sign(session, CKM.CKM_SHA256_HMAC, keys.Mac, s_macCheckText, HMACSHA256.HashSizeInBytes),
            SealMechanism = SealedBlob.MechanismName,
            WrapMechanism = WrapMechanism.ToString(),
            TokenFamily = tokenFamily,
        };

    public static RootKeyHandles Open(Module module, ulong session, RootGenerationDescriptor descriptor)
    {
        if (descriptor.SealMechanism != SealedBlob.MechanismName || descriptor.WrapMechanism != WrapMechanism.ToString())
        {
            throw new TokenException(
                TokenFault.Unsupported, $"The root key works by {descriptor.SealMechanism} and {descriptor.WrapMechanism}, which this version doesn't know.");
        }

        RootKeyHandles keys = new(
            FindOne(module, session, s_wrap, descriptor, descriptor.WrapKeyId),
            FindOne(module, session, s_seal, descriptor, descriptor.SealKeyId),
            FindOne(module, session, s_mac, descriptor, descriptor.MacKeyId));
        byte[] mac = module.Sign(session, CKM.CKM_SHA256_HMAC, keys.Mac, s_macCheckText, HMACSHA256.HashSizeInBytes);
        Expect(CryptographicOperations.FixedTimeEquals(mac, descriptor.MacCheck), s_mac, descriptor);
        Expect(WrapCheck(module, session, keys.Wrap).AsSpan().SequenceEqual(descriptor.WrapCheck), s_wrap, descriptor);
        try
        {
            using SecretBytes text = SealedBlob.Open(module, session, keys.Seal, descriptor.SealCheck, s_sealCheckData);
            using SecretLease lease = text.Open();
            Expect(lease.Bytes.SequenceEqual(s_sealCheckText), s_seal, descriptor);
        }
        catch (SealedBlobException exception)
        {
            throw Another(s_seal, descriptor, exception);
        }

        return keys;
    }

    public static bool Destroy(Module module, ulong session, RootGenerationDescriptor descriptor)
    {
        foreach ((Role role, byte[] id) in new[] { (s_wrap, descriptor.WrapKeyId), (s_seal, descriptor.SealKeyId), (s_mac, descriptor.MacKeyId) })
        {
            foreach (ulong key in Find(module, session, role, descriptor, id))
            {
                module.DestroyObject(session, key);
            }
        }

        return true;
    }

    /// <summary>All keys with a generation's labels, whatever their ids.</summary>
    public static bool Destroy(Module module, ulong session, uint number, byte[] instanceId)
    {
        foreach (Role role in new[] { s_wrap, s_seal, s_mac })
        {
            foreach (ulong key in Find(module, session, Label(role, number, instanceId)))
            {
                module.DestroyObject(session, key);
            }
        }

        return true;
    }

    /// <summary>The mac key with a generation's label; null if there isn't exactly one, or it isn't protected as it was made.</summary>
    public static ulong? FindMac(Module module, ulong session, uint number, byte[] instanceId)
    {
        if (Find(module, session, Label(s_mac, number, instanceId)) is not [ulong key])
        {
            return null;
        }

        try
        {
            CheckAttributes(module, session, s_mac, key);
            return key;
        }
        catch (TokenException exception) when (exception.Fault == TokenFault.RootKeyMismatch)
        {
            return null;
        }
    }

    public static IReadOnlyList<string> Labels(Module module, ulong session)
    {
        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY).Add(CKA.CKA_TOKEN, true);
        return
        [
            .. module.Find(session, template)
                .Select(key => Encoding.UTF8.GetString(module.Attribute(session, key, CKA.CKA_LABEL) ?? []))
                .Where(label => label.StartsWith(LabelPrefix, StringComparison.Ordinal))
                .Order(StringComparer.Ordinal),
        ];
    }

    private static string Label(Role role, uint number, byte[] instanceId) => string.Create(
        CultureInfo.InvariantCulture, $"{LabelPrefix}{role.Name}-{number}{InstanceSuffix(instanceId)}");

    /// <summary>With which the labels of an instance's keys end.</summary>
    public static string InstanceSuffix(ReadOnlySpan<byte> instanceId) => $"-{Convert.ToHexStringLower(instanceId[..4])}";

    private static ulong Generate(
        Module module, ulong session, Role role, RootGenerationDescriptor planned, byte[] id, List<ulong> made) => Make(
        module, session, role, planned, id, stays: true, made,
        template => module.GenerateKey(session, role.Generator, template.Add(CKA.CKA_VALUE_LEN, KeyLength)));

    /// <summary>Makes a key with the attributes that every key of a root generation has, wherever its value comes from.</summary>
    private static ulong Make(
        Module module, ulong session, Role role, RootGenerationDescriptor planned, byte[] id, bool stays, List<ulong> made,
        Func<Template, ulong> make)
    {
        ulong handle = 0;

        // Some tokens don't know CKA_COPYABLE, some not CKA_MODIFIABLE for keys: the most that this one takes.
        // SoftHSM sets them in this order when it unwraps, and after CKA_MODIFIABLE none.
        CKA[][] locks = [[CKA.CKA_COPYABLE, CKA.CKA_MODIFIABLE], [CKA.CKA_MODIFIABLE], []];
        for (int attempt = 0; ; attempt++)
        {
            using Template template = new();
            _ = template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY).Add(CKA.CKA_KEY_TYPE, role.Type)
                .Add(CKA.CKA_LABEL, Encoding.UTF8.GetBytes(Label(role, planned.Number, planned.InstanceId))).Add(CKA.CKA_ID, id)
                .Add(CKA.CKA_TOKEN, stays).Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_SENSITIVE, true).Add(CKA.CKA_EXTRACTABLE, false);
            foreach (CKA use in s_uses)
            {
                _ = template.Add(use, role.May.Contains(use));
            }

            foreach (CKA shut in locks[attempt])
            {
                _ = template.Add(shut, false);
            }

            try
            {
                handle = make(template);
                break;
            }
            catch (Pkcs11Exception exception) when (attempt + 1 < locks.Length
                && (CKR)exception.ReturnValue is CKR.CKR_ATTRIBUTE_TYPE_INVALID or CKR.CKR_ATTRIBUTE_READ_ONLY
                    or CKR.CKR_TEMPLATE_INCONSISTENT or CKR.CKR_ATTRIBUTE_VALUE_INVALID)
            {
                // The next attempt asks for less; what is missing shows when the attributes are read back.
            }
        }

        made.Add(handle);
        CheckAttributes(module, session, role, handle);
        return handle;
    }

    /// <summary>Reads back what was asked for: a token that drops an attribute must not hold a root key.</summary>
    private static void CheckAttributes(Module module, ulong session, Role role, ulong key)
    {
        Require(CKA.CKA_SENSITIVE, true, mustBeKnown: true);
        Require(CKA.CKA_EXTRACTABLE, false, mustBeKnown: true);
        Require(CKA.CKA_PRIVATE, true, mustBeKnown: true);
        Require(CKA.CKA_MODIFIABLE, false, mustBeKnown: false);
        Require(CKA.CKA_COPYABLE, false, mustBeKnown: false);
        foreach (CKA use in s_uses)
        {
            Require(use, role.May.Contains(use), mustBeKnown: role.May.Contains(use));
        }

        void Require(CKA attribute, bool expected, bool mustBeKnown)
        {
            byte[]? value = module.Attribute(session, key, attribute);
            bool isRight = value is [byte flag] ? flag != 0 == expected : value is null or [] && !mustBeKnown;
            if (!isRight)
            {
                throw new TokenException(
                    TokenFault.RootKeyMismatch,
                    $"The root key's {role.Name} key is not protected as it must be: {attribute} isn't {(expected ? "true" : "false")}.");
            }
        }
    }

    private static ulong FindOne(Module module, ulong session, Role role, RootGenerationDescriptor descriptor, byte[] id)
    {
        IReadOnlyList<ulong> found = Find(module, session, role, descriptor, id);
        string label = Label(role, descriptor.Number, descriptor.InstanceId);
        ulong key = found.Count switch
        {
            1 => found[0],
            0 => throw new TokenException(
                TokenFault.RootKeyMissing,
                $"The root key isn't in this token: no key '{label}' with the id that the database names. Is it another token, or a new one? If its custodians hold shares, they bring it back: kmsd root restore"),
            _ => throw new TokenException(TokenFault.RootKeyAmbiguous, $"{found.Count} keys of the token are called '{label}' with one id; exactly one must be."),
        };
        CheckAttributes(module, session, role, key);
        return key;
    }

    private static IReadOnlyList<ulong> Find(Module module, ulong session, Role role, RootGenerationDescriptor descriptor, byte[] id)
    {
        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY).Add(CKA.CKA_TOKEN, true)
            .Add(CKA.CKA_LABEL, Encoding.UTF8.GetBytes(Label(role, descriptor.Number, descriptor.InstanceId))).Add(CKA.CKA_ID, id);
        return module.Find(session, template);
    }

    private static IReadOnlyList<ulong> Find(Module module, ulong session, string label)
    {
        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY).Add(CKA.CKA_TOKEN, true).Add(CKA.CKA_LABEL, Encoding.UTF8.GetBytes(label));
        return module.Find(session, template);
    }

    private static byte[] WrapCheck(Module module, ulong session, ulong wrapKey)
    {
        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY).Add(CKA.CKA_KEY_TYPE, CKK.CKK_AES).Add(CKA.CKA_TOKEN, false)
            .Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_SENSITIVE, true).Add(CKA.CKA_EXTRACTABLE, true).Add(CKA.CKA_VALUE, s_wrapCheckKey);
        ulong known = module.CreateObject(session, template);
        try
        {
            return module.Wrap(session, WrapMechanism, wrapKey, known);
        }
        finally
        {
            module.DestroyObject(session, known);
        }
    }

    private static void Expect(bool isTheOne, Role role, RootGenerationDescriptor descriptor)
    {
        if (!isTheOne)
        {
            throw Another(role, descriptor, null);
        }
    }

    private static TokenException Another(Role role, RootGenerationDescriptor descriptor, Exception? inner) => new(
        TokenFault.RootKeyMismatch,
        $"The key '{Label(role, descriptor.Number, descriptor.InstanceId)}' in the token is not the one the database was made with.",
        inner);
}
