using Kms.Client.Protocol;
using Kmsd.Access;
using Microsoft.Extensions.Time.Testing;

namespace Kmsd.Tests.Access;

public sealed class CostLimiterTests
{
    private readonly FakeTimeProvider _clock = new();

    [Fact]
    public void A_burst_is_let_through_and_then_what_a_second_gives()
    {
        CostLimiter limiter = new(10, 20, _clock);
        for (int i = 0; i < 20; i++)
        {
            limiter.Take(Principal.User(1), 1);
        }

        KmsException refusal = Refusal.Of(KmsErrorCode.LimitExceeded, () => limiter.Take(Principal.User(1), 1));
        Assert.Equal(TimeSpan.FromMilliseconds(100), refusal.RetryAfter);
        Assert.Contains("([limits] cost_per_second)", refusal.Message, StringComparison.Ordinal);
        limiter.Take(Principal.User(2), 20);
        _clock.Advance(TimeSpan.FromMilliseconds(99));
        _ = Refusal.Of(KmsErrorCode.LimitExceeded, () => limiter.Take(Principal.User(1), 1));
        _clock.Advance(TimeSpan.FromMilliseconds(1));
        limiter.Take(Principal.User(1), 1);
        _clock.Advance(TimeSpan.FromHours(1));
        limiter.Take(Principal.User(1), 20);
        _ = Refusal.Of(KmsErrorCode.LimitExceeded, () => limiter.Take(Principal.User(1), 1));
    }

    [Fact]
    public void What_costs_more_than_the_burst_is_let_through_when_it_is_full_and_paid_for_afterwards()
    {
        CostLimiter limiter = new(100, 1000, _clock);
        limiter.Take(Principal.User(1), 4000);
        KmsException refusal = Refusal.Of(KmsErrorCode.LimitExceeded, () => limiter.Take(Principal.User(1), 1));
        Assert.Equal(TimeSpan.FromMilliseconds(30_010), refusal.RetryAfter);
        _clock.Advance(refusal.RetryAfter!.Value);
        limiter.Take(Principal.User(1), 1);
    }

    [Fact]
    public void Without_a_rate_nothing_is_limited()
    {
        CostLimiter limiter = new(0, 1, _clock);
        Assert.False(limiter.IsOn);
        for (int i = 0; i < 1000; i++)
        {
            limiter.Take(Principal.User(1), 4000);
        }
    }

    [Fact]
    public void Principals_without_number_cost_no_memory_without_end()
    {
        CostLimiter limiter = new(1000, 1000, _clock);
        for (uint uid = 0; uid < 100_000; uid++)
        {
            limiter.Take(Principal.User(uid), 1);
            if (uid % 1000 == 0)
            {
                _clock.Advance(TimeSpan.FromSeconds(1));
            }
        }

        Assert.InRange(limiter.Count, 1, 17_000);
    }
}
