using System.Text.Json;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Keys;
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
