using System.Diagnostics.Metrics;

namespace Kmsd.Metrics;

/// <summary>
/// What the daemon counts and measures of itself: instruments of .NET, and a listener that adds up in memory what they tell.
/// Each instrument is one series whose labels are fixed when it is made, so that telling it something looks nothing up and
/// allocates nothing.
/// </summary>
internal sealed class DaemonMeter : IDisposable
{
    private readonly TimeProvider _clock;
    private readonly Meter _meter = new("kmsd");
    private readonly MeterListener _listener = new();
    private readonly Lock _lock = new();
    private readonly List<Series> _series = [];

    public DaemonMeter(TimeProvider clock)
    {
        _clock = clock;
        _listener.InstrumentPublished = Listen;
        _listener.SetMeasurementEventCallback<long>(static (_, value, _, series) => ((Series)series!).Tell(value));
        _listener.SetMeasurementEventCallback<double>(static (_, value, _, series) => ((Series)series!).Tell(value));
        _listener.Start();
    }

    /// <summary>A moment, for <see cref="SecondsSince"/>.</summary>
    public long Now() => _clock.GetTimestamp();

    public double SecondsSince(long moment) => _clock.GetElapsedTime(moment).TotalSeconds;

    /// <summary>A count that only rises. Its name ends in <c>_total</c>.</summary>
    public Counter<long> Counter(string name, string help, params ReadOnlySpan<(string Name, string Value)> labels) =>
        _meter.CreateCounter<long>(name, null, help, Tags(labels));

    /// <summary>A count that somebody else keeps, read when it is asked for.</summary>
    public void Counter(string name, string help, Func<long> read) => _ = _meter.CreateObservableCounter(name, read, null, help);

    /// <summary>A value that rises and falls, read when it is asked for.</summary>
    public void Gauge(string name, string help, Func<double> read, params ReadOnlySpan<(string Name, string Value)> labels) =>
        _ = _meter.CreateObservableGauge(name, read, null, help, Tags(labels));

    /// <summary>How often a measured value was at most each of the bounds.</summary>
    public Histogram<double> Histogram(string name, string help, double[] bounds, params ReadOnlySpan<(string Name, string Value)> labels) =>
        _meter.CreateHistogram(name, null, help, Tags(labels), new InstrumentAdvice<double> { HistogramBucketBoundaries = bounds });

    /// <summary>Everything, in Prometheus' text format.</summary>
    public string Write()
    {
        _listener.RecordObservableInstruments();
        Series[] all;
        lock (_lock)
        {
            all = [.. _series];
        }

        return PrometheusText.Write(all);
    }

    public void Dispose()
    {
        _listener.Dispose();
        _meter.Dispose();
    }

    private void Listen(Instrument instrument, MeterListener listener)
    {
        if (!ReferenceEquals(instrument.Meter, _meter))
        {
            return; // Of a library, or of another daemon in a test.
        }

        Series series = new(instrument);
        lock (_lock)
        {
            _series.Add(series);
        }

        listener.EnableMeasurementEvents(instrument, series);
    }

    private static KeyValuePair<string, object?>[] Tags(ReadOnlySpan<(string Name, string Value)> labels)
    {
        var tags = new KeyValuePair<string, object?>[labels.Length];
        for (int i = 0; i < labels.Length; i++)
        {
            tags[i] = new(labels[i].Name, labels[i].Value);
        }

        return tags;
    }
}
