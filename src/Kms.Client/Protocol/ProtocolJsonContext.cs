using System.Text.Json;
using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary>How every message is written and read: source-generated, strict about what crosses the socket.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    RespectNullableAnnotations = true,
    AllowDuplicateProperties = false,
    MaxDepth = 32,
    Converters =
    [
        typeof(Base64Converter), typeof(SensitiveBytesConverter), typeof(TimestampConverter), typeof(KeyTypeConverter),
        typeof(KeyProtectionConverter), typeof(KeyStateConverter), typeof(KeyRoleConverter), typeof(StoreRoleConverter),
        typeof(VersionStateConverter), typeof(SignatureAlgorithmConverter), typeof(SignatureEncodingConverter),
    ])]
[JsonSerializable(typeof(EncryptRequest))]
[JsonSerializable(typeof(EncryptResult))]
[JsonSerializable(typeof(DecryptRequest))]
[JsonSerializable(typeof(DecryptResult))]
[JsonSerializable(typeof(CreateDataKeyRequest))]
[JsonSerializable(typeof(CreateDataKeyResult))]
[JsonSerializable(typeof(RandomRequest))]
[JsonSerializable(typeof(RandomResult))]
[JsonSerializable(typeof(CreateKeyRequest))]
[JsonSerializable(typeof(ListKeysRequest))]
[JsonSerializable(typeof(ListKeysResult))]
[JsonSerializable(typeof(KeyRequest))]
[JsonSerializable(typeof(KeyDescription))]
[JsonSerializable(typeof(GrantRequest))]
[JsonSerializable(typeof(GrantsResult))]
[JsonSerializable(typeof(ListMembersRequest))]
[JsonSerializable(typeof(AddMemberRequest))]
[JsonSerializable(typeof(RemoveMemberRequest))]
[JsonSerializable(typeof(MembersResult))]
[JsonSerializable(typeof(EmptyRequest))]
[JsonSerializable(typeof(ReencryptRequest))]
[JsonSerializable(typeof(ReencryptResult))]
[JsonSerializable(typeof(SignRequest))]
[JsonSerializable(typeof(SignResult))]
[JsonSerializable(typeof(VerifyRequest))]
[JsonSerializable(typeof(VerifyResult))]
[JsonSerializable(typeof(EncryptBatchRequest))]
[JsonSerializable(typeof(EncryptBatchResult))]
[JsonSerializable(typeof(DecryptBatchRequest))]
[JsonSerializable(typeof(DecryptBatchResult))]
[JsonSerializable(typeof(ReencryptBatchRequest))]
[JsonSerializable(typeof(ReencryptBatchResult))]
[JsonSerializable(typeof(UpdateKeyRequest))]
[JsonSerializable(typeof(SetRotationPeriodRequest))]
[JsonSerializable(typeof(DeleteKeyRequest))]
[JsonSerializable(typeof(DeleteNowResult))]
[JsonSerializable(typeof(GetPublicKeyRequest))]
[JsonSerializable(typeof(PublicKeyResult))]
[JsonSerializable(typeof(ListVersionsRequest))]
[JsonSerializable(typeof(ListVersionsResult))]
[JsonSerializable(typeof(VersionRequest))]
[JsonSerializable(typeof(VersionDescription))]
[JsonSerializable(typeof(ListDeletedKeysRequest))]
[JsonSerializable(typeof(ListDeletedKeysResult))]
[JsonSerializable(typeof(DeletedKeyHistoryRequest))]
[JsonSerializable(typeof(HistoryResult))]
[JsonSerializable(typeof(PurgeDeletedKeyRequest))]
[JsonSerializable(typeof(EmptyResult))]
[JsonSerializable(typeof(ListHistoryRequest))]
[JsonSerializable(typeof(VerifyHistoryResult))]
[JsonSerializable(typeof(ExportHistoryRequest))]
[JsonSerializable(typeof(ExportHistoryResult))]
[JsonSerializable(typeof(CreateStoreRequest))]
[JsonSerializable(typeof(StoreDescription))]
[JsonSerializable(typeof(ListStoresResult))]
[JsonSerializable(typeof(ListNotificationsRequest))]
[JsonSerializable(typeof(ListNotificationsResult))]
[JsonSerializable(typeof(NotificationDescription))]
[JsonSerializable(typeof(AcknowledgeNotificationsRequest))]
[JsonSerializable(typeof(UsageReportRequest))]
[JsonSerializable(typeof(UsageReportResult))]
[JsonSerializable(typeof(CreateBackupRequest))]
[JsonSerializable(typeof(CreateBackupResult))]
[JsonSerializable(typeof(RootStatusResult))]
[JsonSerializable(typeof(RotateRootRequest))]
[JsonSerializable(typeof(RetireRootRequest))]
[JsonSerializable(typeof(MetricsResult))]
[JsonSerializable(typeof(StatusResult))]
[JsonSerializable(typeof(WhoAmIResult))]
[JsonSerializable(typeof(ErrorDetail))]
[JsonSerializable(typeof(JsonElement))]
public sealed partial class ProtocolJsonContext : JsonSerializerContext;
