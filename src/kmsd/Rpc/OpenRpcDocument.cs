using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.Json.Serialization.Metadata;
using Kms.Client.Protocol;

namespace Kmsd.Rpc;

/// <summary>The OpenRPC description of every method (OpenRPC 1.3.2), made once from the table of methods and their types.</summary>
internal static class OpenRpcDocument
{
    public static JsonElement Element { get; } = Make();

    private static JsonElement Make()
    {
        JsonObject document = new()
        {
            ["openrpc"] = "1.3.2",
            ["info"] = new JsonObject { ["title"] = "kmsd", ["version"] = ProductVersion.Text },
            ["methods"] = new JsonArray(
                [.. RpcMethods.All.Values.OrderBy(method => method.Name, StringComparer.Ordinal).Select(DescribeMethod)]),
        };
        using var parsed = JsonDocument.Parse(document.ToJsonString());
        return parsed.RootElement.Clone();
    }

    private static JsonObject DescribeMethod(RpcMethod method)
    {
        JsonObject request = Schema(method.Request);
        JsonObject members = request["properties"] as JsonObject ?? [];
        HashSet<string> required = [.. (request["required"] as JsonArray ?? []).Select(name => name!.GetValue<string>())];
        return new JsonObject
        {
            ["name"] = method.Name,
            ["summary"] = method.Summary,
            ["paramStructure"] = "by-name",
            ["params"] = new JsonArray([.. members.Select(member => new JsonObject
            {
                ["name"] = member.Key,
                ["required"] = required.Contains(member.Key),
                ["schema"] = member.Value?.DeepClone(),
            })]),
            ["result"] = new JsonObject { ["name"] = "result", ["schema"] = Schema(method.Result) },
        };
    }

    private static JsonObject Schema(Type type)
    {
        JsonTypeInfo info = ProtocolJsonContext.Default.GetTypeInfo(type)
            ?? throw new InvalidOperationException($"{type} isn't part of the protocol.");
        JsonNode schema = info.GetJsonSchemaAsNode(new JsonSchemaExporterOptions
        {
            TreatNullObliviousAsNonNullable = true,
            TransformSchemaNode = Describe,
        });
        return schema as JsonObject ?? [];
    }

    /// <summary>What the exporter can't know: the forms that converters write.</summary>
    private static JsonNode Describe(JsonSchemaExporterContext context, JsonNode schema)
    {
        Type type = Nullable.GetUnderlyingType(context.TypeInfo.Type) ?? context.TypeInfo.Type;
        if (type == typeof(byte[]) || type == typeof(SensitiveBytes))
        {
            return new JsonObject { ["type"] = "string", ["contentEncoding"] = "base64" };
        }

        if (type == typeof(DateTimeOffset))
        {
            return new JsonObject { ["type"] = "string", ["format"] = "date-time" };
        }

        IEnumerable<string>? names =
            type == typeof(KeyType) ? Wire.KeyTypes.All
            : type == typeof(KeyProtection) ? Wire.Protections.All
            : type == typeof(KeyState) ? Wire.KeyStates.All
            : type == typeof(VersionState) ? Wire.VersionStates.All
            : type == typeof(SignatureAlgorithm) ? Wire.SignatureAlgorithms.All
            : type == typeof(SignatureEncoding) ? Wire.SignatureEncodings.All
            : type == typeof(KeyRole) ? Wire.KeyRoles.All
            : type == typeof(StoreRole) ? Wire.StoreRoles.All
            : null;
        return names is null ? schema : new JsonObject { ["enum"] = new JsonArray([.. names.Select(name => JsonValue.Create(name))]) };
    }
}
