using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary>Why one item of a batch was refused: the <c>error</c> that the single call would have answered.</summary>
public sealed class ItemError
{
    /// <summary>The number of the reason.</summary>
    public required int Code { get; init; }

    /// <summary>A sentence for a person.</summary>
    public required string Message { get; init; }

    /// <summary>The reason, which clients branch on.</summary>
    public ErrorDetail? Data { get; init; }

    /// <summary>The exception that the single call would have thrown.</summary>
    public KmsException ToException() => KmsException.From(Code, Message, Data);
}

/// <summary><c>crypto.encryptBatch</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class EncryptBatchRequest : IKeyRequest, IBatchRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>1 to 1,024.</summary>
    public required EncryptItem[] Items { get; init; }

    int IBatchRequest.ItemCount => Items.Length;
}

/// <summary>One item of <c>crypto.encryptBatch</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class EncryptItem
{
    /// <summary>The plaintexts of all items together are at most 32,768 bytes long.</summary>
    public required SensitiveBytes Plaintext { get; init; }

    /// <inheritdoc cref="EncryptRequest.Context"/>
    public byte[]? Context { get; init; }
}

/// <summary>Answer of <c>crypto.encryptBatch</c>.</summary>
public sealed class EncryptBatchResult
{
    /// <summary>In the order of the request.</summary>
    public required EncryptItemResult[] Items { get; init; }
}

/// <summary>What became of one item: the result, or <see cref="Error"/> alone.</summary>
public sealed class EncryptItemResult
{
    /// <inheritdoc cref="EncryptResult.Ciphertext"/>
    public string? Ciphertext { get; init; }

    /// <inheritdoc cref="EncryptResult.KeyVersion"/>
    public long? KeyVersion { get; init; }

    /// <summary>Why it was refused.</summary>
    public ItemError? Error { get; init; }
}

/// <summary><c>crypto.decryptBatch</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class DecryptBatchRequest : IKeyRequest, IBatchRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>1 to 1,024.</summary>
    public required DecryptItem[] Items { get; init; }

    int IBatchRequest.ItemCount => Items.Length;
}

/// <summary>One item of <c>crypto.decryptBatch</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class DecryptItem
{
    /// <inheritdoc cref="DecryptRequest.Ciphertext"/>
    public required string Ciphertext { get; init; }

    /// <inheritdoc cref="EncryptRequest.Context"/>
    public byte[]? Context { get; init; }
}

/// <summary>Answer of <c>crypto.decryptBatch</c>; disposing it zeroes the plaintexts.</summary>
public sealed class DecryptBatchResult : IDisposable
{
    /// <summary>In the order of the request.</summary>
    public required DecryptItemResult[] Items { get; init; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (DecryptItemResult item in Items)
        {
            item.Dispose();
        }
    }
}

/// <summary>What became of one item: the result, or <see cref="Error"/> alone.</summary>
public sealed class DecryptItemResult : IDisposable
{
    /// <inheritdoc cref="DecryptResult.Plaintext"/>
    public SensitiveBytes? Plaintext { get; init; }

    /// <inheritdoc cref="DecryptResult.KeyVersion"/>
    public long? KeyVersion { get; init; }

    /// <summary>Why it was refused.</summary>
    public ItemError? Error { get; init; }

    /// <inheritdoc/>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "A message owns its bytes.")]
    public void Dispose() => Plaintext?.Dispose();
}

/// <summary><c>crypto.reencryptBatch</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ReencryptBatchRequest : IKeyRequest, IBatchRequest
{
    /// <inheritdoc cref="EncryptRequest.Key"/>
    public required string Key { get; init; }

    /// <summary>1 to 1,024.</summary>
    public required ReencryptItem[] Items { get; init; }

    int IBatchRequest.ItemCount => Items.Length;
}

/// <summary>One item of <c>crypto.reencryptBatch</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class ReencryptItem
{
    /// <inheritdoc cref="DecryptRequest.Ciphertext"/>
    public required string Ciphertext { get; init; }

    /// <inheritdoc cref="EncryptRequest.Context"/>
    public byte[]? Context { get; init; }

    /// <inheritdoc cref="ReencryptRequest.NewContext"/>
    public byte[]? NewContext { get; init; }
}

/// <summary>Answer of <c>crypto.reencryptBatch</c>.</summary>
public sealed class ReencryptBatchResult
{
    /// <summary>In the order of the request.</summary>
    public required ReencryptItemResult[] Items { get; init; }
}

/// <summary>What became of one item: the result, or <see cref="Error"/> alone.</summary>
public sealed class ReencryptItemResult
{
    /// <inheritdoc cref="EncryptResult.Ciphertext"/>
    public string? Ciphertext { get; init; }

    /// <inheritdoc cref="EncryptResult.KeyVersion"/>
    public long? KeyVersion { get; init; }

    /// <inheritdoc cref="ReencryptResult.PreviousKeyVersion"/>
    public long? PreviousKeyVersion { get; init; }

    /// <summary>Why it was refused.</summary>
    public ItemError? Error { get; init; }
}
