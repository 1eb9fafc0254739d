using System.Reflection;
using System.Text.Json;
using Kmsd.Rpc;
using StreamJsonRpc;

namespace Kmsd.Tests.Rpc;

public sealed class RpcMethodsTests
{
    /// <summary>docs/api.md, "Methods": those of this version.</summary>
    private static readonly string[] s_contract =
    [
        "backup.create", "crypto.createDataKey", "crypto.decrypt", "crypto.decryptBatch", "crypto.encrypt", "crypto.encryptBatch", "crypto.random",
        "crypto.reencrypt", "crypto.reencryptBatch", "crypto.sign", "crypto.verify", "deletedKeys.history", "deletedKeys.list",
        "deletedKeys.purge", "deletions.release", "grants.add", "grants.list", "grants.remove", "history.export", "history.list", "history.verify",
        "keys.cancelDeletion", "keys.create", "keys.deleteNow",
        "keys.disable", "keys.enable", "keys.get", "keys.getPublicKey", "keys.list", "keys.requestDeletion", "keys.rotate",
        "keys.setRotationPeriod", "keys.update", "members.add", "members.list", "members.remove", "notifications.acknowledge",
        "notifications.list", "notifications.subscribe", "root.retire", "root.rotate", "root.status", "rpc.discover", "stores.create", "stores.list", "system.metrics",
        "system.status",
        "system.whoAmI", "usage.report", "versions.disable", "versions.enable", "versions.list",
    ];

    [Fact]
    public void The_table_and_the_interface_hold_the_same_methods_with_the_same_types()
    {
        (string Name, Type Request, Type Result)[] declared =
        [
            .. typeof(IKmsRpc).GetMethods().Select(method => (
                method.GetCustomAttribute<JsonRpcMethodAttribute>()?.Name ?? method.Name,
                method.GetParameters()[0].ParameterType,
                method.ReturnType.GetGenericArguments().Single())).OrderBy(method => method.Item1, StringComparer.Ordinal),
        ];
        Assert.Equal(
            declared,
            RpcMethods.All.Values.Select(method => (method.Name, method.Request, method.Result)).OrderBy(method => method.Name, StringComparer.Ordinal));
        Assert.All(RpcMethods.All, entry => Assert.Equal(entry.Key, entry.Value.Name));
    }

    [Fact]
    public void They_are_the_methods_of_the_contract() =>
        Assert.Equal(s_contract, RpcMethods.All.Keys.Order(StringComparer.Ordinal));

    [Fact]
    public void Every_method_reads_one_object_and_can_be_cancelled() => Assert.All(typeof(IKmsRpc).GetMethods(), method =>
    {
        Assert.True(method.GetCustomAttribute<JsonRpcMethodAttribute>()?.UseSingleObjectParameterDeserialization);
        Assert.Equal(2, method.GetParameters().Length);
        Assert.Equal(typeof(CancellationToken), method.GetParameters()[1].ParameterType);
    });

    [Fact]
    public void Discovery_names_every_method_with_its_params_and_result()
    {
        JsonElement document = OpenRpcDocument.Element;
        Assert.Equal("1.3.2", document.GetProperty("openrpc").GetString());
        JsonElement[] methods = [.. document.GetProperty("methods").EnumerateArray()];
        Assert.Equal(s_contract, methods.Select(method => method.GetProperty("name").GetString()!));
        JsonElement encrypt = methods.Single(method => method.GetProperty("name").GetString() == "crypto.encrypt");
        JsonElement[] members = [.. encrypt.GetProperty("params").EnumerateArray()];
        Assert.Equal(
            [("key", true), ("plaintext", true), ("context", false)],
            members.Select(
                member => (member.GetProperty("name").GetString()!, member.GetProperty("required").GetBoolean())));
    }
}
