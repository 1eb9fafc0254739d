using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Metrics;

namespace Kmsd.Rpc;

/// <summary>What the daemon counts and measures of itself: <c>system.metrics</c>.</summary>
internal sealed class ReadMetrics(DaemonMeter meter, Operators operators)
{
    public MetricsResult Run(Caller caller)
    {
        operators.Require(caller);
        return new MetricsResult { Text = meter.Write() };
    }
}
