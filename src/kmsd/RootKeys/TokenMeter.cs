using System.Collections.Frozen;
using System.Diagnostics.Metrics;
using Kms.Client.Protocol;
using Kmsd.Metrics;

namespace Kmsd.RootKeys;

/// <summary>What a call asks of the token.</summary>
internal enum TokenCall
{
    None = 0,
    Seal = 1,
    Open = 2,
    Generate = 3,
    Unwrap = 4,
    Derive = 5,
    Random = 6,
    Encrypt = 7,
    Decrypt = 8,
    Sign = 9,
    Probe = 10,
    Rewrap = 11,
    Anchor = 12,
    Root = 13,
}

/// <summary>What calls into the token came to, and how long they took.</summary>
internal sealed class TokenMeter
{
    private const string Calls = "kmsd_token_calls_total";
    private const string CallsHelp = "Calls into the token, by what was asked of it and what came of it: ok, or the reason that callers were told.";

    private readonly DaemonMeter _meter;
    private readonly FrozenDictionary<TokenCall, (string Name, Counter<long> Ok, Histogram<double> Durations)> _kinds;
    private readonly LabelledCounters _refused;

    public TokenMeter(DaemonMeter meter)
    {
        _meter = meter;
        _kinds = Enum.GetValues<TokenCall>().Where(kind => kind != TokenCall.None).ToFrozenDictionary(kind => kind, kind => Make(kind.ToString().ToLowerInvariant()));
        _refused = new LabelledCounters((kind, outcome) => meter.Counter(Calls, CallsHelp, ("kind", kind), ("outcome", outcome)));
    }

    public long Now() => _meter.Now();

    public void Succeeded(TokenCall kind, long began)
    {
        _kinds[kind].Ok.Add(1);
        _kinds[kind].Durations.Record(_meter.SecondsSince(began));
    }

    public void Failed(TokenCall kind, KmsErrorCode code, long began)
    {
        _refused.Add(_kinds[kind].Name, code.ToReason());
        _kinds[kind].Durations.Record(_meter.SecondsSince(began));
    }

    private (string, Counter<long>, Histogram<double>) Make(string kind) => (
        kind,
        _meter.Counter(Calls, CallsHelp, ("kind", kind), ("outcome", "ok")),
        _meter.Histogram(
            "kmsd_token_call_duration_seconds", "Time that a caller waited for the token, until an answer or until he gave up.", Buckets.Seconds, ("kind", kind)));
}
