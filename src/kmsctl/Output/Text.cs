using System.Globalization;
using System.Text;

namespace Kmsctl.Output;

/// <summary>Values as people read them; nothing that comes from elsewhere can steer a terminal or break a line.</summary>
internal static class Text
{
    public const string None = "-";

    public static string Of(DateTimeOffset time) =>
        time.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    public static string Of(DateTimeOffset? time) => time is { } known ? Of(known) : "never";

    /// <summary>As a table has room for it: to the minute.</summary>
    public static string Brief(DateTimeOffset? time) =>
        time is { } known ? known.ToUniversalTime().ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) : "never";

    /// <summary>To the second, as a table has room for it.</summary>
    public static string Exact(DateTimeOffset time) => time.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);

    public static string Of(long number) => number.ToString(CultureInfo.InvariantCulture);

    public static string? Of(int? number) => number?.ToString(CultureInfo.InvariantCulture);

    /// <summary>So many of a thing whose plural ends in s.</summary>
    public static string Count(long number, string noun) => $"{Of(number)} {noun}{(number == 1 ? string.Empty : "s")}";

    /// <summary>Control and formatting characters (tabs, escapes, line ends, reversed writing) become <c>\uXXXX</c>.</summary>
    public static string Clean(string text)
    {
        var clean = new StringBuilder(text.Length);
        foreach (Rune rune in text.AsSpan().EnumerateRunes()) // A lone surrogate arrives as U+FFFD.
        {
            bool steers = Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format
                or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator;
            clean.Append(steers ? string.Create(CultureInfo.InvariantCulture, $"\\u{rune.Value:X4}") : rune.ToString());
        }

        return clean.ToString();
    }
}
