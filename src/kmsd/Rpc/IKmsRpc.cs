using Kms.Client.Protocol;
using PolyType;
using StreamJsonRpc;

namespace Kmsd.Rpc;

/// <summary>Every method on the wire, with its name. <see cref="RpcMethods"/> holds the same list for reading and discovery.</summary>
[JsonRpcContract]
[GenerateShape(IncludeMethods = MethodShapeFlags.PublicInstance)]
internal partial interface IKmsRpc
{
    [JsonRpcMethod("keys.create", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> CreateKeyAsync(CreateKeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.list", UseSingleObjectParameterDeserialization = true)]
    Task<ListKeysResult> ListKeysAsync(ListKeysRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.get", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> GetKeyAsync(KeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.encrypt", UseSingleObjectParameterDeserialization = true)]
    Task<EncryptResult> EncryptAsync(EncryptRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.decrypt", UseSingleObjectParameterDeserialization = true)]
    Task<DecryptResult> DecryptAsync(DecryptRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.createDataKey", UseSingleObjectParameterDeserialization = true)]
    Task<CreateDataKeyResult> CreateDataKeyAsync(CreateDataKeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.random", UseSingleObjectParameterDeserialization = true)]
    Task<RandomResult> DrawRandomAsync(RandomRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.reencrypt", UseSingleObjectParameterDeserialization = true)]
    Task<ReencryptResult> ReencryptAsync(ReencryptRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.sign", UseSingleObjectParameterDeserialization = true)]
    Task<SignResult> SignAsync(SignRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.verify", UseSingleObjectParameterDeserialization = true)]
    Task<VerifyResult> VerifyAsync(VerifyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.encryptBatch", UseSingleObjectParameterDeserialization = true)]
    Task<EncryptBatchResult> EncryptBatchAsync(EncryptBatchRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.decryptBatch", UseSingleObjectParameterDeserialization = true)]
    Task<DecryptBatchResult> DecryptBatchAsync(DecryptBatchRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("crypto.reencryptBatch", UseSingleObjectParameterDeserialization = true)]
    Task<ReencryptBatchResult> ReencryptBatchAsync(ReencryptBatchRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.update", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> UpdateKeyAsync(UpdateKeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.rotate", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> RotateKeyAsync(KeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.setRotationPeriod", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> SetRotationPeriodAsync(SetRotationPeriodRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.enable", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> EnableKeyAsync(KeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.disable", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> DisableKeyAsync(KeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.requestDeletion", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> RequestDeletionAsync(DeleteKeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.cancelDeletion", UseSingleObjectParameterDeserialization = true)]
    Task<KeyDescription> CancelDeletionAsync(KeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.deleteNow", UseSingleObjectParameterDeserialization = true)]
    Task<DeleteNowResult> DeleteKeyNowAsync(DeleteKeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("keys.getPublicKey", UseSingleObjectParameterDeserialization = true)]
    Task<PublicKeyResult> GetPublicKeyAsync(GetPublicKeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("versions.list", UseSingleObjectParameterDeserialization = true)]
    Task<ListVersionsResult> ListVersionsAsync(ListVersionsRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("versions.enable", UseSingleObjectParameterDeserialization = true)]
    Task<VersionDescription> EnableVersionAsync(VersionRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("versions.disable", UseSingleObjectParameterDeserialization = true)]
    Task<VersionDescription> DisableVersionAsync(VersionRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("deletedKeys.list", UseSingleObjectParameterDeserialization = true)]
    Task<ListDeletedKeysResult> ListDeletedKeysAsync(ListDeletedKeysRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("deletedKeys.purge", UseSingleObjectParameterDeserialization = true)]
    Task<EmptyResult> PurgeDeletedKeyAsync(PurgeDeletedKeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("deletions.release", UseSingleObjectParameterDeserialization = true)]
    Task<EmptyResult> ReleaseDeletionsAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("grants.list", UseSingleObjectParameterDeserialization = true)]
    Task<GrantsResult> ListGrantsAsync(KeyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("grants.add", UseSingleObjectParameterDeserialization = true)]
    Task<GrantsResult> AddGrantAsync(GrantRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("grants.remove", UseSingleObjectParameterDeserialization = true)]
    Task<GrantsResult> RemoveGrantAsync(GrantRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("members.list", UseSingleObjectParameterDeserialization = true)]
    Task<MembersResult> ListMembersAsync(ListMembersRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("members.add", UseSingleObjectParameterDeserialization = true)]
    Task<MembersResult> AddMemberAsync(AddMemberRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("members.remove", UseSingleObjectParameterDeserialization = true)]
    Task<MembersResult> RemoveMemberAsync(RemoveMemberRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("stores.create", UseSingleObjectParameterDeserialization = true)]
    Task<StoreDescription> CreateStoreAsync(CreateStoreRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("stores.list", UseSingleObjectParameterDeserialization = true)]
    Task<ListStoresResult> ListStoresAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("history.list", UseSingleObjectParameterDeserialization = true)]
    Task<HistoryResult> ListHistoryAsync(ListHistoryRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("history.verify", UseSingleObjectParameterDeserialization = true)]
    Task<VerifyHistoryResult> VerifyHistoryAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("history.export", UseSingleObjectParameterDeserialization = true)]
    Task<ExportHistoryResult> ExportHistoryAsync(ExportHistoryRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("deletedKeys.history", UseSingleObjectParameterDeserialization = true)]
    Task<HistoryResult> ReadDeletedKeyHistoryAsync(DeletedKeyHistoryRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("usage.report", UseSingleObjectParameterDeserialization = true)]
    Task<UsageReportResult> ReportUsageAsync(UsageReportRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("notifications.list", UseSingleObjectParameterDeserialization = true)]
    Task<ListNotificationsResult> ListNotificationsAsync(ListNotificationsRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("notifications.acknowledge", UseSingleObjectParameterDeserialization = true)]
    Task<EmptyResult> AcknowledgeNotificationsAsync(AcknowledgeNotificationsRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("notifications.subscribe", UseSingleObjectParameterDeserialization = true)]
    Task<EmptyResult> SubscribeToNotificationsAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("backup.create", UseSingleObjectParameterDeserialization = true)]
    Task<CreateBackupResult> CreateBackupAsync(CreateBackupRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("root.status", UseSingleObjectParameterDeserialization = true)]
    Task<RootStatusResult> RootStatusAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("root.rotate", UseSingleObjectParameterDeserialization = true)]
    Task<RootStatusResult> RotateRootAsync(RotateRootRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("root.retire", UseSingleObjectParameterDeserialization = true)]
    Task<RootStatusResult> RetireRootAsync(RetireRootRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("system.status", UseSingleObjectParameterDeserialization = true)]
    Task<StatusResult> StatusAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("system.whoAmI", UseSingleObjectParameterDeserialization = true)]
    Task<WhoAmIResult> WhoAmIAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("system.metrics", UseSingleObjectParameterDeserialization = true)]
    Task<MetricsResult> MetricsAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("rpc.discover", UseSingleObjectParameterDeserialization = true)]
    Task<System.Text.Json.JsonElement> DiscoverAsync(EmptyRequest request, CancellationToken cancellationToken);
}
