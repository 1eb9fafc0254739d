using System.Text.Json;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Deletion;
using Kmsd.Keys;
using Kmsd.Rotation;
using Kmsd.Stores;

namespace Kmsd.Rpc;

/// <summary>Every operation, ready to run.</summary>
internal sealed record Operations
{
    public required CreateKey CreateKey { get; init; }

    public required ListKeys ListKeys { get; init; }

    public required GetKey GetKey { get; init; }

    public required Encrypt Encrypt { get; init; }

    public required Decrypt Decrypt { get; init; }

    public required CreateDataKey CreateDataKey { get; init; }

    public required DrawRandom DrawRandom { get; init; }

    public required Reencrypt Reencrypt { get; init; }

    public required Sign Sign { get; init; }

    public required Verify Verify { get; init; }

    public required Batches Batches { get; init; }

    public required UpdateKey UpdateKey { get; init; }

    public required RotateKey RotateKey { get; init; }

    public required SetRotationPeriod SetRotationPeriod { get; init; }

    public required EnableKey EnableKey { get; init; }

    public required DisableKey DisableKey { get; init; }

    public required RequestDeletion RequestDeletion { get; init; }

    public required CancelDeletion CancelDeletion { get; init; }

    public required DeleteKey DeleteKey { get; init; }

    public required GetPublicKey GetPublicKey { get; init; }

    public required ListVersions ListVersions { get; init; }

    public required SetVersionState SetVersionState { get; init; }

    public required ListDeletedKeys ListDeletedKeys { get; init; }

    public required PurgeDeletedKey PurgeDeletedKey { get; init; }

    public required ReleaseDeletions ReleaseDeletions { get; init; }

    public required ListGrants ListGrants { get; init; }

    public required AddGrant AddGrant { get; init; }

    public required RemoveGrant RemoveGrant { get; init; }

    public required ListMembers ListMembers { get; init; }

    public required AddMember AddMember { get; init; }

    public required RemoveMember RemoveMember { get; init; }

    public required ReadStatus ReadStatus { get; init; }

    public required DescribeCaller DescribeCaller { get; init; }
}

/// <summary>The methods of one connection: each calls one operation in the name of the connection's caller.</summary>
internal sealed class KmsRpcTarget(Operations operations, Caller caller) : IKmsRpc
{
    public Task<KeyDescription> CreateKeyAsync(CreateKeyRequest request, CancellationToken cancellationToken) =>
        operations.CreateKey.RunAsync(caller, request, cancellationToken);

