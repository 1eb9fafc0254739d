using Kms.Client.Protocol;

namespace Kmsd.Tests.Deletion;

/// <summary>When a requested deletion happens, whatever happens to the daemon and to the clock meanwhile.</summary>
public sealed class HeldDeletionTests
{
    // docs/api.md: 72 hours. DESIGN: a gap of more than 24 hours, running or across a start, holds deletions that are due for
    // 24 hours of running time, or until they are released; a clock that is set back delays.
    [Theory]
    [InlineData("request; pass 2.5", "pendingDeletion")]
    [InlineData("request; pass 3", "deleted")]
    [InlineData("pass 2; request; pass 2.5", "pendingDeletion")]
    [InlineData("request; pass 2.5; cancel; pass 10", "disabled")]

    // Gaps up to 24 hours are nothing to wonder at.
    [InlineData("request; jump 1; jump 1; jump 1", "deleted")]
    [InlineData("request; off 1; off 1; off 1", "deleted")]
    [InlineData("request; pass 2; jump 0.9; pass 0.1", "deleted")]

    // A clock that is set far forward, while the daemon runs.
    [InlineData("request; jump 3", "pendingDeletion")]
    [InlineData("request; jump 3; pass 0.9", "pendingDeletion")]
    [InlineData("request; jump 3; pass 1", "deleted")]
    [InlineData("request; jump 3; release", "deleted")]
    [InlineData("request; jump 3; jump 0.5; jump 0.5", "pendingDeletion")]
    [InlineData("request; jump 3; pass 0.9; jump 5; pass 0.9", "pendingDeletion")]
    [InlineData("request; jump 3; pass 0.9; jump 5; pass 1", "deleted")]
    [InlineData("request; jump 3; cancel; pass 5", "disabled")]
    [InlineData("request; pass 1.5; jump 1.1; pass 0.5", "pendingDeletion")]
    [InlineData("jump 1000; request; pass 2.5", "pendingDeletion")]
    [InlineData("jump 1000; request; pass 3", "deleted")]

    // Set right again, it happens when it was to happen.
    [InlineData("request; jump 30; back 30; pass 2.5", "pendingDeletion")]
    [InlineData("request; jump 30; back 30; pass 3", "deleted")]

    // A daemon that was stopped so long; a restart begins the wait anew.
    [InlineData("request; off 3", "pendingDeletion")]
    [InlineData("request; off 3; pass 0.9", "pendingDeletion")]
    [InlineData("request; off 3; pass 1", "deleted")]
    [InlineData("request; off 3; release", "deleted")]
    [InlineData("request; off 3; pass 0.9; off 0; pass 0.9", "pendingDeletion")]
    [InlineData("request; off 3; pass 0.9; off 0; pass 1", "deleted")]
    [InlineData("request; off 3; release; off 0", "deleted")]
    [InlineData("request; jump 3; off 0; pass 0.9", "pendingDeletion")]

    // A clock that is set back.
    [InlineData("request; pass 2; back 2; pass 2.5", "pendingDeletion")]
    [InlineData("request; pass 2; back 2; pass 3", "deleted")]
    [InlineData("request; pass 2; back 1.5; off 0; pass 2.5", "deleted")]
    public async Task A_deletion_that_is_due_happens_or_waits(string events, string state)
    {
        await using Timeline timeline = await Timeline.PlayAsync("2026-01-01", 90, events);
        Assert.Equal(state, timeline.IsGone ? "deleted" : Wire.KeyStates[timeline.Key.State]);
    }
}
