using Kms.Client.Protocol;
using Kms.Client.Transport;

namespace Kms.Client;

/// <content>Using keys.</content>
public sealed partial class KmsClient
{
    /// <summary><c>crypto.encrypt</c>: encrypts at most 32 KiB; larger things want a data key (<see cref="SealedFiles.SealedFile"/>).</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<EncryptResult> EncryptAsync(EncryptRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.Encrypt, request, cancellationToken);

    /// <summary><c>crypto.decrypt</c>; the caller disposes of the answer, which zeroes the plaintext.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<DecryptResult> DecryptAsync(DecryptRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.Decrypt, request, cancellationToken);

    /// <summary><c>crypto.createDataKey</c>; the caller disposes of the answer, which zeroes the data key.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<CreateDataKeyResult> CreateDataKeyAsync(CreateDataKeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.CreateDataKey, request, cancellationToken);

    /// <summary><c>crypto.random</c>: bytes from the token's generator; the caller disposes of them, which zeroes them.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<RandomResult> DrawRandomAsync(RandomRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.DrawRandom, request, cancellationToken);

    /// <summary><c>crypto.reencrypt</c>: seals again under the newest version, without the plaintext ever leaving the daemon.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<ReencryptResult> ReencryptAsync(ReencryptRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.Reencrypt, request, cancellationToken);

    /// <summary><c>crypto.sign</c>: signs with the newest version.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<SignResult> SignAsync(SignRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.Sign, request, cancellationToken);

    /// <summary><c>crypto.verify</c>: whether a signature is the key's. A wrong one is an answer, not an error.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<VerifyResult> VerifyAsync(VerifyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.Verify, request, cancellationToken);

    /// <summary><c>crypto.encryptBatch</c>: encrypts up to 1,024 values, each with a result or an error of its own.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<EncryptBatchResult> EncryptBatchAsync(EncryptBatchRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.EncryptBatch, request, cancellationToken);

    /// <summary><c>crypto.decryptBatch</c>; the caller disposes of the answer, which zeroes the plaintexts.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<DecryptBatchResult> DecryptBatchAsync(DecryptBatchRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.DecryptBatch, request, cancellationToken);

    /// <summary><c>crypto.reencryptBatch</c>: seals up to 1,024 ciphertexts again, each with a result or an error of its own.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<ReencryptBatchResult> ReencryptBatchAsync(ReencryptBatchRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ReencryptBatch, request, cancellationToken);
}
