using Kms.Client.Protocol;

namespace Kmsd.Tests.Rotation;

/// <summary>When a key rotates, whatever happens to it, to the daemon and to the clock meanwhile.</summary>
public sealed class RotationGridTests
{
    // "The classic guide" is the user guide of Naver Cloud's Key Management Service, chapter 4, "Rotation": a manual rotation
    // doesn't move the next one (its example has 10 of 90 days left); a new period takes effect on the day that is set already
    // (its example: due on 19 April 2018, new period 120 days). Chapter 5: disabled keys and those whose deletion was
    // requested follow their schedule too.
    [Theory]
    [InlineData("2026-01-01", 90, "pass 89.5", "0", "2026-04-01")]
    [InlineData("2026-01-01", 90, "pass 90", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "pass 275", "0 90 180 270", "2026-12-27")]
    [InlineData("2026-01-01", 1, "pass 3", "0 1 2 3", "2026-01-05")]
    [InlineData("2026-01-01", 730, "pass 729.5; pass 0.5", "0 730", "2029-12-31")]

    // Classic guide, "Rotation": 10 days before the next rotation of a key with 90 days, somebody rotates it by hand.
    [InlineData("2026-01-01", 90, "pass 80; rotate; pass 9.5", "0 80", "2026-04-01")]
    [InlineData("2026-01-01", 90, "pass 80; rotate; pass 10", "0 80 90", "2026-06-30")]

    // Classic guide, "Changing the rotation period", step 3: due on 2018-04-19, then 120 days on.
    [InlineData("2018-01-19", 90, "pass 40; period 120; pass 49.5", "0", "2018-04-19")]
    [InlineData("2018-01-19", 90, "pass 40; period 120; pass 50", "0 90", "2018-08-17")]
    [InlineData("2018-01-19", 90, "pass 40; period 120; pass 50; pass 120", "0 90 210", "2018-12-15")]

    // By hand: the day before, on the day, several times.
    [InlineData("2026-01-01", 90, "pass 89; rotate; pass 1", "0 89 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "pass 90; rotate", "0 90 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "rotate; rotate; pass 45; rotate; pass 45", "0 0 0 45 90", "2026-06-30")]

    // The daemon is stopped: one rotation, whatever was missed, and back on the grid.
    [InlineData("2026-01-01", 90, "off 89.5", "0", "2026-04-01")]
    [InlineData("2026-01-01", 90, "off 90", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "off 179.5", "0 179.5", "2026-06-30")]
    [InlineData("2026-01-01", 90, "off 180", "0 180", "2026-09-28")]
    [InlineData("2026-01-01", 90, "off 275", "0 275", "2026-12-27")]
    [InlineData("2026-01-01", 90, "off 275; pass 84.5", "0 275", "2026-12-27")]
    [InlineData("2026-01-01", 90, "off 275; pass 85", "0 275 360", "2027-03-27")]
    [InlineData("2026-01-01", 90, "pass 80; rotate; off 100", "0 80 180", "2026-09-28")]
    [InlineData("2026-01-01", 90, "off 90; off 0; off 0", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 1, "off 1000; pass 1", "0 1000 1001", "2028-09-29")]

    // The period: changed twice before it is due, changed back, changed after the due day, changed and then missed.
    [InlineData("2026-01-01", 90, "period 30; pass 40; period 400; pass 50", "0 90", "2027-05-06")]
    [InlineData("2026-01-01", 90, "period 30; pass 40; period 90; pass 50", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "pass 90; period 30; pass 89.5", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "pass 90; period 30; pass 90", "0 90 180", "2026-07-30")]
    [InlineData("2026-01-01", 90, "period 30; rotate; pass 60; rotate; pass 30", "0 0 60 90", "2026-05-01")]
    [InlineData("2026-01-01", 90, "period 30; off 275", "0 275", "2026-10-28")]
    [InlineData("2026-01-01", 90, "period 400; off 275", "0 275", "2027-05-06")]
    [InlineData("2026-01-01", 90, "period 400; off 490", "0 490", "2028-06-09")]

