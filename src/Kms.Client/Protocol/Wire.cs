using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary>What a key can do, and with which algorithm.</summary>
public enum KeyType
{
    /// <summary>No type; allows nothing.</summary>
    None = 0,

    /// <summary>AES-256-GCM with random 96-bit nonces (NIST SP 800-38D): <c>AES256-GCM96</c>.</summary>
    Aes256Gcm96 = 1,

    /// <summary>RSA with a modulus of 2048 bits (RFC 8017): <c>RSA-2048</c>.</summary>
    Rsa2048 = 2,

    /// <summary>ECDSA over P-256 (FIPS 186-5): <c>ECDSA-P256</c>.</summary>
    EcdsaP256 = 3,
}

/// <summary>Where a key's bytes are while it is in use.</summary>
public enum KeyProtection
{
    /// <summary>No protection named.</summary>
    None = 0,

    /// <summary>Opened into locked memory of the daemon.</summary>
    Software = 1,

    /// <summary>Generated, unwrapped and used inside the token.</summary>
    Hsm = 2,
}

/// <summary>A key's state.</summary>
public enum KeyState
{
    /// <summary>No state; allows nothing.</summary>
    None = 0,

    /// <summary>In use.</summary>
    Enabled = 1,

    /// <summary>Not usable until it is enabled again; still rotates.</summary>
    Disabled = 2,

    /// <summary>Not usable; its material is destroyed when the deletion window of 72 hours ends.</summary>
    PendingDeletion = 3,

    /// <summary>Its material is destroyed; only what operators may read of it is kept.</summary>
    Deleted = 4,
}

/// <summary>The state of one version of a key.</summary>
public enum VersionState
{
    /// <summary>No state; allows nothing.</summary>
    None = 0,

    /// <summary>It decrypts and verifies; the newest one seals and signs as well.</summary>
    Enabled = 1,

    /// <summary>Not usable until it is enabled again.</summary>
    Disabled = 2,
}

/// <summary>How a signature is made.</summary>
public enum SignatureAlgorithm
{
    /// <summary>No algorithm named.</summary>
    None = 0,

    /// <summary>RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes (RFC 8017): <c>RSA_PSS_SHA_256</c>.</summary>
    RsaPssSha256 = 1,

    /// <summary>RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017): <c>RSA_PKCS1_SHA_256</c>.</summary>
    RsaPkcs1Sha256 = 2,

    /// <summary>ECDSA with SHA-256 (FIPS 186-5): <c>ECDSA_SHA_256</c>.</summary>
    EcdsaSha256 = 3,
}

/// <summary>How the two numbers of an ECDSA signature are written.</summary>
public enum SignatureEncoding
{
    /// <summary>No encoding named.</summary>
    None = 0,

    /// <summary>A DER sequence (RFC 3279, section 2.2.3): <c>der</c>.</summary>
    Der = 1,

    /// <summary>Both in 32 bytes each, one after the other (IEEE P1363): <c>p1363</c>.</summary>
    P1363 = 2,
}

/// <summary>What a grant on a key allows. A principal may hold several; they add up.</summary>
public enum KeyRole
{
    /// <summary>No role; allows nothing.</summary>
    None = 0,

    /// <summary>Everything on the key, its grants included.</summary>
    Manager = 1,

    /// <summary>Encrypt, create data keys, sign, reencrypt.</summary>
    Encryptor = 2,

    /// <summary>Decrypt, verify.</summary>
    Decryptor = 3,

    /// <summary>What an encryptor and a decryptor may.</summary>
    EncryptorDecryptor = 4,

    /// <summary>See the key, its versions and its history.</summary>
    Reviewer = 5,
}

/// <summary>What a membership in a key store allows.</summary>
public enum StoreRole
{
    /// <summary>No role; allows nothing.</summary>
    None = 0,

    /// <summary>Makes keys, and manages every key and member of the store.</summary>
    Manager = 1,

    /// <summary>A plain member: sees only the keys he has a role on.</summary>
    User = 2,
}

