using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Kmsd.Metrics;

/// <summary>Counters of one name that are made when they are first needed, for what is rare: refusals and faults.</summary>
/// <param name="make">Makes the counter with two labels' values.</param>
internal sealed class LabelledCounters(Func<string, string, Counter<long>> make)
{
    private readonly Lock _making = new();
    private readonly ConcurrentDictionary<(string, string), Counter<long>> _counters = new();

    public void Add(string first, string second) =>
        (_counters.TryGetValue((first, second), out Counter<long>? counter) ? counter : Make(first, second)).Add(1);

    /// <summary>One at a time: two counters with the same labels would be one series told twice.</summary>
    private Counter<long> Make(string first, string second)
    {
        lock (_making)
        {
            return _counters.GetOrAdd((first, second), static (values, make) => make(values.Item1, values.Item2), make);
        }
    }
}
