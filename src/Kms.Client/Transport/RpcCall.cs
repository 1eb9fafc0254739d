using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Kms.Client.Protocol;

namespace Kms.Client.Transport;

/// <summary>A method of the daemon: its name, its messages, and whether a second sending does no harm.</summary>
internal sealed record RpcCall<TParams, TResult>(
    string Method, bool MayRepeat, JsonTypeInfo<TParams> Params, JsonTypeInfo<TResult> Result);

/// <summary>Every method that the client speaks.</summary>
internal static class RpcCalls
{
    private static readonly ProtocolJsonContext s_json = ProtocolJsonContext.Default;

    public static RpcCall<CreateKeyRequest, KeyDescription> CreateKey { get; } =
        new("keys.create", false, s_json.CreateKeyRequest, s_json.KeyDescription);

    public static RpcCall<ListKeysRequest, ListKeysResult> ListKeys { get; } =
        new("keys.list", true, s_json.ListKeysRequest, s_json.ListKeysResult);

    public static RpcCall<KeyRequest, KeyDescription> GetKey { get; } =
        new("keys.get", true, s_json.KeyRequest, s_json.KeyDescription);

    public static RpcCall<EncryptRequest, EncryptResult> Encrypt { get; } =
        new("crypto.encrypt", true, s_json.EncryptRequest, s_json.EncryptResult);

    public static RpcCall<DecryptRequest, DecryptResult> Decrypt { get; } =
        new("crypto.decrypt", true, s_json.DecryptRequest, s_json.DecryptResult);

    public static RpcCall<CreateDataKeyRequest, CreateDataKeyResult> CreateDataKey { get; } =
        new("crypto.createDataKey", true, s_json.CreateDataKeyRequest, s_json.CreateDataKeyResult);

    public static RpcCall<RandomRequest, RandomResult> DrawRandom { get; } =
        new("crypto.random", true, s_json.RandomRequest, s_json.RandomResult);

    public static RpcCall<ReencryptRequest, ReencryptResult> Reencrypt { get; } =
        new("crypto.reencrypt", true, s_json.ReencryptRequest, s_json.ReencryptResult);

    public static RpcCall<SignRequest, SignResult> Sign { get; } =
        new("crypto.sign", true, s_json.SignRequest, s_json.SignResult);

    public static RpcCall<VerifyRequest, VerifyResult> Verify { get; } =
        new("crypto.verify", true, s_json.VerifyRequest, s_json.VerifyResult);

    public static RpcCall<EncryptBatchRequest, EncryptBatchResult> EncryptBatch { get; } =
        new("crypto.encryptBatch", true, s_json.EncryptBatchRequest, s_json.EncryptBatchResult);

    public static RpcCall<DecryptBatchRequest, DecryptBatchResult> DecryptBatch { get; } =
        new("crypto.decryptBatch", true, s_json.DecryptBatchRequest, s_json.DecryptBatchResult);

    public static RpcCall<ReencryptBatchRequest, ReencryptBatchResult> ReencryptBatch { get; } =
        new("crypto.reencryptBatch", true, s_json.ReencryptBatchRequest, s_json.ReencryptBatchResult);

    public static RpcCall<UpdateKeyRequest, KeyDescription> UpdateKey { get; } =
        new("keys.update", false, s_json.UpdateKeyRequest, s_json.KeyDescription);

    public static RpcCall<KeyRequest, KeyDescription> RotateKey { get; } =
        new("keys.rotate", false, s_json.KeyRequest, s_json.KeyDescription);

    public static RpcCall<SetRotationPeriodRequest, KeyDescription> SetRotationPeriod { get; } =
        new("keys.setRotationPeriod", false, s_json.SetRotationPeriodRequest, s_json.KeyDescription);

    public static RpcCall<KeyRequest, KeyDescription> EnableKey { get; } =
        new("keys.enable", false, s_json.KeyRequest, s_json.KeyDescription);

    public static RpcCall<KeyRequest, KeyDescription> DisableKey { get; } =
        new("keys.disable", false, s_json.KeyRequest, s_json.KeyDescription);

    public static RpcCall<DeleteKeyRequest, KeyDescription> RequestDeletion { get; } =
        new("keys.requestDeletion", false, s_json.DeleteKeyRequest, s_json.KeyDescription);

    public static RpcCall<KeyRequest, KeyDescription> CancelDeletion { get; } =
        new("keys.cancelDeletion", false, s_json.KeyRequest, s_json.KeyDescription);

    public static RpcCall<DeleteKeyRequest, DeleteNowResult> DeleteNow { get; } =
        new("keys.deleteNow", false, s_json.DeleteKeyRequest, s_json.DeleteNowResult);

    public static RpcCall<GetPublicKeyRequest, PublicKeyResult> GetPublicKey { get; } =
        new("keys.getPublicKey", true, s_json.GetPublicKeyRequest, s_json.PublicKeyResult);

    public static RpcCall<ListVersionsRequest, ListVersionsResult> ListVersions { get; } =
        new("versions.list", true, s_json.ListVersionsRequest, s_json.ListVersionsResult);

    public static RpcCall<VersionRequest, VersionDescription> DisableVersion { get; } =
        new("versions.disable", false, s_json.VersionRequest, s_json.VersionDescription);

