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
[JsonSerializable(typeof(StatusResult))]
[JsonSerializable(typeof(WhoAmIResult))]
[JsonSerializable(typeof(ErrorDetail))]
[JsonSerializable(typeof(JsonElement))]
public sealed partial class ProtocolJsonContext : JsonSerializerContext;
