using System.Buffers;
using Kmsd.Rpc;
using StreamJsonRpc;

namespace Kmsd.Tests.Rpc;

public sealed class RequestGateTests
{
    private const int MostBytes = 1000;

    // Only a gate that stays shut for ever takes so long.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    [Fact]
    public void A_request_is_in_flight_from_entering_to_its_answer()
    {
        using RequestGate gate = new(2, MostBytes);
        Assert.False(gate.IsInFlight(new RequestId(1)));
        Assert.True(Enter(gate, 1, 10).IsCompletedSuccessfully);
        Assert.True(gate.IsInFlight(new RequestId(1)));
        Assert.False(gate.IsInFlight(new RequestId("1")));
        RequestGate.Request? answered = gate.Answer(new RequestId(1));
        Assert.False(gate.IsInFlight(new RequestId(1)));
        gate.Leave(answered!);
    }

    [Fact]
    public async Task What_is_answered_may_be_named_again_but_holds_its_room_until_it_left()
    {
        using RequestGate gate = new(1, MostBytes);
        Pass(gate, 1, 1);
        RequestGate.Request answered = gate.Answer(new RequestId(1))!;
        Task again = Enter(gate, 1, 1);
        Assert.False(again.IsCompleted);
        gate.Leave(answered);
        await again;
        Assert.True(gate.IsInFlight(new RequestId(1)));
    }

    [Fact]
    public async Task One_request_over_the_number_waits_until_another_leaves()
    {
        using RequestGate gate = new(2, MostBytes);
        Pass(gate, 1, 1);
        Pass(gate, 2, 1);
        Task third = Enter(gate, 3, 1);
        Assert.False(third.IsCompleted);
        Assert.False(gate.IsInFlight(new RequestId(3)));
        Leave(gate, new RequestId(2));
        await third.WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Assert.True(gate.IsInFlight(new RequestId(3)));
    }

    [Fact]
    public async Task Bytes_hold_at_the_limit_and_wait_one_over_it()
    {
        using RequestGate gate = new(10, MostBytes);
        Pass(gate, 1, MostBytes - 1);
        Pass(gate, 2, 1);
        Task third = Enter(gate, 3, 1);
        Assert.False(third.IsCompleted);
        Leave(gate, new RequestId(2));
        await third.WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Task fourth = Enter(gate, 4, 1);
        Assert.False(fourth.IsCompleted);
        Leave(gate, new RequestId(1));
        await fourth.WaitAsync(s_patience, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_request_larger_than_the_bound_passes_when_it_is_alone()
    {
        using RequestGate gate = new(10, MostBytes);
        Pass(gate, 1, 1);
        Task large = Enter(gate, 2, MostBytes + 1);
        Assert.False(large.IsCompleted);
        Leave(gate, new RequestId(1));
        await large.WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Assert.False(Enter(gate, 3, 1).IsCompleted);
    }

    [Fact]
    public async Task Leaving_twice_or_under_a_foreign_id_gives_no_room_away()
    {
        using RequestGate gate = new(1, MostBytes);
        Pass(gate, 1, 1);
        Leave(gate, new RequestId(9));
        Task second = Enter(gate, 2, 1);
        Leave(gate, RequestId.Null);
        Leave(gate, default);
        Assert.False(second.IsCompleted);
        Leave(gate, new RequestId(1));
        Leave(gate, new RequestId(1));
        await second.WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Assert.False(Enter(gate, 3, 1).IsCompleted);
    }

    [Fact]
    public async Task Whoever_waits_is_let_go_when_the_connection_ends()
    {
        using RequestGate gate = new(1, MostBytes);
        using CancellationTokenSource end = new();
        Pass(gate, 1, 1);
        Task waiting = gate.EnterAsync(new RequestId(2), 1, ArrayPool<byte>.Shared.Rent(16), end.Token).AsTask();
        await end.CancelAsync();
        _ = await Task.WhenAny(waiting);
        Assert.True(waiting.IsCanceled);
        Assert.False(gate.IsInFlight(new RequestId(2)));
    }

    [Fact]
    public async Task The_text_of_a_request_is_cleared_when_it_leaves_or_the_connection_ends()
    {
        byte[] first = ArrayPool<byte>.Shared.Rent(64);
        byte[] second = ArrayPool<byte>.Shared.Rent(64);
        first.AsSpan().Fill(0x5A);
        second.AsSpan().Fill(0x5A);
        using (RequestGate gate = new(2, MostBytes))
        {
            await gate.EnterAsync(new RequestId(1), 64, first, CancellationToken.None);
            await gate.EnterAsync(new RequestId(2), 64, second, CancellationToken.None);
            Leave(gate, new RequestId(1));
            Assert.Equal(-1, first.AsSpan().IndexOfAnyExcept((byte)0));
            Assert.Equal(0x5A, second[0]);
        }

        Assert.Equal(-1, second.AsSpan().IndexOfAnyExcept((byte)0));
    }

    private static void Leave(RequestGate gate, RequestId id)
    {
        if (gate.Answer(id) is RequestGate.Request answered)
        {
            gate.Leave(answered);
        }
    }

    private static void Pass(RequestGate gate, long id, int bytes) => Assert.True(Enter(gate, id, bytes).IsCompletedSuccessfully);

    private static Task Enter(RequestGate gate, long id, int bytes) =>
        gate.EnterAsync(new RequestId(id), bytes, ArrayPool<byte>.Shared.Rent(16), TestContext.Current.CancellationToken).AsTask();
}
