namespace Kmsd.Keys;

/// <summary>How often something was used, with how many items, and when last.</summary>
internal readonly record struct Usage(long Calls, long Items, DateTimeOffset? LastUsedAt)
{
    public Usage Plus(long items, DateTimeOffset at) => new(Calls + 1, Items + items, at);
}

/// <summary>
/// A usage that the writer moves on with each batch. Readers see only what was committed; <see cref="Staged"/> is the
/// writer's alone.
/// </summary>
internal sealed class UsageCounter(Usage committed)
{
    // Boxed, so that a reader never sees half of a new value.
    private volatile object _committed = committed;

    public Usage Committed => (Usage)_committed;

    public Usage Staged { get; set; } = committed;

    public void Commit() => _committed = Staged;

    public void Rollback() => Staged = Committed;
}
