using System.Text.Json;
using Kms.EndToEnd.Tests.Support;
using Kmsd.Tests.Metrics;

namespace Kms.EndToEnd.Tests;

/// <summary>What the native daemon tells Prometheus: whole, in the right form, and moving.</summary>
public sealed class MetricsTests
{
    [Fact]
    public async Task Everything_that_happens_is_counted()
    {
        await using Installation host = await Installation.MakeAsync();
        host.Set("limits", "connections_per_uid", "3");
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        IReadOnlyList<Sample> before = await ReadAsync(wire);
        Assert.Equal(1, Value(before, "kmsd_token_available"));
        Assert.Equal(1, Value(before, "kmsd_storage_available"));
        Assert.Equal(0, Value(before, "kmsd_integrity_failure"));
        double left = Value(before, "kmsd_root_rotate_by_timestamp_seconds") - (TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() / 1000.0);
        Assert.InRange(left / 86_400, 364.9, 365);
        Assert.InRange(Value(before, "kmsd_start_time_seconds"), TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() - 120, TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() + 1);
        Assert.Equal("0.1.0", before.Single(sample => sample.Name == "kmsd_build_info").Label("version"));

        _ = await wire.MakeKeyAsync("first");
        byte[] secret = [1, 2, 3];
        string ciphertext = await wire.EncryptAsync("first", secret);
        _ = await wire.DecryptAsync("first", ciphertext);
        _ = await wire.DecryptAsync("first", ciphertext);
        Assert.Equal("invalidCiphertext", await wire.ReasonAsync("crypto.decrypt", $$"""{"key":"first","ciphertext":"{{ciphertext[..^4]}}AAA="}"""));
        Assert.Equal("invalidParams", await wire.ReasonAsync("crypto.encrypt", """{"key":"first"}"""));
        Assert.Equal("methodNotFound", await wire.ReasonAsync("crypto.keep"));
        Assert.Equal("parseError", Wire.Reason(await wire.SendAndReceiveAsync("{")));
        Assert.Equal("notFound", await wire.ReasonAsync("keys.get", """{"key":"absent"}"""));
        await UseHeldKeysAsync(wire);
        _ = await wire.ResultAsync("crypto.random", """{"bytes":8}""");
        _ = await wire.ResultAsync("history.verify");
        _ = await wire.ResultAsync("keys.create", """{"name":"doomed","type":"AES256-GCM96"}""");
        _ = await wire.ResultAsync("keys.requestDeletion", """{"key":"doomed"}""");
        await using Wire second = await Wire.ConnectAsync(host.Socket);
        _ = await second.ResultAsync("notifications.subscribe");
        await using Wire third = await Wire.ConnectAsync(host.Socket);
        _ = await third.ResultAsync("system.status");
        await using Wire fourth = await Wire.ConnectAsync(host.Socket);
        Assert.Equal("limitExceeded", Wire.Reason(await fourth.ReceiveAsync() ?? throw new EndOfStreamException()));

        IReadOnlyList<Sample> after = await ReadAsync(wire);
        Assert.Equal(
            ["keys.get notFound 1", "none methodNotFound 1", "none parseError 1", "crypto.decrypt invalidCiphertext 1", "crypto.encrypt invalidParams 1"],
            after.Where(sample => sample.Name == "kmsd_requests_total" && sample.Label("outcome") != "ok")
                .Select(sample => $"{sample.Label("method")} {sample.Label("outcome")} {sample.Value}").OrderBy(line => line[0] == 'c').ThenBy(line => line, StringComparer.Ordinal));
        Assert.Equal((3, 1), (Requests("crypto.decrypt"), Requests("system.metrics")));
        Assert.Equal(
            after.Where(sample => sample.Name == "kmsd_requests_total" && sample.Label("method").StartsWith("crypto.", StringComparison.Ordinal)
                && sample.Label("outcome") != "invalidParams").Sum(sample => sample.Value),
            Value(after, "kmsd_request_duration_seconds_count", ("family", "crypto")));
        foreach (string kind in new[] { "seal", "open", "generate", "unwrap", "derive", "random", "encrypt", "decrypt", "sign", "probe" })
        {
            Assert.True(
                Value(after, "kmsd_token_calls_total", ("kind", kind), ("outcome", "ok")) > Value(before, "kmsd_token_calls_total", ("kind", kind), ("outcome", "ok")), kind);
            Assert.True(Value(after, "kmsd_token_call_duration_seconds_sum", ("kind", kind)) > 0, kind);
        }

        Assert.Equal((3, 1, 1), (Value(after, "kmsd_connections"), Value(after, "kmsd_connections_refused_total"), Value(after, "kmsd_notification_subscribers")));
        Assert.Equal(1, Value(after, "kmsd_keys", ("state", "pendingDeletion")));
        Assert.True(Value(after, "kmsd_commits_total", ("kind", "full")) > Value(before, "kmsd_commits_total", ("kind", "full")));
        Assert.True(Value(after, "kmsd_commits_total", ("kind", "normal")) > Value(before, "kmsd_commits_total", ("kind", "normal")));
        Assert.True(Value(after, "kmsd_history_sequence") > Value(before, "kmsd_history_sequence"));
        Assert.True(Value(after, "kmsd_cache_hits_total") > 0 && Value(after, "kmsd_cache_misses_total") > 0 && Value(after, "kmsd_cache_entries") > 0);
        Assert.Equal(1, Value(after, "kmsd_stranger_refusals_total"));

        double Requests(string method) => Value(after, "kmsd_requests_total", ("method", method), ("outcome", "ok"));
    }

