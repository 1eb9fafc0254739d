using System.Diagnostics.Metrics;
using Kmsd.Metrics;
using Microsoft.Extensions.Time.Testing;

namespace Kmsd.Tests.Metrics;

public sealed class DaemonMeterTests : IDisposable
{
    private readonly FakeTimeProvider _clock = new();
    private readonly DaemonMeter _meter;

    public DaemonMeterTests() => _meter = new DaemonMeter(_clock);

    public void Dispose() => _meter.Dispose();

    [Fact]
    public void Series_of_one_name_stand_together_in_the_order_of_names()
    {
        Counter<long> b = _meter.Counter("kmsd_b_total", "Bees, counted.", ("kind", "wild"));
        Counter<long> a = _meter.Counter("kmsd_a_total", "Ants, counted.");
        Counter<long> tame = _meter.Counter("kmsd_b_total", "Bees, counted.", ("kind", "tame"));
        double level = 1.5;
        _meter.Gauge("kmsd_level", "Of the water.", () => level, ("side", "left"), ("bank", "east"));
        _meter.Counter("kmsd_c_total", "Cats, counted elsewhere.", () => 7);
        a.Add(1);
        b.Add(2);
        tame.Add(3);
        b.Add(40);
        _ = _meter.Write();
        level = -0.25;
        Assert.Equal(
            """
            # HELP kmsd_a_total Ants, counted.
            # TYPE kmsd_a_total counter
            kmsd_a_total 1
            # HELP kmsd_b_total Bees, counted.
            # TYPE kmsd_b_total counter
            kmsd_b_total{kind="wild"} 42
            kmsd_b_total{kind="tame"} 3
            # HELP kmsd_c_total Cats, counted elsewhere.
            # TYPE kmsd_c_total counter
            kmsd_c_total 7
            # HELP kmsd_level Of the water.
            # TYPE kmsd_level gauge
            kmsd_level{bank="east",side="left"} -0.25

            """,
            _meter.Write());
    }

    [Fact]
    public void A_bucket_holds_what_is_at_most_its_bound()
    {
        Histogram<double> sizes = _meter.Histogram("kmsd_sizes", "Of things, in one way.", [0.5, 2, 4], ("kind", "x"));
        foreach (double value in new[] { 0.5, 0.6, 2, 2.5, 4, 4.1, 1000 })
        {
            sizes.Record(value);
        }

        Assert.Equal(
            """
            # HELP kmsd_sizes Of things, in one way.
            # TYPE kmsd_sizes histogram
            kmsd_sizes_bucket{kind="x",le="0.5"} 1
            kmsd_sizes_bucket{kind="x",le="2"} 3
            kmsd_sizes_bucket{kind="x",le="4"} 5
            kmsd_sizes_bucket{kind="x",le="+Inf"} 7
            kmsd_sizes_sum{kind="x"} 1013.7
            kmsd_sizes_count{kind="x"} 7

            """,
            _meter.Write());
        _ = _meter.Read();
    }

    [Fact]
    public void What_has_told_nothing_yet_is_0()
    {
        _ = _meter.Counter("kmsd_a_total", "Ants, counted.");
        _ = _meter.Histogram("kmsd_sizes", "Of things, in one way.", Buckets.Seconds);
        Assert.All(_meter.Read(), sample => Assert.Equal(0, sample.Value));
        Assert.Equal("0.00005 10", $"{Buckets.Seconds[0]:0.#####} {Buckets.Seconds[^1]}");
    }

    [Fact]
    public void Labels_and_help_are_escaped()
    {
        _ = _meter.Counter("kmsd_a_total", "Back\\slash and\nline.", ("kind", "a\\b\"c\nd,e}f"));
        Sample sample = Assert.Single(_meter.Read());
        Assert.Equal("a\\b\"c\nd,e}f", sample.Label("kind"));
        Assert.StartsWith("# HELP kmsd_a_total Back\\\\slash and\\nline.\n", _meter.Write(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_is_lost_when_many_tell_at_once_and_others_read_and_make_more()
    {
        Counter<long> counter = _meter.Counter("kmsd_a_total", "Ants, counted.");
        Histogram<double> histogram = _meter.Histogram("kmsd_sizes", "Of things, in one way.", [1, 2]);
        LabelledCounters rare = new((first, second) => _meter.Counter("kmsd_rare_total", "Rare things.", ("first", first), ("second", second)));
        await Parallel.ForAsync(0, 8, TestContext.Current.CancellationToken, (_, _) =>
        {
            for (int i = 0; i < 20_000; i++)
            {
                counter.Add(1);
                histogram.Record(i % 3);
                rare.Add("x", i % 100 == 0 ? $"y{i}" : "y");
                if (i % 5_000 == 0)
                {
                    IReadOnlyList<Sample> read = _meter.Read();
                    Assert.NotEmpty(read);
                }
            }

            return ValueTask.CompletedTask;
        });
        Assert.Equal(160_000, _meter.Value("kmsd_a_total"));
        Assert.Equal(160_000, _meter.Value("kmsd_sizes_count"));
        Assert.Equal(159_992, _meter.Value("kmsd_sizes_sum"));
        Assert.Equal(160_000, _meter.Read().Where(sample => sample.Name == "kmsd_rare_total").Sum(sample => sample.Value));
    }

    [Fact]
    public void Two_meters_do_not_hear_each_other()
    {
        using DaemonMeter other = new(_clock);
        _meter.Counter("kmsd_a_total", "Ants, counted.").Add(1);
        other.Counter("kmsd_a_total", "Ants, counted.").Add(10);
        Assert.Equal((1, 10), (_meter.Value("kmsd_a_total"), other.Value("kmsd_a_total")));
    }

    [Fact]
    public void Telling_allocates_nothing()
    {
        Counter<long> counter = _meter.Counter("kmsd_a_total", "Ants, counted.", ("kind", "wild"));
        Histogram<double> histogram = _meter.Histogram("kmsd_sizes", "Of things, in one way.", Buckets.Seconds, ("kind", "x"));
        LabelledCounters rare = new((first, second) => _meter.Counter("kmsd_rare_total", "Rare things.", ("first", first), ("second", second)));
        Tell();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1_000; i++)
        {
            Tell();
        }

        // Less than a byte a time: what the runtime itself may allocate once, for a method that became hot, isn't ours.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 999);

        void Tell()
        {
            counter.Add(1);
            histogram.Record(_meter.SecondsSince(_meter.Now()));
            rare.Add("x", "y");
        }
    }
}
