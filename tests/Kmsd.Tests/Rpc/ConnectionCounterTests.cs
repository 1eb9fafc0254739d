using Kmsd.Rpc;

namespace Kmsd.Tests.Rpc;

public sealed class ConnectionCounterTests
{
    [Fact]
    public void Whoever_has_one_too_many_hears_which_limit_that_is()
    {
        ConnectionCounter connections = new(3, 2);
        Assert.True(connections.TryAdd(1000, out _));
        Assert.True(connections.TryAdd(1000, out _));
        Assert.False(connections.TryAdd(1000, out string? own));
        Assert.Equal("one user may have at most 2 ([limits] connections_per_uid)", own);
        Assert.True(connections.TryAdd(2000, out _));
        Assert.False(connections.TryAdd(3000, out string? ofAll));
        Assert.Equal("at most 3 may be open in all ([limits] connections)", ofAll);
        connections.Remove(1000);
        Assert.True(connections.TryAdd(3000, out string? none));
        Assert.Null(none);
    }
}