    public Task<ListKeysResult> ListKeysAsync(ListKeysRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(operations.ListKeys.Run(caller, request));

    public Task<KeyDescription> GetKeyAsync(KeyRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(operations.GetKey.Run(caller, request));

    public async Task<EncryptResult> EncryptAsync(EncryptRequest request, CancellationToken cancellationToken)
    {
#pragma warning disable IDISP007 // The request ends here.
        using SensitiveBytes plaintext = request.Plaintext;
#pragma warning restore IDISP007
        return await operations.Encrypt.RunAsync(caller, request, cancellationToken);
    }

    public Task<DecryptResult> DecryptAsync(DecryptRequest request, CancellationToken cancellationToken) =>
        operations.Decrypt.RunAsync(caller, request, cancellationToken);

    public Task<CreateDataKeyResult> CreateDataKeyAsync(CreateDataKeyRequest request, CancellationToken cancellationToken) =>
        operations.CreateDataKey.RunAsync(caller, request, cancellationToken);

    public Task<RandomResult> DrawRandomAsync(RandomRequest request, CancellationToken cancellationToken) =>
        operations.DrawRandom.RunAsync(request, cancellationToken);

    public Task<ReencryptResult> ReencryptAsync(ReencryptRequest request, CancellationToken cancellationToken) =>
        operations.Reencrypt.RunAsync(caller, request, cancellationToken);

    public Task<SignResult> SignAsync(SignRequest request, CancellationToken cancellationToken) =>
        operations.Sign.RunAsync(caller, request, cancellationToken);

    public Task<VerifyResult> VerifyAsync(VerifyRequest request, CancellationToken cancellationToken) =>
        operations.Verify.RunAsync(caller, request, cancellationToken);

    public Task<EncryptBatchResult> EncryptBatchAsync(EncryptBatchRequest request, CancellationToken cancellationToken) =>
        operations.Batches.EncryptAsync(caller, request, cancellationToken);

    public Task<DecryptBatchResult> DecryptBatchAsync(DecryptBatchRequest request, CancellationToken cancellationToken) =>
        operations.Batches.DecryptAsync(caller, request, cancellationToken);

    public Task<ReencryptBatchResult> ReencryptBatchAsync(ReencryptBatchRequest request, CancellationToken cancellationToken) =>
        operations.Batches.ReencryptAsync(caller, request, cancellationToken);

    public Task<KeyDescription> UpdateKeyAsync(UpdateKeyRequest request, CancellationToken cancellationToken) =>
        operations.UpdateKey.RunAsync(caller, request, cancellationToken);

    public Task<KeyDescription> RotateKeyAsync(KeyRequest request, CancellationToken cancellationToken) =>
        operations.RotateKey.RunAsync(caller, request, cancellationToken);

    public Task<KeyDescription> SetRotationPeriodAsync(SetRotationPeriodRequest request, CancellationToken cancellationToken) =>
        operations.SetRotationPeriod.RunAsync(caller, request, cancellationToken);

    public Task<KeyDescription> EnableKeyAsync(KeyRequest request, CancellationToken cancellationToken) =>
        operations.EnableKey.RunAsync(caller, request, cancellationToken);

    public Task<KeyDescription> DisableKeyAsync(KeyRequest request, CancellationToken cancellationToken) =>
        operations.DisableKey.RunAsync(caller, request, cancellationToken);

    public Task<KeyDescription> RequestDeletionAsync(DeleteKeyRequest request, CancellationToken cancellationToken) =>
        operations.RequestDeletion.RunAsync(caller, request, cancellationToken);

    public Task<KeyDescription> CancelDeletionAsync(KeyRequest request, CancellationToken cancellationToken) =>
        operations.CancelDeletion.RunAsync(caller, request, cancellationToken);

    public Task<DeleteNowResult> DeleteKeyNowAsync(DeleteKeyRequest request, CancellationToken cancellationToken) =>
        operations.DeleteKey.RunAsync(caller, request, cancellationToken);

    public Task<PublicKeyResult> GetPublicKeyAsync(GetPublicKeyRequest request, CancellationToken cancellationToken) =>
        operations.GetPublicKey.RunAsync(caller, request, cancellationToken);

    public Task<ListVersionsResult> ListVersionsAsync(ListVersionsRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(operations.ListVersions.Run(caller, request));

    public Task<VersionDescription> EnableVersionAsync(VersionRequest request, CancellationToken cancellationToken) =>
        operations.SetVersionState.EnableAsync(caller, request, cancellationToken);

    public Task<VersionDescription> DisableVersionAsync(VersionRequest request, CancellationToken cancellationToken) =>
        operations.SetVersionState.DisableAsync(caller, request, cancellationToken);

    public Task<ListDeletedKeysResult> ListDeletedKeysAsync(ListDeletedKeysRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(operations.ListDeletedKeys.Run(caller, request));

    public Task<EmptyResult> PurgeDeletedKeyAsync(PurgeDeletedKeyRequest request, CancellationToken cancellationToken) =>
        operations.PurgeDeletedKey.RunAsync(caller, request, cancellationToken);

    public Task<EmptyResult> ReleaseDeletionsAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        operations.ReleaseDeletions.RunAsync(caller, cancellationToken);

    public Task<GrantsResult> ListGrantsAsync(KeyRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(operations.ListGrants.Run(caller, request));

    public Task<GrantsResult> AddGrantAsync(GrantRequest request, CancellationToken cancellationToken) =>
        operations.AddGrant.RunAsync(caller, request, cancellationToken);

    public Task<GrantsResult> RemoveGrantAsync(GrantRequest request, CancellationToken cancellationToken) =>
        operations.RemoveGrant.RunAsync(caller, request, cancellationToken);

    public Task<MembersResult> ListMembersAsync(ListMembersRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(operations.ListMembers.Run(caller, request));

    public Task<MembersResult> AddMemberAsync(AddMemberRequest request, CancellationToken cancellationToken) =>
        operations.AddMember.RunAsync(caller, request, cancellationToken);

    public Task<MembersResult> RemoveMemberAsync(RemoveMemberRequest request, CancellationToken cancellationToken) =>
        operations.RemoveMember.RunAsync(caller, request, cancellationToken);

    public Task<StatusResult> StatusAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(operations.ReadStatus.Run(caller));

    public Task<WhoAmIResult> WhoAmIAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(operations.DescribeCaller.Run(caller));

    public Task<JsonElement> DiscoverAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(OpenRpcDocument.Element);
}
