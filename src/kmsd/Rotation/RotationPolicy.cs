using Kmsd.Keys;

namespace Kmsd.Rotation;

/// <summary>When a key is due, and what follows. Pure: the key and the time in, the key out.</summary>
internal static class RotationPolicy
{
    /// <summary>True if the timed rotation is due. A disabled key and one that waits for its deletion rotate too.</summary>
    public static bool IsDue(Key key, DateTimeOffset now) => key.NextRotationAt <= now && !key.IsQuarantined;

    /// <summary>
    /// After the timed rotation: a changed period counts from the rotation that was due. The next due time lies on the key's
    /// own grid, after <paramref name="now"/>: however many periods passed, one rotation makes up for them.
    /// </summary>
    public static Key AfterTimedRotation(Key key, DateTimeOffset now)
    {
        int days = key.PendingRotationPeriodDays ?? key.RotationPeriodDays;
        var period = TimeSpan.FromDays(days);
        long periods = Math.Max(1, ((now.UtcTicks - key.NextRotationAt.UtcTicks) / period.Ticks) + 1);
        return key with
        {
            RotationPeriodDays = days,
            PendingRotationPeriodDays = null,
            NextRotationAt = key.NextRotationAt.AddTicks(checked(periods * period.Ticks)),
        };
    }

    /// <summary>A new period takes effect after the rotation that is already due; the present one again means no change.</summary>
    public static Key WithPeriod(Key key, int days)
    {
        int? pending = days == key.RotationPeriodDays ? null : days;
        return pending == key.PendingRotationPeriodDays ? key : key with { PendingRotationPeriodDays = pending };
    }
}
