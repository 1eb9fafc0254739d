using System.Text.Json;

namespace Kmsd.Tests.Keys;

/// <summary>A file of Project Wycheproof.</summary>
internal static class Wycheproof
{
    /// <summary>Runs every test through a check that answers "accepted?", and demands the vector's own result of it.</summary>
    public static void Run(string file, Func<JsonElement, JsonElement, bool> accepts, Func<JsonElement, bool> isValid)
    {
        string path = Path.Combine(Vectors.Folder(), "wycheproof", file);
        using var document = JsonDocument.Parse(File.ReadAllText(path));
        int valid = 0;
        int invalid = 0;
        foreach (JsonElement group in document.RootElement.GetProperty("testGroups").EnumerateArray())
        {
            foreach (JsonElement test in group.GetProperty("tests").EnumerateArray())
            {
                bool expected = isValid(test);
                Assert.True(
                    accepts(group, test) == expected, $"{file}: test {test.GetProperty("tcId")} ({test.GetProperty("comment")}) fails.");
                valid += expected ? 1 : 0;
                invalid += expected ? 0 : 1;
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{file}: {valid} valid and {invalid} invalid cases passed.");
        Assert.True(valid > 0 && invalid > 0, $"{valid} valid and {invalid} invalid cases are too few.");
    }

    public static bool IsValid(JsonElement test) => test.GetProperty("result").GetString() == "valid";

    public static byte[] Bytes(JsonElement element, string name) => Convert.FromHexString(element.GetProperty(name).GetString()!);
}
