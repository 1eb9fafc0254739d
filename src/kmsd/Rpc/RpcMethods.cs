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
}

/// <summary>The table of methods. A test holds it equal to <see cref="IKmsRpc"/>.</summary>
internal static class RpcMethods
{
    private const int ListBytes = 128 * 1024;

    public static FrozenDictionary<string, RpcMethod> All { get; } = new RpcMethod[]
    {
        new("crypto.encrypt", typeof(EncryptRequest), typeof(EncryptResult), "Encrypts at most 32 KiB under a key."),
        new("crypto.decrypt", typeof(DecryptRequest), typeof(DecryptResult), "Decrypts what encrypt or createDataKey answered."),
        new("crypto.createDataKey", typeof(CreateDataKeyRequest), typeof(CreateDataKeyResult), "Makes a data key, sealed under a key."),
        new("crypto.random", typeof(RandomRequest), typeof(RandomResult), "Random bytes from the token's generator.") { AnswerBytes = 4096 },
        new("keys.create", typeof(CreateKeyRequest), typeof(KeyDescription), "Makes a key."),
        new("keys.list", typeof(ListKeysRequest), typeof(ListKeysResult), "The keys that the caller may see.") { AnswerBytes = ListBytes },
        new("keys.get", typeof(KeyRequest), typeof(KeyDescription), "One key."),
        new("grants.list", typeof(KeyRequest), typeof(GrantsResult), "The grants on a key.") { AnswerBytes = ListBytes },
        new("grants.add", typeof(GrantRequest), typeof(GrantsResult), "Gives a principal a role on a key.") { AnswerBytes = ListBytes },
        new("grants.remove", typeof(GrantRequest), typeof(GrantsResult), "Takes a role on a key away.") { AnswerBytes = ListBytes },
        new("members.list", typeof(ListMembersRequest), typeof(MembersResult), "The members of a key store.") { AnswerBytes = ListBytes },
        new("members.add", typeof(AddMemberRequest), typeof(MembersResult), "Makes a principal a member.") { AnswerBytes = ListBytes },
        new("members.remove", typeof(RemoveMemberRequest), typeof(MembersResult), "Ends a membership and its grants.") { AnswerBytes = ListBytes },
        new("system.status", typeof(EmptyRequest), typeof(StatusResult), "Whether the service is well."),
        new("system.whoAmI", typeof(EmptyRequest), typeof(WhoAmIResult), "What the kernel says of the caller."),
        new("rpc.discover", typeof(EmptyRequest), typeof(JsonElement), "This document.") { AnswerBytes = ListBytes },
    }.ToFrozenDictionary(method => method.Name, StringComparer.Ordinal);
}
