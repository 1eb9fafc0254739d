using System.Diagnostics.Metrics;

namespace Kmsd.Metrics;

/// <summary>What one instrument has told so far. Told by any thread, without a lock.</summary>
internal sealed class Series
{
    private readonly double[]? _bounds;
    private readonly long[] _buckets = [];
    private readonly bool _isSum;
    private long _count;
    private double _value;

    public Series(Instrument instrument)
    {
        Name = instrument.Name;
        Help = instrument.Description ?? "";
        Labels = [.. (instrument.Tags ?? []).Select(tag => (tag.Key, (string)tag.Value!))];
        switch (instrument)
        {
            case Histogram<double> histogram:
                Kind = SeriesKind.Histogram;
                _bounds = [.. histogram.Advice!.HistogramBucketBoundaries!];
                _buckets = new long[_bounds.Length + 1];
                break;
            case Counter<long>:
                Kind = SeriesKind.Counter;
                _isSum = true;
                break;
            case ObservableCounter<long>:
                Kind = SeriesKind.Counter;
                break;
            default:
                Kind = SeriesKind.Gauge;
                break;
        }
    }

    public string Name { get; }

    public string Help { get; }

    public IReadOnlyList<(string Name, string Value)> Labels { get; }

    public SeriesKind Kind { get; }

    /// <summary>Of a histogram, the upper bounds of its buckets; the last bucket has none.</summary>
    public IReadOnlyList<double> Bounds => _bounds ?? [];

    /// <summary>Of a counter.</summary>
    public long Count => Interlocked.Read(ref _count);

    /// <summary>Of a gauge; of a histogram, the sum of all that was measured.</summary>
    public double Value => Volatile.Read(ref _value);

    /// <summary>Of a histogram, how often a value fell into a bucket, and into none before it.</summary>
    public long InBucket(int index) => Interlocked.Read(ref _buckets[index]);

    public void Tell(long value)
    {
        if (_isSum)
        {
            _ = Interlocked.Add(ref _count, value);
        }
        else
        {
            _ = Interlocked.Exchange(ref _count, value);
        }
    }

    public void Tell(double value)
    {
        if (_bounds is null)
        {
            Volatile.Write(ref _value, value);
            return;
        }

        int index = 0;
        while (index < _bounds.Length && value > _bounds[index])
        {
            index++;
        }

        _ = Interlocked.Increment(ref _buckets[index]);
        double before;
        do
        {
            before = Volatile.Read(ref _value);
        }
        while (Interlocked.CompareExchange(ref _value, before + value, before) != before);
    }
}

/// <summary>What a series is to Prometheus.</summary>
internal enum SeriesKind
{
    None = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
}
