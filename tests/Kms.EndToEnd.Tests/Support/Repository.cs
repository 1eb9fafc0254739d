namespace Kms.EndToEnd.Tests.Support;

/// <summary>Where the built product and its scripts are. A binary that isn't there fails the run: it is never skipped.</summary>
internal static class Repository
{
    public const string SoftHsm = "/usr/lib/softhsm/libsofthsm2.so";

    public static string Root { get; } = FindRoot();

    /// <summary>What is installed.</summary>
    public static string Kmsd { get; } = Binary("KMS_NATIVE", "artifacts/native", "kmsd");

    public static string Kmsctl { get; } = Binary("KMS_NATIVE", "artifacts/native", "kmsctl");

    /// <summary>The build with test hooks.</summary>
    public static string TestKmsd { get; } = Binary("KMS_NATIVE_TEST", "artifacts/native-test", "kmsd");

    public static string Script(string path) => Path.Combine(Root, path);

    /// <summary>The fenced block of a page that stands after the line <c>&lt;!-- mark --&gt;</c>.</summary>
    public static string Block(string page, string mark, string language)
    {
        string text = File.ReadAllText(Script(page));
        int start = text.IndexOf($"```{language}\n", text.IndexOf($"<!-- {mark} -->\n", StringComparison.Ordinal), StringComparison.Ordinal);
        start = text.IndexOf('\n', start) + 1;
        return text[start..text.IndexOf("\n```", start, StringComparison.Ordinal)];
    }

    /// <summary>How often something is done: reduced in run.sh, full in long.sh.</summary>
    public static int Count(string name, int reduced) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text
            ? int.Parse(text, System.Globalization.CultureInfo.InvariantCulture)
            : reduced;

    private static string Binary(string variable, string folder, string name)
    {
        string path = Path.Combine(Environment.GetEnvironmentVariable(variable) ?? Path.Combine(Root, folder), name);
        return File.Exists(path) ? path : throw new FileNotFoundException($"{path} isn't built: run packaging/publish.sh, and with --test-hooks.");
    }

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Kms.sln")))
        {
            folder = Path.GetDirectoryName(folder);
        }

        return folder ?? throw new DirectoryNotFoundException("Kms.sln isn't above the tests.");
    }
}
