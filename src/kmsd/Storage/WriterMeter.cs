using System.Diagnostics.Metrics;
using Kmsd.Metrics;

namespace Kmsd.Storage;

/// <summary>What the writer tells of its commits.</summary>
internal sealed class WriterMeter(DaemonMeter meter)
{
    private readonly Counter<long> _failures = meter.Counter("kmsd_commit_failures_total", "Commits that failed; whatever was in them was refused.");
    private readonly Histogram<double> _requests = meter.Histogram("kmsd_commit_requests", "Requests written in one commit.", Buckets.Requests);
    private readonly OfKind _full = new(meter, "full");
    private readonly OfKind _normal = new(meter, "normal");
    private readonly OfKind _deferred = new(meter, "deferred");

    public long Now() => meter.Now();

    public void Committed(bool isFull, int requests, long began) => Count(isFull ? _full : _normal, requests, began);

    public void Deferred(int requests, long began) => Count(_deferred, requests, began);

    public void Failed() => _failures.Add(1);

    private void Count(OfKind kind, int requests, long began)
    {
        kind.Commits.Add(1);
        kind.Durations.Record(meter.SecondsSince(began));
        _requests.Record(requests);
    }

    private sealed class OfKind(DaemonMeter meter, string kind)
    {
        public Counter<long> Commits { get; } = meter.Counter(
            "kmsd_commits_total", "Commits. Kind full reaches the disk before it is answered, normal survives the death of the process, deferred does so beside the database.", ("kind", kind));

        public Histogram<double> Durations { get; } = meter.Histogram(
            "kmsd_commit_duration_seconds", "Time from the begin of a transaction to the end of its commit.", Buckets.Seconds, ("kind", kind));
    }
}
