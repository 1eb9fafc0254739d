using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Notifications;
using Kmsd.Rpc;
using Kmsd.Tests.Metrics;

namespace Kmsd.Tests.Rpc;

/// <summary>Each thing that is counted, seen to move.</summary>
public sealed class MetricsTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Metrics_are_for_operators_alone()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = PrometheusReader.Read(daemon.Operations.ReadMetrics.Run(Daemon.Operator).Text);
        _ = Refusal.Of(KmsErrorCode.Forbidden, () => daemon.Operations.ReadMetrics.Run(Daemon.Manager));
    }

    [Fact]
    public async Task Requests_are_counted_by_method_and_outcome_and_timed_by_family()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        RequestGuard guard = Guard(daemon, Daemon.Manager);
        _ = await daemon.CreateKeyAsync("key-1");
        await GetKey("key-1");
        await GetKey("key-1");
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => GetKey("key-2"));
        _ = await Assert.ThrowsAsync<InvalidOperationException>(
            () => guard.RunAsync<int>("keys.get", new KeyRequest { Key = "key-1" }, Throw(new InvalidOperationException("A fault."))));
        _ = await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => guard.RunAsync<int>("crypto.encrypt", new KeyRequest { Key = "key-1" }, Throw(new OperationCanceledException())));
        daemon.Requests.Refused("keys.create", KmsErrorCode.InvalidParams);
        daemon.Requests.Refused("keys.undo", KmsErrorCode.MethodNotFound);
        daemon.Requests.Refused(null, KmsErrorCode.ParseError);
        Assert.Equal(
            [
                "crypto.encrypt cancelled 1", "keys.create invalidParams 1", "keys.get internal 1", "keys.get notFound 1", "keys.get ok 2",
                "none methodNotFound 1", "none parseError 1",
            ],
            daemon.Meter.Read().Where(sample => sample.Name == "kmsd_requests_total" && sample.Value > 0)
                .Select(sample => $"{sample.Label("method")} {sample.Label("outcome")} {sample.Value}").Order(StringComparer.Ordinal));
        Assert.Equal(4, daemon.Meter.Value("kmsd_request_duration_seconds_count", ("family", "keys")));
        Assert.Equal(1, daemon.Meter.Value("kmsd_request_duration_seconds_count", ("family", "crypto")));
        Assert.Equal(
            RpcMethods.All.Keys.Order(StringComparer.Ordinal),
            daemon.Meter.Read().Where(sample => sample.Name == "kmsd_requests_total" && sample.Label("outcome") == "ok").Select(sample => sample.Label("method")));

        Task GetKey(string name)
        {
            KeyRequest request = new() { Key = name };
            return guard.RunAsync("keys.get", request, () => daemon.Operations.GetKey.Run(Daemon.Manager, request));
        }
    }

    /// <summary>The wait for others of the same user counts, since the caller waits.</summary>
    [Fact]
    public async Task A_request_is_timed_from_its_arrival()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        RequestGuard guard = Guard(daemon, Daemon.Manager);
        TaskCompletionSource go = new();
        Task<int> first = guard.RunAsync("system.status", new EmptyRequest(), async () =>
        {
            await go.Task;
            return 1;
        });
        Task<int> second = guard.RunAsync("system.whoAmI", new EmptyRequest(), () => 2);
        daemon.Clock.Advance(TimeSpan.FromSeconds(2));
        go.SetResult();
        Assert.Equal((1, 2), (await first, await second));
        Assert.Equal(4, daemon.Meter.Value("kmsd_request_duration_seconds_sum", ("family", "system")));
        Assert.Equal(0, daemon.Meter.Value("kmsd_request_duration_seconds_bucket", ("family", "system"), ("le", "1")));
        Assert.Equal(2, daemon.Meter.Value("kmsd_request_duration_seconds_bucket", ("family", "system"), ("le", "2.5")));
    }

    [Fact]
    public async Task A_refusal_that_cannot_be_recorded_is_counted_as_what_is_answered()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        RequestGuard guard = Guard(daemon, Daemon.Manager);
        _ = await daemon.CreateKeyAsync("key-1");
        _ = daemon.Sql("ALTER TABLE history RENAME TO history_gone");
        _ = await Refusal.OfAsync(
            KmsErrorCode.StorageUnavailable,
            () => guard.RunAsync<int>("crypto.encrypt", new KeyRequest { Key = "key-1" }, Throw(new KmsException(KmsErrorCode.Forbidden, "No."))));
        Assert.Equal(1, daemon.Meter.Value("kmsd_requests_total", ("method", "crypto.encrypt"), ("outcome", "storageUnavailable")));
        Assert.Equal(0, daemon.Meter.Value("kmsd_requests_total", ("method", "crypto.encrypt"), ("outcome", "forbidden")));
    }

    [Fact]
    public async Task Commits_are_counted_by_kind_with_their_sizes_times_and_failures()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        double full = Commits("full");
        string sealedText = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        _ = await daemon.DecryptAsync(Daemon.Uid(2000), "key-1", sealedText);
        Assert.Equal((full, 0, 2), (Commits("full"), Commits("normal"), Commits("deferred")));
        _ = await daemon.Operations.RotateKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-1" }, Cancellation);
        Assert.Equal((full + 1, 0, 2), (Commits("full"), Commits("normal"), Commits("deferred")));
        Assert.Equal(Commits("full"), daemon.Meter.Value("kmsd_commit_duration_seconds_count", ("kind", "full")));
        Assert.Equal(2, daemon.Meter.Value("kmsd_commit_duration_seconds_count", ("kind", "deferred")));
        Assert.Equal(full + 3, daemon.Meter.Value("kmsd_commit_requests_count"));
        Assert.Equal(full + 3, daemon.Meter.Value("kmsd_commit_requests_sum"));
        _ = daemon.Sql("ALTER TABLE history RENAME TO history_gone");
        Assert.Equal(0, daemon.Meter.Value("kmsd_commit_failures_total"));
        _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, () => daemon.CreateKeyAsync("key-2"));
        Assert.Equal((1, full + 3), (daemon.Meter.Value("kmsd_commit_failures_total"), daemon.Meter.Value("kmsd_commit_requests_count")));

        double Commits(string kind) => daemon.Meter.Value("kmsd_commits_total", ("kind", kind));
    }

    [Fact]
    public async Task The_cache_counts_what_it_had_and_what_it_had_not()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        for (int use = 0; use < 4; use++)
        {
            _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        }

        daemon.Cache.Drop(KeyTag.Parse(daemon.Get(Daemon.Manager, "key-1").Tag));
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        Assert.Equal((3, 2), (daemon.Meter.Value("kmsd_cache_hits_total"), daemon.Meter.Value("kmsd_cache_misses_total")));
    }

    [Fact]
    public async Task The_last_proof_of_the_history_is_told()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        new StateGauges(daemon.Meter, daemon.Clock).AddHistory(daemon.ProveHistory);
        Assert.Equal((0, 0, 0), Values());
        await daemon.RecordWatch.RunAsync(Cancellation);
        double first = daemon.Clock.GetUtcNow().ToUnixTimeSeconds();
        Assert.Equal((0, first, 2), Values());
        Assert.Equal(1, daemon.Sql("UPDATE history SET detail = 'x' WHERE sequence = 1"));
        daemon.Clock.Advance(TimeSpan.FromDays(1));
        await daemon.RecordWatch.RunAsync(Cancellation);
        Assert.Equal((1, first, 2), Values());

        (double Failure, double At, double Entries) Values() => (
            daemon.Meter.Value("kmsd_history_failure"), daemon.Meter.Value("kmsd_history_verified_timestamp_seconds"), daemon.Meter.Value("kmsd_history_verified_entries"));
    }

    [Fact]
    public async Task The_state_is_read_when_it_is_asked_for()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        ConnectionCounter connections = new(10, 10);
        StateGauges gauges = new(daemon.Meter, daemon.Clock);
        gauges.AddProcess();
        gauges.AddRootKey(daemon.Root, daemon.Installation.Generations);
        gauges.AddStorage(daemon.Writer, daemon.History);
        gauges.AddKeys(daemon.Catalogue, daemon.ProveNotices, daemon.Cache);
        gauges.AddCallers(connections, daemon.Hub, daemon.Strangers);
        Assert.Equal((0, 2), (Value("kmsd_connections"), Value("kmsd_history_sequence")));
        Assert.Equal(1, daemon.Meter.Value("kmsd_build_info", ("version", ProductVersion.Text)));
        Assert.Equal(daemon.Clock.GetUtcNow().ToUnixTimeSeconds(), Value("kmsd_start_time_seconds"));
        Assert.Equal(daemon.Clock.GetUtcNow().AddDays(365).ToUnixTimeSeconds(), Value("kmsd_root_rotate_by_timestamp_seconds"));

        foreach (string name in new[] { "key-1", "key-2", "key-3", "key-4", "key-5" })
        {
            _ = await daemon.CreateKeyAsync(name, ("uid:2000", KeyRole.Encryptor));
        }

        DeleteKeyRequest last = new() { Key = "key-5", ConfirmName = "key-5" };
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1");
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "key-2" }, Cancellation);
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, new DeleteKeyRequest { Key = "key-3", ConfirmName = "key-3" }, Cancellation);
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, last, Cancellation);
        _ = await daemon.Operations.DeleteKey.RunAsync(Daemon.Manager, last, Cancellation);
        Assert.Equal(["enabled 2", "disabled 1", "pendingDeletion 1", "deleted 1"], daemon.Meter.Read()
            .Where(sample => sample.Name == "kmsd_keys").Select(sample => $"{sample.Label("state")} {sample.Value}"));
        Assert.Equal(daemon.History.Committed.Sequence, Value("kmsd_history_sequence"));
        Assert.Equal((1, 1, 1, 0), (Value("kmsd_cache_entries"), Value("kmsd_storage_available"), Value("kmsd_token_available"), Value("kmsd_integrity_failure")));

        _ = connections.TryAdd(1000, out string? _);
        using NoticeSubscription listening = daemon.Hub.Subscribe(Daemon.Manager);
        daemon.Strangers.Count(Daemon.Stranger, "keys.get", "notFound");
        daemon.Strangers.Count(Daemon.Stranger, "keys.get", "notFound");
        Assert.Equal((1, 1, 2), (Value("kmsd_connections"), Value("kmsd_notification_subscribers"), Value("kmsd_stranger_refusals_total")));

        Assert.Equal((0, 0), (Value("kmsd_rotations_due"), Value("kmsd_write_queue_length")));
        daemon.Clock.Advance(TimeSpan.FromDays(91));
        Assert.Equal(4, Value("kmsd_rotations_due"));
        await daemon.Rotation.RunDueAsync(daemon.Clock.GetUtcNow(), Cancellation);
        Assert.Equal(0, Value("kmsd_rotations_due"));

        _ = daemon.Sql("ALTER TABLE history RENAME TO history_gone");
        _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, () => daemon.CreateKeyAsync("key-6"));
        daemon.Root.IsAway = true;
        Assert.Equal((0, 0), (Value("kmsd_storage_available"), Value("kmsd_token_available")));

        double Value(string name) => daemon.Meter.Value(name);
    }

    private static Func<Task<int>> Throw(Exception exception) => () => throw exception;

    private static RequestGuard Guard(Daemon daemon, Caller caller) => new(
        caller, new CallerShares(1, 1, daemon.Clock).Join(caller), new CostLimiter(0, 1, daemon.Clock), daemon.Catalogue, daemon.Refusals, daemon.Requests);
}
