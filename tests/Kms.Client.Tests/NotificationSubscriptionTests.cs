using System.Globalization;
using Kms.Client.Protocol;
using Kms.Client.Transport;

namespace Kms.Client.Tests;

public sealed class NotificationSubscriptionTests
{
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(8);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_kept_comes_first_page_by_page_and_then_what_is_pushed()
    {
        await using var daemon = new NotifyingDaemon { PageLength = 2 };
        daemon.Keep(1, 2, 3, 4, 5);
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal([1, 2, 3, 4, 5], await TakeAsync(feed, 5));
        await daemon.PushAsync(6, 9);
        Assert.Equal([6, 9], await TakeAsync(feed, 2));
        Assert.Equal(["notifications.subscribe", "notifications.list 0", "notifications.list 2", "notifications.list 4"], daemon.Calls);
    }

    [Fact]
    public async Task It_begins_after_the_number_given()
    {
        await using var daemon = new NotifyingDaemon();
        daemon.Keep(1, 2, 3);
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(2, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal([3], await TakeAsync(feed, 1));
    }

    /// <summary>Each falls between the subscription and the list: it is pushed, and listed as well.</summary>
    [Fact]
    public async Task What_comes_while_it_is_listed_comes_once()
    {
        await using var daemon = new NotifyingDaemon { PageLength = 3 };
        daemon.Keep(1, 2);
        daemon.BeforeList = async () =>
        {
            if (daemon.Last < 6)
            {
                await daemon.PushAsync(daemon.Last + 1, daemon.Last + 2);
            }
        };
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal([1, 2, 3, 4, 5, 6], await TakeAsync(feed, 6));
        await daemon.PushAsync(20);
        Assert.Equal([20], await TakeAsync(feed, 1));
    }

    [Fact]
    public async Task After_a_restart_it_lists_what_came_since_the_last_one_and_subscribes_again()
    {
        await using var daemon = new NotifyingDaemon();
        daemon.Keep(1);
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal([1], await TakeAsync(feed, 1));
        await daemon.PushAsync(2);
        Assert.Equal([2], await TakeAsync(feed, 1));
        for (int restart = 0; restart < 3; restart++)
        {
            int lists = daemon.Lists;
            await daemon.StopAsync();
            daemon.Keep(daemon.Last + 1); // Nobody was there to push it to.
            Task<List<long>> next = TakeAsync(feed, 2);
            await Task.Delay(150, Stop);
            daemon.Start();
            await daemon.UntilListedAsync(lists + 1);
            await daemon.PushAsync(daemon.Last + 1);
            Assert.Equal([daemon.Last - 1, daemon.Last], await next);
        }

        Assert.Equal(4, daemon.Calls.Count(call => call == "notifications.subscribe"));
    }

    [Fact]
    public async Task A_connection_that_ends_in_the_middle_of_the_list_loses_nothing()
    {
        await using var daemon = new NotifyingDaemon { PageLength = 2 };
        daemon.Keep(1, 2, 3, 4, 5);
        int lists = 0;
        daemon.BeforeList = () =>
        {
            if (++lists == 2)
            {
                daemon.Drop();
            }

            return Task.CompletedTask;
        };
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal([1, 2, 3, 4, 5], await TakeAsync(feed, 5));
    }

    /// <summary>The connection is read on, so the daemon needn't cut a slow one off; what had no room is listed.</summary>
    [Fact]
    public async Task Whoever_is_slow_gets_all_of_it_in_order_and_little_of_it_waits_in_memory()
    {
        const int Many = 4_000;
        await using var daemon = new NotifyingDaemon { PageLength = 100 };
        daemon.Keep(1);
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal([1], await TakeAsync(feed, 1));
        await daemon.PushAsync([.. Enumerable.Range(2, Many).Select(number => (long)number)]);
        await daemon.PushAsync(Many + 2);
        await Task.Delay(200, Stop);
        Assert.Equal(Enumerable.Range(2, Many + 1).Select(number => (long)number), await TakeAsync(feed, Many + 1));
        Assert.Contains("notifications.list 1", daemon.Calls);
    }

    [Fact]
    public async Task No_more_than_256_wait()
    {
        var pushed = new PushedNotifications();
        for (int number = 1; number <= PushedNotifications.MostWaiting; number++)
        {
            Receive(pushed, number);
        }

        Assert.Equal(1, (await pushed.TakeAsync(Stop))?.Sequence);
        Receive(pushed, 1000);
        Assert.Equal(2, (await pushed.TakeAsync(Stop))?.Sequence);
        Receive(pushed, 1001);
        Receive(pushed, 1002);
        Receive(pushed, 1003);
        Assert.Null(await pushed.TakeAsync(Stop));
        Receive(pushed, 1004);
        Assert.Equal(1004, (await pushed.TakeAsync(Stop))?.Sequence);
    }

    [Theory]
    [InlineData("""{"jsonrpc":"2.0","method":"future.event","params":{"sequence":7}}""")]
    [InlineData("""{"jsonrpc":"2.0","method":"future.event"}""")]
    [InlineData("""{"jsonrpc":"2.0","id":"ask-1","method":"future.question","params":[1,2]}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"future.question","result":{}}""")]
    [InlineData("""{"jsonrpc":"2.0"}""")]
    public async Task Other_messages_of_the_daemon_are_passed_over(string message)
    {
        await using var daemon = new NotifyingDaemon();
        daemon.Keep(1);
        daemon.BeforeList = () => daemon.SayAsync(message);
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal([1], await TakeAsync(feed, 1));
        await daemon.SayAsync(message);
        await daemon.PushAsync(2);
        Assert.Equal([2], await TakeAsync(feed, 1));
        Assert.Equal(1, daemon.Connections);
    }

    [Fact]
    public async Task Messages_that_nobody_asked_for_disturb_no_other_request()
    {
        await using var daemon = new FakeDaemon(async call =>
        {
            await call.Connection.SendAsync("""{"jsonrpc":"2.0","method":"notifications.event","params":{"sequence":7}}""");
            await call.Connection.SendAsync("""{"jsonrpc":"2.0","id":"ask-1","method":"future.question"}""");
            return FakeDaemon.Result(call, """{"status":"ok","version":"0.1.0","token":"ok","database":"ok"}""");
        });
        await using var client = new KmsClient(daemon.Path);
        Assert.Equal("ok", (await client.GetStatusAsync(Stop)).Status);
        Assert.Equal("ok", (await client.GetStatusAsync(Stop)).Status);
        Assert.Equal(1, daemon.Connections);
    }

    [Theory]
    [InlineData("""{"jsonrpc":"2.0","method":"notifications.event","params":{"sequence":"two"}}""")]
    [InlineData("""{"jsonrpc":"2.0","method":"notifications.event"}""")]
    public async Task A_notification_that_cannot_be_read_is_listed_and_not_passed_over(string message)
    {
        await using var daemon = new NotifyingDaemon();
        daemon.Keep(1);
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal([1], await TakeAsync(feed, 1));
        daemon.Keep(2);
        await daemon.SayAsync(message);
        Assert.Equal([2], await TakeAsync(feed, 1));
    }

    [Fact]
    public async Task Members_that_a_newer_daemon_adds_are_passed_over()
    {
        await using var daemon = new NotifyingDaemon();
        await using var client = new KmsClient(daemon.Path);
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Task<bool> next = feed.MoveNextAsync().AsTask();
        await daemon.UntilListedAsync();
        await daemon.SayAsync("""{"jsonrpc":"2.0","method":"notifications.event","params":{"sequence":5,"at":"2026-11-24T00:00:00.000Z","kind":"later","more":{}}}""");
        Assert.True(await next.WaitAsync(s_longest, Stop));
        Assert.Equal(("later", 1), (feed.Current.Kind, daemon.Calls.Count(call => call == "notifications.list 0")));
    }

    [Fact]
    public async Task Without_a_daemon_at_first_it_says_so()
    {
        await using var daemon = new NotifyingDaemon();
        await daemon.StopAsync();
        await using var client = new KmsClient(daemon.Path);
        _ = await Assert.ThrowsAsync<KmsUnreachableException>(async () => await FirstAsync(client));
    }

    [Fact]
    public async Task A_daemon_that_hangs_up_at_once_is_not_asked_for_ever()
    {
        await using var daemon = new FakeDaemon(HangUp);
        await using var client = new KmsClient(daemon.Path);
        _ = await Assert.ThrowsAsync<KmsUnreachableException>(async () => await FirstAsync(client));
        Assert.Equal(1, daemon.Connections);
    }

    [Fact]
    public async Task A_refusal_ends_it()
    {
        await using var daemon = new FakeDaemon(
            call => FakeDaemon.Error(call, """{"code":-32601,"message":"There is no such method.","data":{"reason":"methodNotFound"}}"""));
        await using var client = new KmsClient(daemon.Path);
        KmsException refusal = await Assert.ThrowsAsync<KmsException>(async () => await FirstAsync(client));
        Assert.Equal(KmsErrorCode.MethodNotFound, refusal.Code);
    }

    [Fact]
    public async Task Its_connection_ends_with_it_and_the_client_goes_on()
    {
        await using var daemon = new NotifyingDaemon();
        daemon.Keep(1, 2);
        await using var client = new KmsClient(daemon.Path);
        await foreach (NotificationDescription notice in client.SubscribeToNotificationsAsync(0, Stop))
        {
            Assert.Equal(1, notice.Sequence);
            break;
        }

        await daemon.UntilAllHungUpAsync();
        _ = await client.ListNotificationsAsync(new ListNotificationsRequest(), Stop);
    }

    [Fact]
    public async Task Whoever_waits_is_woken_by_cancellation_and_by_disposal()
    {
        await using var daemon = new NotifyingDaemon();
        var client = new KmsClient(daemon.Path);
        using var enough = new CancellationTokenSource();
        await using IAsyncEnumerator<NotificationDescription> cancelled = client.SubscribeToNotificationsAsync(0, enough.Token).GetAsyncEnumerator(enough.Token);
        await using IAsyncEnumerator<NotificationDescription> disposed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Task<bool> first = cancelled.MoveNextAsync().AsTask();
        Task<bool> second = disposed.MoveNextAsync().AsTask();
        await daemon.UntilListedAsync(2);
        await enough.CancelAsync();
        OperationCanceledException exception = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first.WaitAsync(s_longest, Stop));
        Assert.Equal(enough.Token, exception.CancellationToken);
        await client.DisposeAsync();
        _ = await Assert.ThrowsAsync<ObjectDisposedException>(() => second.WaitAsync(s_longest, Stop));
        _ = await Assert.ThrowsAsync<ObjectDisposedException>(async () => await FirstAsync(client));
    }

    private static async Task<List<long>> TakeAsync(IAsyncEnumerator<NotificationDescription> feed, int count)
    {
        List<long> taken = [];
        while (taken.Count < count)
        {
            Assert.True(await feed.MoveNextAsync().AsTask().WaitAsync(s_longest, Stop));
            taken.Add(feed.Current.Sequence);
            Assert.Equal(string.Create(CultureInfo.InvariantCulture, $"kind-{feed.Current.Sequence}"), feed.Current.Kind);
        }

        return taken;
    }

    private static string? HangUp(FakeCall call)
    {
        call.Connection.Close();
        return null;
    }

    private static void Receive(PushedNotifications pushed, long number) =>
        pushed.Receive("\"notifications.event\""u8, NotifyingDaemon.Notice(number));

    private static async Task<NotificationDescription> FirstAsync(KmsClient client)
    {
        await using IAsyncEnumerator<NotificationDescription> feed = client.SubscribeToNotificationsAsync(0, Stop).GetAsyncEnumerator(Stop);
        Assert.True(await feed.MoveNextAsync().AsTask().WaitAsync(s_longest, Stop));
        return feed.Current;
    }
}
