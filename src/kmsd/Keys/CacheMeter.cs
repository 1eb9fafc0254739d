using System.Diagnostics.Metrics;
using Kmsd.Metrics;

namespace Kmsd.Keys;

/// <summary>How often the cache of opened versions had what was asked for.</summary>
internal sealed class CacheMeter(DaemonMeter meter)
{
    private readonly Counter<long> _hits = meter.Counter("kmsd_cache_hits_total", "Uses whose version was open already.");
    private readonly Counter<long> _misses = meter.Counter("kmsd_cache_misses_total", "Uses that had to wait for the token to open their version.");

    public void Hit() => _hits.Add(1);

    public void Missed() => _misses.Add(1);
}
