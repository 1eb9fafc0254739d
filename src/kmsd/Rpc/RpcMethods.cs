using System.Collections.Frozen;
using System.Text.Json;
using Kms.Client.Protocol;

namespace Kmsd.Rpc;

/// <summary>A method as the reader and <c>rpc.discover</c> know it.</summary>
/// <param name="Name">The name on the wire.</param>
/// <param name="Request">The type of its params.</param>
/// <param name="Result">The type of its answer.</param>
/// <param name="Summary">One sentence for <c>rpc.discover</c>.</param>
internal sealed record RpcMethod(string Name, Type Request, Type Result, string Summary)
{
    /// <summary>How many bytes an answer may hold in memory, where that is more than its request has.</summary>
    public int AnswerBytes { get; init; }

    /// <summary>What its name begins with, up to the dot.</summary>
    public string Family { get; } = Name[..Name.IndexOf('.', StringComparison.Ordinal)];

    /// <summary>Whether it uses or changes something, so that its refusal is recorded.</summary>
    public bool IsRecorded { get; } = IsUseOrChange(Name);

    private static bool IsUseOrChange(string name) => name is not ("crypto.random" or "keys.list" or "keys.get" or "keys.getPublicKey"
        or "versions.list" or "grants.list" or "stores.list" or "members.list" or "history.list" or "history.verify" or "history.export"
        or "usage.report" or "deletedKeys.list" or "root.status" or "rpc.discover")
        && !name.StartsWith("notifications.", StringComparison.Ordinal) && !name.StartsWith("system.", StringComparison.Ordinal);
}

/// <summary>The table of methods. A test holds it equal to <see cref="IKmsRpc"/>.</summary>
internal static class RpcMethods
{
    private const int ListBytes = 128 * 1024;
    private const int HistoryBytes = 512 * 1024;