    public static RpcCall<VersionRequest, VersionDescription> EnableVersion { get; } =
        new("versions.enable", false, s_json.VersionRequest, s_json.VersionDescription);

    public static RpcCall<ListDeletedKeysRequest, ListDeletedKeysResult> ListDeletedKeys { get; } =
        new("deletedKeys.list", true, s_json.ListDeletedKeysRequest, s_json.ListDeletedKeysResult);

    public static RpcCall<DeletedKeyHistoryRequest, HistoryResult> ReadDeletedKeyHistory { get; } =
        new("deletedKeys.history", true, s_json.DeletedKeyHistoryRequest, s_json.HistoryResult);

    public static RpcCall<PurgeDeletedKeyRequest, EmptyResult> PurgeDeletedKey { get; } =
        new("deletedKeys.purge", false, s_json.PurgeDeletedKeyRequest, s_json.EmptyResult);

    public static RpcCall<EmptyRequest, EmptyResult> ReleaseDeletions { get; } =
        new("deletions.release", false, s_json.EmptyRequest, s_json.EmptyResult);

    public static RpcCall<KeyRequest, GrantsResult> ListGrants { get; } =
        new("grants.list", true, s_json.KeyRequest, s_json.GrantsResult);

    public static RpcCall<GrantRequest, GrantsResult> AddGrant { get; } =
        new("grants.add", false, s_json.GrantRequest, s_json.GrantsResult);

    public static RpcCall<GrantRequest, GrantsResult> RemoveGrant { get; } =
        new("grants.remove", false, s_json.GrantRequest, s_json.GrantsResult);

    public static RpcCall<ListMembersRequest, MembersResult> ListMembers { get; } =
        new("members.list", true, s_json.ListMembersRequest, s_json.MembersResult);

    public static RpcCall<AddMemberRequest, MembersResult> AddMember { get; } =
        new("members.add", false, s_json.AddMemberRequest, s_json.MembersResult);

    public static RpcCall<RemoveMemberRequest, MembersResult> RemoveMember { get; } =
        new("members.remove", false, s_json.RemoveMemberRequest, s_json.MembersResult);

    public static RpcCall<EmptyRequest, StatusResult> Status { get; } =
        new("system.status", true, s_json.EmptyRequest, s_json.StatusResult);

    public static RpcCall<EmptyRequest, WhoAmIResult> WhoAmI { get; } =
        new("system.whoAmI", true, s_json.EmptyRequest, s_json.WhoAmIResult);

    public static RpcCall<EmptyRequest, JsonElement> Discover { get; } =
        new("rpc.discover", true, s_json.EmptyRequest, s_json.JsonElement);

    public static RpcCall<CreateStoreRequest, StoreDescription> CreateStore { get; } =
        new("stores.create", false, s_json.CreateStoreRequest, s_json.StoreDescription);

    public static RpcCall<EmptyRequest, ListStoresResult> ListStores { get; } =
        new("stores.list", true, s_json.EmptyRequest, s_json.ListStoresResult);

    public static RpcCall<ListHistoryRequest, HistoryResult> ListHistory { get; } =
        new("history.list", true, s_json.ListHistoryRequest, s_json.HistoryResult);

    public static RpcCall<EmptyRequest, VerifyHistoryResult> VerifyHistory { get; } =
        new("history.verify", true, s_json.EmptyRequest, s_json.VerifyHistoryResult);

    public static RpcCall<ExportHistoryRequest, ExportHistoryResult> ExportHistory { get; } =
        new("history.export", true, s_json.ExportHistoryRequest, s_json.ExportHistoryResult);

    public static RpcCall<UsageReportRequest, UsageReportResult> ReportUsage { get; } =
        new("usage.report", true, s_json.UsageReportRequest, s_json.UsageReportResult);

    public static RpcCall<ListNotificationsRequest, ListNotificationsResult> ListNotifications { get; } =
        new("notifications.list", true, s_json.ListNotificationsRequest, s_json.ListNotificationsResult);

    public static RpcCall<AcknowledgeNotificationsRequest, EmptyResult> AcknowledgeNotifications { get; } =
        new("notifications.acknowledge", true, s_json.AcknowledgeNotificationsRequest, s_json.EmptyResult);

    public static RpcCall<EmptyRequest, EmptyResult> SubscribeToNotifications { get; } =
        new("notifications.subscribe", true, s_json.EmptyRequest, s_json.EmptyResult);

    public static RpcCall<CreateBackupRequest, CreateBackupResult> CreateBackup { get; } =
        new("backup.create", false, s_json.CreateBackupRequest, s_json.CreateBackupResult);

    public static RpcCall<EmptyRequest, RootStatusResult> ReadRootStatus { get; } =
        new("root.status", true, s_json.EmptyRequest, s_json.RootStatusResult);

    public static RpcCall<RotateRootRequest, RootStatusResult> RotateRoot { get; } =
        new("root.rotate", false, s_json.RotateRootRequest, s_json.RootStatusResult);

    public static RpcCall<RetireRootRequest, RootStatusResult> RetireRoot { get; } =
        new("root.retire", false, s_json.RetireRootRequest, s_json.RootStatusResult);

    public static RpcCall<EmptyRequest, MetricsResult> ReadMetrics { get; } =
        new("system.metrics", true, s_json.EmptyRequest, s_json.MetricsResult);
}
