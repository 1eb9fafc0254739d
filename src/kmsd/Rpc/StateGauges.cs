using Kms.Client.Protocol;
using Kmsd.Audit;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Metrics;
using Kmsd.Notifications;
using Kmsd.RootKeys;
using Kmsd.Rotation;
using Kmsd.Storage;

namespace Kmsd.Rpc;

/// <summary>What is read of the daemon's parts when somebody asks for the metrics.</summary>
internal sealed class StateGauges(DaemonMeter meter, TimeProvider clock)
{
    /// <summary>When this daemon started, and what it is.</summary>
    public void AddProcess()
    {
        DateTimeOffset started = clock.GetUtcNow();
        meter.Gauge("kmsd_build_info", "1; the version is the label.", () => 1, ("version", ProductVersion.Text));
        meter.Gauge("kmsd_start_time_seconds", "When the daemon started, as Unix time.", () => Unix(started));
    }

    public void AddRootKey(RootKey root, RootGenerations generations)
    {
        meter.Gauge("kmsd_token_available", "1 if the token answered its last call, else 0.", () => root.IsAvailable ? 1 : 0);
        meter.Gauge(
            "kmsd_root_rotate_by_timestamp_seconds", "When the root key must have been replaced, as Unix time: (it - time()) / 86400 are the days left.",
            () => Unix(generations.Current.RotateBy));
    }

    public void AddStorage(Writer writer, HistoryLog history)
    {
        meter.Gauge("kmsd_storage_available", "1 if the last commit succeeded, else 0.", () => writer.IsHealthy ? 1 : 0);
        meter.Gauge("kmsd_write_queue_length", "Requests that wait for the writer.", () => writer.QueueLength);
        meter.Gauge("kmsd_history_sequence", "The number of the last entry of the history.", () => history.Committed.Sequence);
    }

    public void AddHistory(ProveHistory history)
    {
        meter.Gauge(
            "kmsd_history_failure", "1 if an entry of the history wasn't as it was written, or missing, when it was last verified; else 0.",
            () => history.Last?.Verdict.IsGood == false ? 1 : 0);
        meter.Gauge(
            "kmsd_history_verified_timestamp_seconds", "When the whole history was last found to be as it was written, as Unix time; 0 before the first time since the start.",
            () => history.LastGood is HistoryFinding good ? Unix(good.At) : 0);
        meter.Gauge("kmsd_history_verified_entries", "How many entries it had then.", () => history.LastGood?.Verdict.Entries ?? 0);
    }

    public void AddKeys(CatalogueLedger catalogue, ProveNotices notices, MaterialCache cache)
    {
        meter.Gauge(
            "kmsd_integrity_failure", "1 if a row of the database didn't match its authentication code at the start, and what it belongs to isn't served or shown; else 0.",
            () => catalogue.Current.HasQuarantine || notices.Bad > 0 ? 1 : 0);
        foreach (KeyState state in new[] { KeyState.Enabled, KeyState.Disabled, KeyState.PendingDeletion })
        {
            AddKeys(Wire.KeyStates[state], () => catalogue.Current.Keys.Values.Count(key => key.State == state));
        }

        AddKeys(Wire.KeyStates[KeyState.Deleted], () => catalogue.Current.Deleted.Count);
        meter.Gauge(
            "kmsd_rotations_due", "Keys whose timed rotation is due. It follows within a second; what stays due fails.",
            () => catalogue.Current.Keys.Values.Count(key => RotationPolicy.IsDue(key, clock.GetUtcNow())));
        meter.Gauge("kmsd_cache_entries", "Versions that are open.", () => cache.Count);
    }

    public void AddCallers(ConnectionCounter connections, NoticeHub notices, StrangerCounter strangers)
    {
        meter.Gauge("kmsd_connections", "Open connections.", () => connections.Count);
        meter.Gauge("kmsd_notification_subscribers", "Connections that get notifications as they come.", () => notices.Count);
        meter.Counter("kmsd_stranger_refusals_total", "Refusals of callers who have no right on what they asked for.", () => strangers.Total);
    }

    private void AddKeys(string state, Func<double> count) => meter.Gauge(
        "kmsd_keys", "Keys by state. Of deleted ones only what remains is kept, for a year.", count, ("state", state));

    private static double Unix(DateTimeOffset time) => time.ToUnixTimeMilliseconds() / 1000.0;
}
