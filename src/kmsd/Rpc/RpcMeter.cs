using System.Collections.Frozen;
using System.Diagnostics.Metrics;
using Kms.Client.Protocol;
using Kmsd.Metrics;

namespace Kmsd.Rpc;

/// <summary>What requests came to and how long they took; and what was refused before it became one.</summary>
internal sealed class RpcMeter
{
    /// <summary>The method of a line that names none that there is.</summary>
    public const string NoMethod = "none";

    private const string Requests = "kmsd_requests_total";
    private const string RequestsHelp = "Requests by method and outcome: ok, or the reason of the refusal. Method none: a line that is no request.";

    private readonly DaemonMeter _meter;
    private readonly FrozenDictionary<string, (Counter<long> Ok, Histogram<double> Durations)> _methods;
    private readonly LabelledCounters _refused;
    private readonly Counter<long> _refusedConnections;

    public RpcMeter(DaemonMeter meter)
    {
        _meter = meter;
        var families = RpcMethods.All.Values.Select(method => method.Family).Distinct().Order(StringComparer.Ordinal).ToDictionary(family => family, family =>
            meter.Histogram(
                "kmsd_request_duration_seconds", "Time from a request to its answer, by family of methods; the wait for others of the same user included.",
                Buckets.Seconds, ("family", family)));
        _methods = RpcMethods.All.Values.OrderBy(method => method.Name, StringComparer.Ordinal).ToFrozenDictionary(
            method => method.Name,
            method => (meter.Counter(Requests, RequestsHelp, ("method", method.Name), ("outcome", "ok")), families[method.Family]),
            StringComparer.Ordinal);
        _refused = new LabelledCounters((method, outcome) => meter.Counter(Requests, RequestsHelp, ("method", method), ("outcome", outcome)));
        _refusedConnections = meter.Counter("kmsd_connections_refused_total", "Connections that were refused: there were too many of the user, or in all.");
    }

    public long Now() => _meter.Now();

    public void Answered(string method, long began)
    {
        (Counter<long> ok, Histogram<double> durations) = _methods[method];
        ok.Add(1);
        durations.Record(_meter.SecondsSince(began));
    }

    public void Refused(string method, KmsErrorCode code, long began)
    {
        Refused(method, code);
        _methods[method].Durations.Record(_meter.SecondsSince(began));
    }

    /// <summary>It never came to run.</summary>
    public void Refused(string? method, KmsErrorCode code) =>
        _refused.Add(method is not null && _methods.ContainsKey(method) ? method : NoMethod, code.ToReason());

    public void ConnectionRefused() => _refusedConnections.Add(1);
}