    [Fact]
    public async Task The_console_prints_them_and_writes_them_for_node_exporter()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        Finished printed = await host.KmsctlAsync("metrics");
        Assert.Equal(0, printed.ExitCode);
        Assert.NotEmpty(PrometheusReader.Read(printed.Output));
        string file = Path.Combine(host.Path, "kmsd.prom");
        Assert.Equal(0, (await host.KmsctlAsync("metrics", "--textfile", file)).ExitCode);
        Assert.NotEmpty(PrometheusReader.Read(await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken)));

        // Prometheus' own judge, where it is installed.
        string promtool = Environment.GetEnvironmentVariable("KMS_PROMTOOL") ?? "/usr/bin/promtool";
        if (File.Exists(promtool))
        {
            Finished checkedByPromtool = await Shell.RunAsync(promtool, ["check", "metrics"], [], await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken));
            Assert.Equal((0, ""), (checkedByPromtool.ExitCode, checkedByPromtool.Error));
        }
    }

    [Fact]
    public async Task A_lost_token_and_a_storage_that_fails_show()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("first");
        await host.SqlAsync("CREATE TRIGGER full BEFORE INSERT ON history BEGIN SELECT RAISE(FAIL, 'full'); END");
        Assert.Equal("storageUnavailable", await wire.ReasonAsync("keys.update", """{"key":"first","memo":"not to be"}"""));
        IReadOnlyList<Sample> failing = await ReadAsync(wire);
        Assert.Equal((0, 1), (Value(failing, "kmsd_storage_available"), Value(failing, "kmsd_commit_failures_total")));
        await host.SqlAsync("DROP TRIGGER full");
        _ = await wire.EncryptAsync("first", new byte[1]);
        Assert.Equal(1, Value(await ReadAsync(wire), "kmsd_storage_available"));
        _ = await daemon.StopAsync();

        await host.SqlAsync("UPDATE keys SET memo = 'changed from outside'");
        await using Daemon again = await host.StartAsync();
        await using Wire other = await Wire.ConnectAsync(host.Socket);
        Assert.Equal(1, Value(await ReadAsync(other), "kmsd_integrity_failure"));
    }

    private static async Task UseHeldKeysAsync(Wire wire)
    {
        foreach ((string name, string type) in new[] { ("held", "AES256-GCM96"), ("signer", "ECDSA-P256") })
        {
            _ = await wire.ResultAsync(
                "keys.create", $$"""{"name":"{{name}}","type":"{{type}}","protection":"hsm","grants":[{"principal":"uid:0","role":"manager"}]}""");
        }

        Assert.Equal(new byte[5], await wire.DecryptAsync("held", await wire.EncryptAsync("held", new byte[5])));
        _ = await wire.ResultAsync("crypto.sign", """{"key":"signer","message":"QQ=="}""");
    }

    private static async Task<IReadOnlyList<Sample>> ReadAsync(Wire wire)
    {
        JsonElement result = await wire.ResultAsync("system.metrics");
        return PrometheusReader.Read(result.GetProperty("text").GetString()!);
    }

    private static double Value(IReadOnlyList<Sample> samples, string name, params (string Name, string Value)[] labels) =>
        samples.SingleOrDefault(sample => sample.Name == name && sample.Labels.Order().SequenceEqual(labels.Order()))?.Value ?? 0;
}
