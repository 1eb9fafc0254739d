using System.Text.Json.Nodes;

namespace Kms.EndToEnd.Tests.StateMachine;

/// <summary>JSON compared without regard to the order of members.</summary>
internal static class Json
{
    public static void Same(JsonNode expected, JsonNode actual) => Assert.Equal(Text(expected), Text(actual));

    /// <summary>Grants or members without the names of their principals, which are the host's affair; sorted.</summary>
    public static JsonArray WithoutNames(JsonNode list)
    {
        JsonArray copy = list.DeepClone().AsArray();
        foreach (JsonNode? one in copy)
        {
            _ = one!.AsObject().Remove("display");
        }

        return Model.Sorted(copy);
    }

    private static string Text(JsonNode? node) => node switch
    {
        JsonObject members =>
            $"{{{string.Join(",\n", members.OrderBy(member => member.Key, StringComparer.Ordinal).Select(member => $"{member.Key}: {Text(member.Value)}"))}}}",
        JsonArray items => $"[{string.Join(", ", items.Select(Text))}]",
        _ => node?.ToJsonString() ?? "null",
    };
}
