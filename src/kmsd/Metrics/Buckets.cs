namespace Kmsd.Metrics;

/// <summary>The bounds of histograms.</summary>
internal static class Buckets
{
    /// <summary>From 50 µs to 10 s.</summary>
    public static readonly double[] Seconds =
        [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

    /// <summary>Up to the most requests in one commit.</summary>
    public static readonly double[] Requests = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
}
