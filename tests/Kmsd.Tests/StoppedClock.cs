namespace Kmsd.Tests;

/// <summary>Time that goes on when it is told to; timers are the system's, or never fire.</summary>
internal sealed class StoppedClock : TimeProvider
{
    private long _ticks = 1;

    public bool HasTimers { get; init; } = true;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => _ticks;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        HasTimers ? base.CreateTimer(callback, state, dueTime, period) : new Never();

    public void Advance(TimeSpan time) => _ticks += time.Ticks;

    private sealed class Never : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => true;

        public void Dispose()
        {
        }

        public ValueTask DisposeAsync() => default;
    }
}
