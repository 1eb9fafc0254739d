using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Tests;

/// <summary>Every line that the journal can hold: one number each, and each explained.</summary>
public sealed partial class JournalTests
{
    private static readonly LoggerMessageAttribute[] s_events =
    [
        .. typeof(Writer).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods(BindingFlags.Static | BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            .Select(method => method.GetCustomAttribute<LoggerMessageAttribute>()).OfType<LoggerMessageAttribute>(),
    ];

    [Fact]
    public void No_number_is_used_twice()
    {
        Assert.True(s_events.Length > 20);
        Assert.Equal(s_events.Length, s_events.Select(one => one.EventId).Distinct().Count());
        Assert.All(s_events, one => Assert.InRange(one.EventId, 1000, 9999));
    }

    /// <summary>docs/operations.md: number, level, text, what to do.</summary>
    [Fact]
    public void Each_has_its_row_in_the_documents_with_its_level()
    {
        string page = File.ReadAllText(Path.Combine(Repository.Root(), "docs/operations.md"));
        var rows = Row().Matches(page).ToDictionary(
            row => int.Parse(row.Groups[1].Value, CultureInfo.InvariantCulture), row => row.Groups[2].Value);
        Assert.Equal(
            s_events.OrderBy(one => one.EventId).Select(one => (one.EventId, one.Level.ToString().ToLowerInvariant())),
            rows.OrderBy(row => row.Key).Select(row => (row.Key, row.Value)));
    }

    /// <summary>A line takes what has a name; free text from elsewhere, and secrets, have no place in it.</summary>
    [Fact]
    public void No_line_takes_bytes_or_a_payload()
    {
        Assert.All(
            typeof(Writer).Assembly.GetTypes()
                .SelectMany(type => type.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
                .Where(method => method.GetCustomAttribute<LoggerMessageAttribute>() is not null).SelectMany(method => method.GetParameters()),
            parameter => Assert.False(
                parameter.ParameterType == typeof(byte[]) || parameter.ParameterType.Name.Contains("Span", StringComparison.Ordinal)
                || parameter.ParameterType.Namespace == "Kms.Client.Protocol" && parameter.ParameterType.Name.EndsWith("Request", StringComparison.Ordinal)
                || parameter.ParameterType.Name is "SensitiveBytes" or "SecretBytes",
                $"{parameter.Member.Name}({parameter.Name})"));
    }

    [GeneratedRegex("""^\| (\d{4}) \| (\w+) \|""", RegexOptions.Multiline)]
    private static partial Regex Row();
}
