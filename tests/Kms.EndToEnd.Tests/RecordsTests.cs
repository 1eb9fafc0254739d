using System.Text.Json;
using Kms.Client;
using Kms.Client.Protocol;
using Kms.EndToEnd.Tests.Support;
using Wire = Kms.EndToEnd.Tests.Support.Wire;

namespace Kms.EndToEnd.Tests;

/// <summary>The history and the notifications of the native daemon, through the native console and the client.</summary>
public sealed class RecordsTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_export_holds_every_entry_and_a_changed_one_is_named_by_both_verifications()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("first");
        await using Wire more = await Wire.ConnectAsync(host.Socket);
        for (int use = 0; use < 1_200; use++)
        {
            _ = await more.EncryptAsync("first", new byte[1]);
        }

        Assert.Equal(0, (await host.KmsctlAsync("history", "verify")).ExitCode);
        string file = Path.Combine(host.Path, "history.jsonl");
        Assert.Equal(0, (await host.KmsctlAsync("history", "export", file)).ExitCode);
        string[] lines = await File.ReadAllLinesAsync(file, Cancellation);
        Assert.Equal(Enumerable.Range(1, lines.Length), lines.Select(line => JsonElement.Parse(line).GetProperty("sequence").GetInt32()));
        Assert.True(lines.Length > 1_200);
        Finished newest = await host.KmsctlAsync("history", "first", "--limit", "2", "--operation", "crypto.encrypt");
        Assert.Equal(2, newest.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);

        await host.SqlAsync("UPDATE history SET outcome = 'forbidden' WHERE sequence = 1100");
        Finished bad = await host.KmsctlAsync("history", "verify");
        Assert.Equal(1, bad.ExitCode);
        Assert.Contains("entry 1100 was changed", bad.Error, StringComparison.Ordinal);
        Assert.Equal(21, (await host.KmsctlAsync("history", "export", Path.Combine(host.Path, "changed.jsonl"))).ExitCode);
        Finished doctor = await host.KmsctlAsync("doctor");
        Assert.Equal(21, doctor.ExitCode);
        Assert.Contains("the service\t-\t-\thistory: entry 1100 ", doctor.Output, StringComparison.Ordinal);
        _ = await daemon.StopAsync();
        Finished offline = await Shell.RunAsync(Repository.Kmsd, ["history", "verify", "--config", host.Configuration], host.Environment);
        Assert.Equal(65, offline.ExitCode);
        Assert.Contains("entry 1100 was changed", offline.Error, StringComparison.Ordinal);

        // A copy's folder may have blanks and other signs in its name, and nothing is left in it.
        string folder = Path.Combine(host.Path, "a copy? 100%#1");
        _ = Directory.CreateDirectory(folder);
        string copy = Path.Combine(folder, "kms.db");
        File.Copy(host.Database, copy);
        Assert.Equal(65, (await host.KmsdAsync("history", "verify", "--database", copy)).ExitCode);
        Assert.Equal([copy], Directory.GetFiles(folder));

        // A head that was changed is no entry's fault.
        await host.SqlAsync("UPDATE history_heads SET sequence = sequence + 1");
        Finished both = await host.KmsdAsync("history", "verify");
        Assert.Equal(65, both.ExitCode);
        Assert.Contains("its head doesn't verify, and entry 1100 was changed", both.Error, StringComparison.Ordinal);
        await host.SqlAsync("UPDATE history SET outcome = 'ok' WHERE sequence = 1100");
        Finished ofHead = await host.KmsdAsync("history", "verify");
        Assert.Equal(65, ofHead.ExitCode);
        Assert.Contains($"its head doesn't verify. The {lines.Length} entries that are there follow each other", ofHead.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("was changed", ofHead.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(Directory.GetFiles(host.State), file => file.StartsWith(host.Database + "-", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Every_notification_comes_once_and_in_order_over_stops_and_kills()
    {
        await using Installation host = await Installation.MakeAsync();
        Daemon daemon = await host.StartAsync();
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("first");
            await NoticesAsync(host, 30);
        }

        await using KmsClient client = new(host.Socket);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        List<long> seen = [];
        Task collecting = CollectAsync(client, seen, enough.Token);
        for (int round = 0; round < 6; round++)
        {
            Task noticing = NoticesAsync(host, 60);
            await Task.Delay(20 * round, Cancellation);
            await noticing;
            if (round % 2 == 0)
            {
                await daemon.KillAsync();
            }
            else
            {
                _ = await daemon.StopAsync();
            }

            await daemon.DisposeAsync();
            daemon = await host.StartAsync();
            await NoticesAsync(host, 10); // Perhaps before the client is back.
        }

        List<long> kept = await ListAsync(client);
        Assert.True(kept.Count > 6 * 70);
        for (int wait = 0; wait < 1_000 && Count(seen) < kept.Count; wait++)
        {
            await Task.Delay(10, Cancellation);
        }

        await enough.CancelAsync();
        _ = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => collecting);
        Assert.Equal(kept, seen);
        await daemon.DisposeAsync();
    }

    /// <summary>What is sent while the list is read: by the daemon itself, with many changes at once.</summary>
    [Fact]
    public async Task Many_subscriptions_beside_many_changes_miss_nothing()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("first");
        }

        await using KmsClient client = new(host.Socket);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        Task[] noticing = NoticeAtOnce(host);
        List<(List<long> Seen, Task Collecting)> all = [];
        while (!Task.WhenAll(noticing).IsCompleted && all.Count < 40)
        {
            List<long> seen = [];
            all.Add((seen, CollectAsync(client, seen, enough.Token)));
            await Task.Delay(10, Cancellation);
        }

        await Task.WhenAll(noticing);
        List<long> kept = await ListAsync(client);
        for (int wait = 0; wait < 1_000 && all.Any(one => Count(one.Seen) < kept.Count); wait++)
        {
            await Task.Delay(10, Cancellation);
        }

        await enough.CancelAsync();
        Assert.True(all.Count > 3);
        foreach ((List<long> seen, Task collecting) in all)
        {
            _ = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => collecting);
            Assert.Equal(kept, seen);
        }
    }

    private static async Task CollectAsync(KmsClient client, List<long> seen, CancellationToken cancellationToken)
    {
        await foreach (NotificationDescription notice in client.SubscribeToNotificationsAsync(0, cancellationToken))
        {
            lock (seen)
            {
                seen.Add(notice.Sequence);
            }
        }
    }

    private static int Count(List<long> seen)
    {
        lock (seen)
        {
            return seen.Count;
        }
    }

    private static async Task<List<long>> ListAsync(KmsClient client)
    {
        List<long> kept = [];
        long? after = 0;
        while (after is not null)
        {
            ListNotificationsResult page = await client.ListNotificationsAsync(new ListNotificationsRequest { After = after, Limit = 1000 }, Cancellation);
            kept.AddRange(page.Notifications.Select(notice => notice.Sequence));
            after = page.Next;
        }

        return kept;
    }

    private static Task[] NoticeAtOnce(Installation host) => [.. Enumerable.Range(0, 4).Select(_ => NoticesAsync(host, 150))];

    /// <summary>Each disabling and enabling tells everybody who has a grant.</summary>
    private static async Task NoticesAsync(Installation host, int count)
    {
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        for (int i = 0; i < count; i++)
        {
            _ = await wire.ResultAsync(i % 2 == 0 ? "keys.disable" : "keys.enable", """{"key":"first"}""");
        }
    }
}
