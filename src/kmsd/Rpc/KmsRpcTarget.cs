using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Deletion;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.Recovery;
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

    public required CreateStore CreateStore { get; init; }

    public required ListStores ListStores { get; init; }

    public required ListHistory ListHistory { get; init; }

    public required VerifyHistory VerifyHistory { get; init; }

    public required ExportHistory ExportHistory { get; init; }

    public required ReadDeletedKeyHistory ReadDeletedKeyHistory { get; init; }

    public required ReportUsage ReportUsage { get; init; }

    public required ListNotifications ListNotifications { get; init; }

    public required AcknowledgeNotifications AcknowledgeNotifications { get; init; }

    public required CreateBackup CreateBackup { get; init; }

    public required ReadRootStatus ReadRootStatus { get; init; }

    public required RotateRoot RotateRoot { get; init; }

    public required RetireRoot RetireRoot { get; init; }

    public required ReadMetrics ReadMetrics { get; init; }

    public required ReadStatus ReadStatus { get; init; }

    public required DescribeCaller DescribeCaller { get; init; }
}

/// <summary>The methods of one connection: each calls one operation in the name of the connection's caller, through the guard.</summary>
/// <param name="operations">What can be done.</param>
/// <param name="caller">Who asks.</param>
/// <param name="guard">The way of each request.</param>
/// <param name="subscribe">Makes the connection one that notifications are sent on.</param>
internal sealed class KmsRpcTarget(Operations operations, Caller caller, RequestGuard guard, Action subscribe) : IKmsRpc
{
    public Task<KeyDescription> CreateKeyAsync(CreateKeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.create", request, () => operations.CreateKey.RunAsync(caller, request, cancellationToken));

    public Task<ListKeysResult> ListKeysAsync(ListKeysRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.list", request, () => operations.ListKeys.Run(caller, request));

    public Task<KeyDescription> GetKeyAsync(KeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.get", request, () => operations.GetKey.Run(caller, request));

    public async Task<EncryptResult> EncryptAsync(EncryptRequest request, CancellationToken cancellationToken)
    {
#pragma warning disable IDISP007 // The request ends here.
        using SensitiveBytes plaintext = request.Plaintext;
#pragma warning restore IDISP007
        return await guard.RunAsync("crypto.encrypt", request, () => operations.Encrypt.RunAsync(caller, request, cancellationToken));
    }

    public Task<DecryptResult> DecryptAsync(DecryptRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.decrypt", request, () => operations.Decrypt.RunAsync(caller, request, cancellationToken));

    public Task<CreateDataKeyResult> CreateDataKeyAsync(CreateDataKeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.createDataKey", request, () => operations.CreateDataKey.RunAsync(caller, request, cancellationToken));

    public Task<RandomResult> DrawRandomAsync(RandomRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.random", request, () => operations.DrawRandom.RunAsync(request, cancellationToken));

    public Task<ReencryptResult> ReencryptAsync(ReencryptRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.reencrypt", request, () => operations.Reencrypt.RunAsync(caller, request, cancellationToken));

    public Task<SignResult> SignAsync(SignRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.sign", request, () => operations.Sign.RunAsync(caller, request, cancellationToken));

    public Task<VerifyResult> VerifyAsync(VerifyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.verify", request, () => operations.Verify.RunAsync(caller, request, cancellationToken));

    public Task<EncryptBatchResult> EncryptBatchAsync(EncryptBatchRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.encryptBatch", request, () => operations.Batches.EncryptAsync(caller, request, cancellationToken));

    public Task<DecryptBatchResult> DecryptBatchAsync(DecryptBatchRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.decryptBatch", request, () => operations.Batches.DecryptAsync(caller, request, cancellationToken));

    public Task<ReencryptBatchResult> ReencryptBatchAsync(ReencryptBatchRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("crypto.reencryptBatch", request, () => operations.Batches.ReencryptAsync(caller, request, cancellationToken));

    public Task<KeyDescription> UpdateKeyAsync(UpdateKeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.update", request, () => operations.UpdateKey.RunAsync(caller, request, cancellationToken));

    public Task<KeyDescription> RotateKeyAsync(KeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.rotate", request, () => operations.RotateKey.RunAsync(caller, request, cancellationToken));

    public Task<KeyDescription> SetRotationPeriodAsync(SetRotationPeriodRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.setRotationPeriod", request, () => operations.SetRotationPeriod.RunAsync(caller, request, cancellationToken));

    public Task<KeyDescription> EnableKeyAsync(KeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.enable", request, () => operations.EnableKey.RunAsync(caller, request, cancellationToken));

    public Task<KeyDescription> DisableKeyAsync(KeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.disable", request, () => operations.DisableKey.RunAsync(caller, request, cancellationToken));

    public Task<KeyDescription> RequestDeletionAsync(DeleteKeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.requestDeletion", request, () => operations.RequestDeletion.RunAsync(caller, request, cancellationToken));

    public Task<KeyDescription> CancelDeletionAsync(KeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.cancelDeletion", request, () => operations.CancelDeletion.RunAsync(caller, request, cancellationToken));

    public Task<DeleteNowResult> DeleteKeyNowAsync(DeleteKeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.deleteNow", request, () => operations.DeleteKey.RunAsync(caller, request, cancellationToken));

    public Task<PublicKeyResult> GetPublicKeyAsync(GetPublicKeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("keys.getPublicKey", request, () => operations.GetPublicKey.RunAsync(caller, request, cancellationToken));

    public Task<ListVersionsResult> ListVersionsAsync(ListVersionsRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("versions.list", request, () => operations.ListVersions.Run(caller, request));

    public Task<VersionDescription> EnableVersionAsync(VersionRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("versions.enable", request, () => operations.SetVersionState.EnableAsync(caller, request, cancellationToken));

    public Task<VersionDescription> DisableVersionAsync(VersionRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("versions.disable", request, () => operations.SetVersionState.DisableAsync(caller, request, cancellationToken));

    public Task<ListDeletedKeysResult> ListDeletedKeysAsync(ListDeletedKeysRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("deletedKeys.list", request, () => operations.ListDeletedKeys.Run(caller, request));

    public Task<EmptyResult> PurgeDeletedKeyAsync(PurgeDeletedKeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("deletedKeys.purge", request, () => operations.PurgeDeletedKey.RunAsync(caller, request, cancellationToken));

    public Task<EmptyResult> ReleaseDeletionsAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("deletions.release", request, () => operations.ReleaseDeletions.RunAsync(caller, cancellationToken));

    public Task<GrantsResult> ListGrantsAsync(KeyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("grants.list", request, () => operations.ListGrants.Run(caller, request));

    public Task<GrantsResult> AddGrantAsync(GrantRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("grants.add", request, () => operations.AddGrant.RunAsync(caller, request, cancellationToken));

    public Task<GrantsResult> RemoveGrantAsync(GrantRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("grants.remove", request, () => operations.RemoveGrant.RunAsync(caller, request, cancellationToken));

    public Task<MembersResult> ListMembersAsync(ListMembersRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("members.list", request, () => operations.ListMembers.Run(caller, request));

    public Task<MembersResult> AddMemberAsync(AddMemberRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("members.add", request, () => operations.AddMember.RunAsync(caller, request, cancellationToken));

    public Task<MembersResult> RemoveMemberAsync(RemoveMemberRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("members.remove", request, () => operations.RemoveMember.RunAsync(caller, request, cancellationToken));

    public Task<StoreDescription> CreateStoreAsync(CreateStoreRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("stores.create", request, () => operations.CreateStore.RunAsync(caller, request, cancellationToken));

    public Task<ListStoresResult> ListStoresAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("stores.list", request, () => operations.ListStores.Run(caller));

    public Task<HistoryResult> ListHistoryAsync(ListHistoryRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("history.list", request, () => operations.ListHistory.RunAsync(caller, request, cancellationToken));

    public Task<VerifyHistoryResult> VerifyHistoryAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("history.verify", request, () => operations.VerifyHistory.RunAsync(caller, cancellationToken));

    public Task<ExportHistoryResult> ExportHistoryAsync(ExportHistoryRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("history.export", request, () => operations.ExportHistory.RunAsync(caller, request, cancellationToken));

    public Task<HistoryResult> ReadDeletedKeyHistoryAsync(DeletedKeyHistoryRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("deletedKeys.history", request, () => operations.ReadDeletedKeyHistory.RunAsync(caller, request, cancellationToken));

    public Task<UsageReportResult> ReportUsageAsync(UsageReportRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("usage.report", request, () => operations.ReportUsage.RunAsync(caller, request, cancellationToken));

    public Task<ListNotificationsResult> ListNotificationsAsync(ListNotificationsRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("notifications.list", request, () => operations.ListNotifications.RunAsync(caller, request, cancellationToken));

    public Task<EmptyResult> AcknowledgeNotificationsAsync(AcknowledgeNotificationsRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("notifications.acknowledge", request, () => operations.AcknowledgeNotifications.RunAsync(caller, request, cancellationToken));

    public Task<EmptyResult> SubscribeToNotificationsAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("notifications.subscribe", request, () =>
        {
            subscribe();
            return new EmptyResult();
        });

    public Task<CreateBackupResult> CreateBackupAsync(CreateBackupRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("backup.create", request, () => operations.CreateBackup.RunAsync(caller, request, cancellationToken));

    public Task<RootStatusResult> RootStatusAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("root.status", request, () => operations.ReadRootStatus.Run(caller));

    public Task<RootStatusResult> RotateRootAsync(RotateRootRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("root.rotate", request, async () =>
        {
            await operations.RotateRoot.RunAsync(caller, request);
            return operations.ReadRootStatus.Run(caller);
        });

    public Task<RootStatusResult> RetireRootAsync(RetireRootRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("root.retire", request, async () =>
        {
            await operations.RetireRoot.RunAsync(caller, request, cancellationToken);
            return operations.ReadRootStatus.Run(caller);
        });

    public Task<StatusResult> StatusAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("system.status", request, () => operations.ReadStatus.Run(caller));

    public Task<WhoAmIResult> WhoAmIAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("system.whoAmI", request, () => operations.DescribeCaller.Run(caller));

    public Task<MetricsResult> MetricsAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("system.metrics", request, () => operations.ReadMetrics.Run(caller));

    public Task<System.Text.Json.JsonElement> DiscoverAsync(EmptyRequest request, CancellationToken cancellationToken) =>
        guard.RunAsync("rpc.discover", request, () => OpenRpcDocument.Element);
}