    public static FrozenDictionary<string, RpcMethod> All { get; } = new RpcMethod[]
    {
        new("crypto.encrypt", typeof(EncryptRequest), typeof(EncryptResult), "Encrypts at most 32 KiB under a key."),
        new("crypto.decrypt", typeof(DecryptRequest), typeof(DecryptResult), "Decrypts what encrypt or createDataKey answered."),
        new("crypto.createDataKey", typeof(CreateDataKeyRequest), typeof(CreateDataKeyResult), "Makes a data key, sealed under a key."),
        new("crypto.random", typeof(RandomRequest), typeof(RandomResult), "Random bytes from the token's generator.") { AnswerBytes = 4096 },
        new("keys.create", typeof(CreateKeyRequest), typeof(KeyDescription), "Makes a key."),
        new("keys.list", typeof(ListKeysRequest), typeof(ListKeysResult), "The keys that the caller may see.") { AnswerBytes = ListBytes },
        new("keys.get", typeof(KeyRequest), typeof(KeyDescription), "One key."),
        new("crypto.reencrypt", typeof(ReencryptRequest), typeof(ReencryptResult), "Seals anew under the newest version."),
        new("crypto.sign", typeof(SignRequest), typeof(SignResult), "Signs a message or a digest."),
        new("crypto.verify", typeof(VerifyRequest), typeof(VerifyResult), "Verifies a signature."),
        new("crypto.encryptBatch", typeof(EncryptBatchRequest), typeof(EncryptBatchResult), "Encrypts many values.") { AnswerBytes = ListBytes },
        new("crypto.decryptBatch", typeof(DecryptBatchRequest), typeof(DecryptBatchResult), "Decrypts many values.") { AnswerBytes = ListBytes },
        new("crypto.reencryptBatch", typeof(ReencryptBatchRequest), typeof(ReencryptBatchResult), "Seals many values anew.") { AnswerBytes = ListBytes },
        new("keys.update", typeof(UpdateKeyRequest), typeof(KeyDescription), "Gives a key another name or memo."),
        new("keys.rotate", typeof(KeyRequest), typeof(KeyDescription), "Gives a key a new version."),
        new("keys.setRotationPeriod", typeof(SetRotationPeriodRequest), typeof(KeyDescription), "Sets how often a key rotates."),
        new("keys.enable", typeof(KeyRequest), typeof(KeyDescription), "Lets a disabled key be used again."),
        new("keys.disable", typeof(KeyRequest), typeof(KeyDescription), "Stops every use of a key."),
        new("keys.requestDeletion", typeof(DeleteKeyRequest), typeof(KeyDescription), "Starts the 72 hours before a key is destroyed."),
        new("keys.cancelDeletion", typeof(KeyRequest), typeof(KeyDescription), "Takes a requested deletion back."),
        new("keys.deleteNow", typeof(DeleteKeyRequest), typeof(DeleteNowResult), "Destroys a key whose deletion was requested."),
        new("keys.getPublicKey", typeof(GetPublicKeyRequest), typeof(PublicKeyResult), "The public key of a version, in PEM."),
        new("versions.list", typeof(ListVersionsRequest), typeof(ListVersionsResult), "The versions of a key.") { AnswerBytes = ListBytes },
        new("versions.enable", typeof(VersionRequest), typeof(VersionDescription), "Lets an older version be used again."),
        new("versions.disable", typeof(VersionRequest), typeof(VersionDescription), "Stops an older version."),
        new("deletedKeys.list", typeof(ListDeletedKeysRequest), typeof(ListDeletedKeysResult), "What remains of deleted keys.") { AnswerBytes = ListBytes },
        new("deletedKeys.purge", typeof(PurgeDeletedKeyRequest), typeof(EmptyResult), "Removes what remains of a deleted key."),
        new("deletions.release", typeof(EmptyRequest), typeof(EmptyResult), "Lets deletions run that wait after a clock jump."),
        new("grants.list", typeof(KeyRequest), typeof(GrantsResult), "The grants on a key.") { AnswerBytes = ListBytes },
        new("grants.add", typeof(GrantRequest), typeof(GrantsResult), "Gives a principal a role on a key.") { AnswerBytes = ListBytes },
        new("grants.remove", typeof(GrantRequest), typeof(GrantsResult), "Takes a role on a key away.") { AnswerBytes = ListBytes },
        new("members.list", typeof(ListMembersRequest), typeof(MembersResult), "The members of a key store.") { AnswerBytes = ListBytes },
        new("members.add", typeof(AddMemberRequest), typeof(MembersResult), "Makes a principal a member.") { AnswerBytes = ListBytes },
        new("members.remove", typeof(RemoveMemberRequest), typeof(MembersResult), "Ends a membership and its grants.") { AnswerBytes = ListBytes },
        new("stores.create", typeof(CreateStoreRequest), typeof(StoreDescription), "Makes a key store and its first manager."),
        new("stores.list", typeof(EmptyRequest), typeof(ListStoresResult), "The caller's key stores.") { AnswerBytes = ListBytes },
        new("history.list", typeof(ListHistoryRequest), typeof(HistoryResult), "Who did what.") { AnswerBytes = HistoryBytes },
        new("history.verify", typeof(EmptyRequest), typeof(VerifyHistoryResult), "Computes the history's chain again."),
        new("history.export", typeof(ExportHistoryRequest), typeof(ExportHistoryResult), "The history as it stands.") { AnswerBytes = HistoryBytes },
        new("deletedKeys.history", typeof(DeletedKeyHistoryRequest), typeof(HistoryResult), "Who did what with a deleted key.") { AnswerBytes = HistoryBytes },
        new("usage.report", typeof(UsageReportRequest), typeof(UsageReportResult), "What a store's keys were and did in a month.") { AnswerBytes = ListBytes },
        new("notifications.list", typeof(ListNotificationsRequest), typeof(ListNotificationsResult), "What concerned the caller.") { AnswerBytes = ListBytes },
        new("notifications.acknowledge", typeof(AcknowledgeNotificationsRequest), typeof(EmptyResult), "Takes notifications out of the list."),
        new("notifications.subscribe", typeof(EmptyRequest), typeof(EmptyResult), "Sends notifications on this connection as they come."),
        new("backup.create", typeof(CreateBackupRequest), typeof(CreateBackupResult), "Copies the database into the backup folder."),
        new("root.status", typeof(EmptyRequest), typeof(RootStatusResult), "The root key, its generations and its custody."),
        new("root.rotate", typeof(RotateRootRequest), typeof(RootStatusResult), "Makes a new generation of the root key."),
        new("root.retire", typeof(RetireRootRequest), typeof(RootStatusResult), "Destroys an old generation of the root key."),
        new("system.status", typeof(EmptyRequest), typeof(StatusResult), "Whether the service is well."),
        new("system.whoAmI", typeof(EmptyRequest), typeof(WhoAmIResult), "What the kernel says of the caller."),
        new("system.metrics", typeof(EmptyRequest), typeof(MetricsResult), "What the daemon counts and measures, for Prometheus.") { AnswerBytes = ListBytes },
        new("rpc.discover", typeof(EmptyRequest), typeof(JsonElement), "This document.") { AnswerBytes = ListBytes },
    }.ToFrozenDictionary(method => method.Name, StringComparer.Ordinal);
}
