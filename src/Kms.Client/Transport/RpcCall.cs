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
}
