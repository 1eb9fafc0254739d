using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>crypto.encrypt</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class EncryptRequest : IKeyRequest
{
    /// <summary>A tag, <c>store/name</c>, or the name of a key in the store <c>default</c>.</summary>
    public required string Key { get; init; }

    /// <summary>0 to 32,768 bytes.</summary>
    public required SensitiveBytes Plaintext { get; init; }

    /// <summary>At most 1,024 bytes that must be given again to decrypt; absent and empty are the same.</summary>
    public byte[]? Context { get; init; }
}

/// <summary>Answer of <c>crypto.encrypt</c></summary>
public sealed class EncryptResult
{
    /// <summary><c>kms:v{version}:{base64}</c></summary>
    public required string Ciphertext { get; init; }

    /// <summary>The version that sealed.</summary>
    public required long KeyVersion { get; init; }
}

/// <summary><c>crypto.decrypt</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class DecryptRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>What encrypt or createDataKey answered.</summary>
    public required string Ciphertext { get; init; }

    /// <inheritdoc cref="EncryptRequest.Context"/>
    public byte[]? Context { get; init; }
}

/// <summary>Answer of <c>crypto.decrypt</c>; disposing it zeroes the plaintext.</summary>
public sealed class DecryptResult : IDisposable
{
    /// <summary>The plaintext.</summary>
    public required SensitiveBytes Plaintext { get; init; }

    /// <summary>The version that opened it.</summary>
    public required long KeyVersion { get; init; }

    /// <inheritdoc/>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "A message owns its bytes.")]
    public void Dispose() => Plaintext.Dispose();
}

/// <summary><c>crypto.reencrypt</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ReencryptRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <inheritdoc cref="DecryptRequest.Ciphertext"/>
    public required string Ciphertext { get; init; }

    /// <inheritdoc cref="EncryptRequest.Context"/>
    public byte[]? Context { get; init; }

    /// <summary>The context of the new ciphertext; default: <see cref="Context"/>. A different one needs a role that decrypts as well.</summary>
    public byte[]? NewContext { get; init; }
}

/// <summary>Answer of <c>crypto.reencrypt</c></summary>
public sealed class ReencryptResult
{
    /// <inheritdoc cref="EncryptResult.Ciphertext"/>
    public required string Ciphertext { get; init; }

    /// <inheritdoc cref="EncryptResult.KeyVersion"/>
    public required long KeyVersion { get; init; }

    /// <summary>The version under which it was sealed before.</summary>
    public required long PreviousKeyVersion { get; init; }
}

/// <summary><c>crypto.createDataKey</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class CreateDataKeyRequest : IKeyRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>128, 256 (default) or 512.</summary>
    public int? Bits { get; init; }

    /// <inheritdoc cref="EncryptRequest.Context"/>
    public byte[]? Context { get; init; }

    /// <summary>Whether the answer holds the data key in clear too; default false.</summary>
    public bool? IncludePlaintext { get; init; }
}

/// <summary>Answer of <c>crypto.createDataKey</c>; disposing it zeroes the data key.</summary>
public sealed class CreateDataKeyResult : IDisposable
{
    /// <summary>The sealed data key: <c>kms:v{version}:{base64}</c></summary>
    public required string Ciphertext { get; init; }

    /// <summary>The data key, if it was asked for.</summary>
    public SensitiveBytes? Plaintext { get; init; }

    /// <summary>The version that sealed it.</summary>
    public required long KeyVersion { get; init; }

    /// <inheritdoc/>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "A message owns its bytes.")]
    public void Dispose() => Plaintext?.Dispose();
}

/// <summary><c>crypto.random</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class RandomRequest
{
    /// <summary>1 to 1,024.</summary>
    public required int Bytes { get; init; }
}

/// <summary>Answer of <c>crypto.random</c>; disposing it zeroes the bytes.</summary>
public sealed class RandomResult : IDisposable
{
    /// <summary>Bytes from the token's generator.</summary>
    public required SensitiveBytes Random { get; init; }

    /// <inheritdoc/>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "A message owns its bytes.")]
    public void Dispose() => Random.Dispose();
}
