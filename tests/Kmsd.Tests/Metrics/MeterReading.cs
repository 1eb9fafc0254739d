using Kmsd.Metrics;

namespace Kmsd.Tests.Metrics;

/// <summary>What a meter says, for tests.</summary>
internal static class MeterReading
{
    public static IReadOnlyList<Sample> Read(this DaemonMeter meter) => PrometheusReader.Read(meter.Write());

    /// <summary>0 where there is no such series.</summary>
    public static double Value(this DaemonMeter meter, string name, params (string Name, string Value)[] labels) =>
        meter.Read().SingleOrDefault(sample => sample.Name == name && sample.Labels.Order().SequenceEqual(labels.Order()))?.Value ?? 0;
}