    // Leap days: a period is days, not months or years.
    [InlineData("2028-02-28", 1, "pass 2", "0 1 2", "2028-03-02")]
    [InlineData("2027-02-28", 365, "pass 365", "0 365", "2029-02-27")]
    [InlineData("2028-02-29", 365, "pass 364.5", "0", "2029-02-28")]
    [InlineData("2028-02-29", 366, "pass 366", "0 366", "2030-03-02")]

    // The clock is set back: that delays, and never repeats.
    [InlineData("2026-01-01", 90, "pass 90; back 10; pass 20", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "pass 90; back 100; pass 100", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "pass 89; back 30; pass 30.5", "0", "2026-04-01")]
    [InlineData("2026-01-01", 90, "pass 89; back 30; pass 31", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "pass 90; back 10; rotate; pass 10", "0 90 80", "2026-06-30")]
    [InlineData("2026-01-01", 90, "pass 90; back 90; off 0; pass 90", "0 90", "2026-06-30")]

    // The clock is set far forward, while the daemon runs and while it is stopped: one rotation. Set right again, the next one
    // waits until the time that was believed: seen in nextRotationAt.
    [InlineData("2026-01-01", 90, "jump 1000", "0 1000", "2028-12-16")]
    [InlineData("2026-01-01", 90, "off 1000; pass 79.5", "0 1000", "2028-12-16")]
    [InlineData("2026-01-01", 90, "jump 1000; back 1000; pass 180", "0 1000", "2028-12-16")]
    [InlineData("2026-01-01", 90, "jump 10000", "0 10000", "2053-08-07")]

    // Keys that are disabled, or wait for their deletion, rotate as the others.
    [InlineData("2026-01-01", 90, "disable; pass 90", "0 90", "2026-06-30")]
    [InlineData("2026-01-01", 90, "disable; off 275; enable; pass 85", "0 275 360", "2027-03-27")]
    [InlineData("2026-01-01", 1, "request; pass 2.5", "0 1 2", "2026-01-04")]
    [InlineData("2026-01-01", 2, "request; pass 2; cancel; pass 2", "0 2 4", "2026-01-07")]
    public async Task A_key_rotates_on_its_own_grid(string firstDay, int period, string events, string versionDays, string nextDay)
    {
        await using Timeline timeline = await Timeline.PlayAsync(firstDay, period, events);
        Assert.Equal(versionDays, timeline.VersionDays);
        Assert.Equal(nextDay + " 12:00", Timeline.Text(timeline.Key.NextRotationAt));
    }

    [Theory]
    [InlineData("period 30", 90, 30)]
    [InlineData("period 30; period 400", 90, 400)]
    [InlineData("period 30; period 90", 90, null)]
    [InlineData("period 90", 90, null)]
    [InlineData("period 30; rotate", 90, 30)]
    [InlineData("period 30; pass 90", 30, null)]
    [InlineData("period 30; pass 90; period 90", 30, 90)]
    public async Task A_new_period_is_shown_until_it_takes_effect(string events, int period, int? pending)
    {
        await using Timeline timeline = await Timeline.PlayAsync("2026-01-01", 90, events);
        KeyDescription key = timeline.Key;
        Assert.Equal((period, pending), (key.RotationPeriodDays, key.PendingRotationPeriodDays));
    }

    [Theory]
    [InlineData("", 0)]
    [InlineData("period 365", 0)]
    [InlineData("period 366", 1)]
    [InlineData("period 366; period 365", 0)]
    [InlineData("period 366; pass 90", 1)]
    [InlineData("period 366; pass 90; period 400", 2)]
    [InlineData("period 366; pass 90; period 30", 1)]
    public async Task Who_sets_a_period_over_a_year_is_warned_at_once(string events, int warnings)
    {
        await using Timeline timeline = await Timeline.PlayAsync("2026-01-01", 90, events);
        Assert.Equal(warnings, timeline.Key.Warnings?.Length ?? 0);
    }
}
