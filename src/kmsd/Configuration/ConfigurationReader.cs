using System.Globalization;
using System.Text;
using Kmsd.Hosting;

namespace Kmsd.Configuration;

/// <summary>One setting as it stands in a file.</summary>
internal sealed record ConfigurationEntry(string Section, string Key, string Value, string File, int Line)
{
    public string Name => $"[{Section}] {Key}";

    /// <summary>The refusal of this entry, with its place.</summary>
    public StartupException Refuse(string message) => ConfigurationReader.Refuse(File, Line, message);
}

/// <summary>
/// Reads the grammar of <c>kmsd.conf</c>: <c>[section]</c>, <c>key = value</c>, <c>#</c> and <c>;</c> at the start of a line
/// only, no quoting, no continuation.
/// </summary>
internal static class ConfigurationReader
{
    private const int LongestFileInBytes = 1 << 20;

    public static IReadOnlyList<ConfigurationEntry> ReadFile(string path, Func<string, bool>? isSection = null)
    {
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read);
            if (stream.Length > LongestFileInBytes)
            {
                throw new StartupException(ExitCode.Configuration, $"{path} is longer than 1 MiB; that is no configuration file.");
            }

            byte[] bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return Read(path, new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes), isSection);
        }
        catch (DecoderFallbackException exception)
        {
            throw new StartupException(ExitCode.Configuration, $"{path} is not UTF-8 text.", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(ExitCode.Configuration, $"The configuration can't be read: {exception.Message}", exception);
        }
    }

    /// <exception cref="StartupException">The text breaks the grammar, or repeats a key.</exception>
    public static IReadOnlyList<ConfigurationEntry> Read(string file, string text, Func<string, bool>? isSection = null)
    {
        List<ConfigurationEntry> entries = [];
        HashSet<(string, string)> seen = [];
        string? section = null;
        int number = 0;
        foreach (ReadOnlySpan<char> raw in text.AsSpan().EnumerateLines())
        {
            number++;
            ReadOnlySpan<char> line = raw.Trim();
            if (line.ContainsAnyInRange('\0', '\b') || line.ContainsAnyInRange('\n', '\u001f') || line.Contains('\u007f'))
            {
                throw Refuse(file, number, "control characters have no place here.");
            }

            if (line.IsEmpty || line[0] is '#' or ';')
            {
                continue;
            }

            if (line[0] == '[')
            {
                section = line[^1] == ']' && line.Length > 2
                    ? line[1..^1].Trim().ToString()
                    : throw Refuse(file, number, "a section is written [name].");
                if (isSection?.Invoke(section) == false)
                {
                    throw Refuse(file, number, $"there is no section [{section}].");
                }

                continue;
            }

            int equals = line.IndexOf('=');
            if (equals <= 0)
            {
                throw Refuse(file, number, "a setting is written key = value.");
            }

            string key = line[..equals].Trim().ToString();
            if (section is null)
            {
                throw Refuse(file, number, $"'{key}' stands before the first [section].");
            }

            if (!seen.Add((section, key)))
            {
                throw Refuse(file, number, $"'{key}' is set twice in [{section}] of this file.");
            }

            entries.Add(new ConfigurationEntry(section, key, line[(equals + 1)..].Trim().ToString(), file, number));
        }

        return entries;
    }

    public static StartupException Refuse(string file, int line, string message) => new(
        ExitCode.Configuration, string.Create(CultureInfo.InvariantCulture, $"{file}:{line}: {message}"));
}
