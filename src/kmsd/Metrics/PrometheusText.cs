using System.Globalization;
using System.Text;

namespace Kmsd.Metrics;

/// <summary>
/// Prometheus' text format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/. One group a name, in the order
/// of names; within it the series in the order in which they were made.
/// </summary>
internal static class PrometheusText
{
    public static string Write(IEnumerable<Series> all)
    {
        StringBuilder text = new();
        foreach (IGrouping<string, Series> group in all.GroupBy(series => series.Name, StringComparer.Ordinal).OrderBy(group => group.Key, StringComparer.Ordinal))
        {
            Series first = group.First();
            string type = first.Kind switch
            {
                SeriesKind.Counter => "counter",
                SeriesKind.Gauge => "gauge",
                _ => "histogram",
            };
            string help = first.Help.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
            _ = text.Append(CultureInfo.InvariantCulture, $"# HELP {group.Key} {help}\n# TYPE {group.Key} {type}\n");
            foreach (Series series in group)
            {
                Write(text, series);
            }
        }

        return text.ToString();
    }

    private static void Write(StringBuilder text, Series series)
    {
        switch (series.Kind)
        {
            case SeriesKind.Histogram:
                WriteHistogram(text, series);
                break;
            case SeriesKind.Counter:
                Sample(text, series.Name, series.Labels, series.Count);
                break;
            default:
                Sample(text, series.Name, series.Labels, series.Value);
                break;
        }
    }

    /// <summary>Buckets hold all that is at most their bound; the count is the last one's, so that both agree however much is told meanwhile.</summary>
    private static void WriteHistogram(StringBuilder text, Series series)
    {
        long count = 0;
        for (int i = 0; i <= series.Bounds.Count; i++)
        {
            count += series.InBucket(i);
            string bound = i < series.Bounds.Count ? Number(series.Bounds[i]) : "+Inf";
            Sample(text, series.Name + "_bucket", [.. series.Labels, ("le", bound)], count);
        }

        Sample(text, series.Name + "_sum", series.Labels, series.Value);
        Sample(text, series.Name + "_count", series.Labels, count);
    }

    private static void Sample(StringBuilder text, string name, IReadOnlyList<(string Name, string Value)> labels, double value)
    {
        _ = text.Append(name);
        if (labels.Count > 0)
        {
            _ = text.Append('{').AppendJoin(',', labels.Select(label => $"{label.Name}=\"{Escape(label.Value)}\"")).Append('}');
        }

        _ = text.Append(' ').Append(Number(value)).Append('\n');
    }

    private static string Escape(string value) => value.Replace("\\", "\\\\", StringComparison.Ordinal)
        .Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    private static string Number(double value) => double.IsPositiveInfinity(value) ? "+Inf"
        : double.IsNegativeInfinity(value) ? "-Inf"
        : value.ToString("R", CultureInfo.InvariantCulture);
}
