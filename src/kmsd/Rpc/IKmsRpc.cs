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

    [JsonRpcMethod("system.status", UseSingleObjectParameterDeserialization = true)]
    Task<StatusResult> StatusAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("system.whoAmI", UseSingleObjectParameterDeserialization = true)]
    Task<WhoAmIResult> WhoAmIAsync(EmptyRequest request, CancellationToken cancellationToken);

    [JsonRpcMethod("rpc.discover", UseSingleObjectParameterDeserialization = true)]
    Task<System.Text.Json.JsonElement> DiscoverAsync(EmptyRequest request, CancellationToken cancellationToken);
}