/// <summary>The fixed names that an enumeration's members have on the wire; compared exactly.</summary>
/// <typeparam name="T">The enumeration.</typeparam>
public sealed class WireNames<T>
    where T : struct, Enum
{
    private readonly (T Value, string Name)[] _names;

    internal WireNames(params (T Value, string Name)[] names) => _names = names;

    /// <summary>Every name, in the order of the documentation.</summary>
    public IEnumerable<string> All => _names.Select(pair => pair.Name);

    /// <summary>The name of a member.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The member has no name on the wire (its zero value).</exception>
    public string this[T value]
    {
        get
        {
            foreach ((T candidate, string name) in _names)
            {
                if (EqualityComparer<T>.Default.Equals(candidate, value))
                {
                    return name;
                }
            }

            throw new ArgumentOutOfRangeException(nameof(value), value, "This value has no name on the wire.");
        }
    }

    /// <summary>Reads a name; true if there is such a member.</summary>
    public bool TryParse([NotNullWhen(true)] string? name, out T value)
    {
        foreach ((T candidate, string known) in _names)
        {
            if (string.Equals(known, name, StringComparison.Ordinal))
            {
                value = candidate;
                return true;
            }
        }

        value = default;
        return false;
    }
}

/// <summary>The tables of wire names.</summary>
public static class Wire
{
    /// <summary>Names of <see cref="KeyType"/>.</summary>
    public static WireNames<KeyType> KeyTypes { get; } = new(
        (KeyType.Aes256Gcm96, "AES256-GCM96"), (KeyType.Rsa2048, "RSA-2048"), (KeyType.EcdsaP256, "ECDSA-P256"));

    /// <summary>Names of <see cref="KeyProtection"/>.</summary>
    public static WireNames<KeyProtection> Protections { get; } = new(
        (KeyProtection.Software, "software"), (KeyProtection.Hsm, "hsm"));

    /// <summary>Names of <see cref="KeyState"/>.</summary>
    public static WireNames<KeyState> KeyStates { get; } = new(
        (KeyState.Enabled, "enabled"), (KeyState.Disabled, "disabled"),
        (KeyState.PendingDeletion, "pendingDeletion"), (KeyState.Deleted, "deleted"));

    /// <summary>Names of <see cref="VersionState"/>.</summary>
    public static WireNames<VersionState> VersionStates { get; } = new(
        (VersionState.Enabled, "enabled"), (VersionState.Disabled, "disabled"));

    /// <summary>Names of <see cref="SignatureAlgorithm"/>.</summary>
    public static WireNames<SignatureAlgorithm> SignatureAlgorithms { get; } = new(
        (SignatureAlgorithm.RsaPssSha256, "RSA_PSS_SHA_256"), (SignatureAlgorithm.RsaPkcs1Sha256, "RSA_PKCS1_SHA_256"),
        (SignatureAlgorithm.EcdsaSha256, "ECDSA_SHA_256"));

    /// <summary>Names of <see cref="SignatureEncoding"/>.</summary>
    public static WireNames<SignatureEncoding> SignatureEncodings { get; } = new(
        (SignatureEncoding.Der, "der"), (SignatureEncoding.P1363, "p1363"));

    /// <summary>Names of <see cref="KeyRole"/>.</summary>
    public static WireNames<KeyRole> KeyRoles { get; } = new(
        (KeyRole.Manager, "manager"), (KeyRole.Encryptor, "encryptor"), (KeyRole.Decryptor, "decryptor"),
        (KeyRole.EncryptorDecryptor, "encryptorDecryptor"), (KeyRole.Reviewer, "reviewer"));

    /// <summary>Names of <see cref="StoreRole"/>.</summary>
    public static WireNames<StoreRole> StoreRoles { get; } = new(
        (StoreRole.Manager, "manager"), (StoreRole.User, "user"));
}

internal abstract class WireEnumConverter<T>(WireNames<T> names) : JsonConverter<T>
    where T : struct, Enum
{
    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && names.TryParse(reader.GetString(), out T value)
            ? value
            : throw new JsonException($"One of {string.Join(", ", names.All)} is expected.");

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
        writer.WriteStringValue(names[value]);
}

internal sealed class KeyTypeConverter() : WireEnumConverter<KeyType>(Wire.KeyTypes);

internal sealed class KeyProtectionConverter() : WireEnumConverter<KeyProtection>(Wire.Protections);

internal sealed class KeyStateConverter() : WireEnumConverter<KeyState>(Wire.KeyStates);

internal sealed class KeyRoleConverter() : WireEnumConverter<KeyRole>(Wire.KeyRoles);

internal sealed class StoreRoleConverter() : WireEnumConverter<StoreRole>(Wire.StoreRoles);

internal sealed class VersionStateConverter() : WireEnumConverter<VersionState>(Wire.VersionStates);

internal sealed class SignatureAlgorithmConverter() : WireEnumConverter<SignatureAlgorithm>(Wire.SignatureAlgorithms);

internal sealed class SignatureEncodingConverter() : WireEnumConverter<SignatureEncoding>(Wire.SignatureEncodings);
