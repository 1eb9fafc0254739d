using Kmsd.Access;
using Kmsd.Rpc;

namespace Kmsd.Tests.Rpc;

public sealed class CallerSharesTests
{
    private static readonly Caller s_first = new(1, 1001, 100, []);
    private static readonly Caller s_second = new(1, 1002, 100, []);

    [Fact]
    public void Who_is_alone_has_many_running_and_the_next_waits_its_turn()
    {
        CallerShares shares = new(alone: 3, besideOthers: 1, TimeProvider.System);
        CallerShares.Share share = shares.Join(s_first);
        Task[] running = [share.EnterAsync(), share.EnterAsync(), share.EnterAsync()];
        Task waiting = share.EnterAsync();

        Assert.All(running, task => Assert.True(task.IsCompletedSuccessfully));
        Assert.False(waiting.IsCompleted);
        share.Leave();
        Assert.True(waiting.IsCompletedSuccessfully);
        shares.Leave(share);
    }

    [Fact]
    public void Beside_others_each_has_few_running_and_the_other_none_of_them_in_his_way()
    {
        CallerShares shares = new(alone: 64, besideOthers: 1, new StoppedClock { HasTimers = false });
        CallerShares.Share greedy = shares.Join(s_first);
        CallerShares.Share other = shares.Join(s_second);
        Task[] first = [greedy.EnterAsync(), greedy.EnterAsync()];
        Task others = other.EnterAsync();
        Task next = greedy.EnterAsync();

        Assert.All(first, task => Assert.True(task.IsCompletedSuccessfully));
        Assert.True(others.IsCompletedSuccessfully);
        Assert.False(next.IsCompleted); // Two run, where one may.
        greedy.Leave();
        Assert.False(next.IsCompleted);
        greedy.Leave();
        Assert.True(next.IsCompletedSuccessfully);
    }

    [Fact]
    public void Beside_others_no_more_is_read_of_whoever_has_requests_waiting()
    {
        CallerShares shares = new(alone: 64, besideOthers: 1, new StoppedClock { HasTimers = false });
        CallerShares.Share greedy = shares.Join(s_first);
        _ = greedy.EnterAsync();
        Assert.True(greedy.TurnToReadAsync().IsCompletedSuccessfully); // He is alone.
        _ = shares.Join(s_second).EnterAsync();
        Assert.True(greedy.TurnToReadAsync().IsCompletedSuccessfully); // None of his waits.
        Task waiting = greedy.EnterAsync();
        Task[] reading = [greedy.TurnToReadAsync(), greedy.TurnToReadAsync()];
        Assert.All(reading, task => Assert.False(task.IsCompleted));

        greedy.Leave();
        Assert.True(waiting.IsCompletedSuccessfully);
        Assert.Equal([true, false], reading.Select(task => task.IsCompletedSuccessfully));
        greedy.Leave();
        Assert.True(reading[1].IsCompletedSuccessfully);
    }

    [Fact]
    public void Who_hangs_up_and_comes_back_comes_back_to_what_he_has_running()
    {
        CallerShares shares = new(alone: 1, besideOthers: 1, new StoppedClock { HasTimers = false });
        CallerShares.Share before = shares.Join(s_first);
        _ = before.EnterAsync();
        shares.Leave(before);
        CallerShares.Share after = shares.Join(s_first);
        Task next = after.EnterAsync();

        Assert.False(next.IsCompleted);
        before.Leave();
        Assert.True(next.IsCompletedSuccessfully);
        after.Leave();
        shares.Leave(after);
        Assert.NotSame(after, shares.Join(s_first));
    }

    [Fact]
    public void The_other_is_forgotten_when_he_asks_no_more()
    {
        StoppedClock clock = new() { HasTimers = false };
        CallerShares shares = new(alone: 64, besideOthers: 1, clock);
        CallerShares.Share greedy = shares.Join(s_first);
        _ = greedy.EnterAsync();
        _ = shares.Join(s_second).EnterAsync();
        Assert.False(greedy.EnterAsync().IsCompleted);

        clock.Advance(CallerShares.BesideFor);
        greedy.Leave();

        Assert.True(greedy.EnterAsync().IsCompletedSuccessfully);
        Assert.True(greedy.EnterAsync().IsCompletedSuccessfully);
    }

    [Fact]
    public async Task A_request_that_takes_long_holds_up_none_of_its_user_s_others()
    {
        CallerShares shares = new(alone: 64, besideOthers: 1, new StoppedClock());
        CallerShares.Share user = shares.Join(s_first);
        _ = user.EnterAsync(); // A verification of the whole history, say.
        _ = shares.Join(s_second).EnterAsync();
        Task next = user.EnterAsync();

        Assert.False(next.IsCompleted);
        await next.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
    }
}
