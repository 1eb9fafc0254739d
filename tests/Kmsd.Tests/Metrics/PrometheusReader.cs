using System.Globalization;
using System.Text.RegularExpressions;

namespace Kmsd.Tests.Metrics;

/// <summary>One line of Prometheus' text format.</summary>
internal sealed record Sample(string Name, IReadOnlyList<(string Name, string Value)> Labels, double Value)
{
    public string Label(string name) => Labels.Single(label => label.Name == name).Value;
}

/// <summary>
/// Reads Prometheus' text format 0.0.4 as strictly as its documentation allows, and more: names and labels of their forms, one
/// group a name with one HELP and one TYPE before it, no series twice, histograms whole. Written from the documentation.
/// </summary>
internal static partial class PrometheusReader
{
    public static IReadOnlyList<Sample> Read(string text)
    {
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        List<Sample> samples = [];
        HashSet<string> helped = [];
        Dictionary<string, string> types = [];
        HashSet<string> closed = [];
        string group = "";
        foreach (string line in text[..^1].Split('\n'))
        {
            if (line.StartsWith("# HELP ", StringComparison.Ordinal))
            {
                string name = line.Split(' ', 4)[2];
                Assert.True(helped.Add(name), $"{name} has two HELP lines.");
                Assert.True(line.Split(' ', 4) is [_, _, _, { Length: > 5 }], $"{name} isn't explained.");
                Assert.True(closed.Add(name), $"{name} comes in two groups.");
                group = name;
                continue;
            }

            if (line.StartsWith("# TYPE ", StringComparison.Ordinal))
            {
                string[] parts = line.Split(' ');
                Assert.Equal(group, parts[2]);
                Assert.True(parts[3] is "counter" or "gauge" or "histogram", line);
                Assert.True(types.TryAdd(parts[2], parts[3]));
                continue;
            }

            Sample sample = ReadSample(line);
            Assert.True(
                sample.Name == group || (types[group] == "histogram" && sample.Name[group.Length..] is "_bucket" or "_sum" or "_count"),
                $"{sample.Name} stands in the group {group}.");
            Assert.StartsWith("kmsd_", sample.Name, StringComparison.Ordinal);
            Assert.Equal(types[group] == "counter", group.EndsWith("_total", StringComparison.Ordinal));
            samples.Add(sample);
        }

        Assert.Equal(samples.Count, samples.Select(sample => (sample.Name, string.Join(',', sample.Labels))).Distinct().Count());
        Assert.All(types.Where(type => type.Value == "counter"), type => Assert.All(samples.Where(sample => sample.Name == type.Key), sample => Assert.True(sample.Value >= 0)));
        Assert.All(types.Where(type => type.Value == "histogram"), type => CheckHistogram(type.Key, samples));
        return samples;
    }

    private static void CheckHistogram(string name, List<Sample> samples)
    {
        IEnumerable<IGrouping<string, Sample>> series = samples.Where(sample => sample.Name == name + "_bucket")
            .GroupBy(sample => string.Join(',', sample.Labels.Where(label => label.Name != "le")));
        Assert.NotEmpty(series);
        foreach (IGrouping<string, Sample> one in series)
        {
            double[] bounds = [.. one.Select(bucket => bucket.Label("le") == "+Inf" ? double.PositiveInfinity : Number(bucket.Label("le")))];
            Assert.Equal(bounds.Order().Distinct(), bounds);
            Assert.Equal(double.PositiveInfinity, bounds[^1]);
            Assert.Equal(one.Select(bucket => bucket.Value).Order(), one.Select(bucket => bucket.Value));
            Assert.Equal(one.Last().Value, samples.Single(sample => sample.Name == name + "_count" && string.Join(',', sample.Labels) == one.Key).Value);
            Assert.True(samples.Single(sample => sample.Name == name + "_sum" && string.Join(',', sample.Labels) == one.Key).Value >= 0);
        }
    }

    private static Sample ReadSample(string line)
    {
        Match match = SampleLine().Match(line);
        Assert.True(match.Success, $"Not a sample: {line}");
        (string, string)[] labels = [.. match.Groups["label"].Captures.Zip(match.Groups["value"].Captures, (label, value) => (label.Value, Unescape(value.Value)))];
        Assert.Equal(labels.Length, labels.Select(label => label.Item1).Distinct().Count());
        return new Sample(match.Groups["name"].Value, labels, Number(match.Groups["number"].Value));
    }

    private static string Unescape(string value) => Escape().Replace(value, match => match.Value[1] == 'n' ? "\n" : match.Value[1..]);

    private static double Number(string text) => text switch
    {
        "+Inf" => double.PositiveInfinity,
        "-Inf" => double.NegativeInfinity,
        _ => double.Parse(text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture),
    };

    [GeneratedRegex("""^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{((?<label>[a-zA-Z_][a-zA-Z0-9_]*)="(?<value>(\\[\\n"]|[^\\"\n])*)",?)+\})? (?<number>\S+)$""", RegexOptions.ExplicitCapture)]
    private static partial Regex SampleLine();

    [GeneratedRegex("""\\[\\n"]""")]
    private static partial Regex Escape();
}
