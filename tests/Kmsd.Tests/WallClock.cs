using Microsoft.Extensions.Time.Testing;

namespace Kmsd.Tests;

/// <summary>
/// A clock that a test moves. <see cref="FakeTimeProvider.Advance"/> lets time go by; <see cref="Set"/> is somebody's hand at the
/// clock: what time it is changes, and how much time has gone by doesn't, as with the system's clocks.
/// </summary>
internal sealed class WallClock(DateTimeOffset start) : FakeTimeProvider(start)
{
    private long _setTicks;

    public void Set(DateTimeOffset time)
    {
        _setTicks += time.Ticks - GetUtcNow().Ticks;
        AdjustTime(time);
    }

    public override long GetTimestamp() =>
        base.GetTimestamp() - (long)((decimal)_setTicks * TimestampFrequency / TimeSpan.TicksPerSecond);
}
