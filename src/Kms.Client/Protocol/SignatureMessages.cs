using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>crypto.sign</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class SignRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>At most 8,192 bytes. Exactly one of this and <see cref="Digest"/> is given.</summary>
    public SensitiveBytes? Message { get; init; }

    /// <summary>The SHA-256 of the message, 32 bytes.</summary>
    public byte[]? Digest { get; init; }

    /// <summary>Default: <c>RSA_PSS_SHA_256</c> for RSA, <c>ECDSA_SHA_256</c> for ECDSA.</summary>
    public SignatureAlgorithm? Algorithm { get; init; }

    /// <summary>ECDSA only; default <c>der</c>.</summary>
    public SignatureEncoding? Encoding { get; init; }
}

/// <summary>Answer of <c>crypto.sign</c></summary>
public sealed class SignResult
{
    /// <summary><c>kms:v{version}:{base64}</c>; the base64 is what any other tool reads.</summary>
    public required string Signature { get; init; }

    /// <summary>The version that signed.</summary>
    public required long KeyVersion { get; init; }

    /// <summary>The algorithm.</summary>
    public required SignatureAlgorithm Algorithm { get; init; }
}

/// <summary><c>crypto.verify</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class VerifyRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>At most 8,192 bytes. Exactly one of this and <see cref="Digest"/> is given.</summary>
    public SensitiveBytes? Message { get; init; }

    /// <summary>The SHA-256 of the message, 32 bytes.</summary>
    public byte[]? Digest { get; init; }

    /// <summary>Default: <c>RSA_PSS_SHA_256</c> for RSA, <c>ECDSA_SHA_256</c> for ECDSA.</summary>
    public SignatureAlgorithm? Algorithm { get; init; }

    /// <summary>ECDSA only; default <c>der</c>.</summary>
    public SignatureEncoding? Encoding { get; init; }

    /// <summary>What sign answered.</summary>
    public required string Signature { get; init; }
}

/// <summary>Answer of <c>crypto.verify</c></summary>
public sealed class VerifyResult
{
    /// <summary>Whether the signature is the key's on this message.</summary>
    public required bool Valid { get; init; }

    /// <summary>The version that the signature names.</summary>
    public required long KeyVersion { get; init; }

    /// <inheritdoc cref="SignResult.Algorithm"/>
    public required SignatureAlgorithm Algorithm { get; init; }
}

/// <summary><c>keys.getPublicKey</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class GetPublicKeyRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>Default: the newest.</summary>
    public long? Version { get; init; }
}

/// <summary>Answer of <c>keys.getPublicKey</c></summary>
public sealed class PublicKeyResult
{
    /// <summary>SubjectPublicKeyInfo (RFC 5280) in PEM.</summary>
    public required string PublicKey { get; init; }

    /// <summary>The version whose public key it is.</summary>
    public required long KeyVersion { get; init; }
}
