using System.Buffers;
using System.Runtime.InteropServices;
using Kms.Client.Transport;

namespace Kms.Client.Tests.Transport;

public sealed class PinnedBufferTests
{
    [Fact]
    public void What_is_consumed_cleared_or_outgrown_is_zeroed()
    {
        var buffer = new PinnedBuffer();
        buffer.Write("secret"u8);
        Assert.True(MemoryMarshal.TryGetArray(buffer.Filled, out ArraySegment<byte> first));
        buffer.Consume(3);
        Assert.Equal("\0\0\0ret"u8, first.AsSpan());
        buffer.Write(new byte[100_000]);
        Assert.Equal("\0\0\0\0\0\0"u8, first.AsSpan());
        Assert.Equal("ret"u8, buffer.Filled.Span[..3]);
        Assert.True(MemoryMarshal.TryGetArray(buffer.Filled, out ArraySegment<byte> second));
        buffer.Clear();
        Assert.Equal(0, buffer.Length);
        Assert.False(second.Array.AsSpan().ContainsAnyExcept((byte)0));
    }

    [Fact]
    public void What_moves_to_the_front_leaves_no_copy_behind()
    {
        var buffer = new PinnedBuffer();
        Memory<byte> all = buffer.GetMemory();
        int whole = all.Length;
        buffer.Write(Enumerable.Repeat((byte)7, whole).ToArray());
        buffer.Consume(whole - 10);
        _ = buffer.GetMemory(100);
        Assert.Equal(10, buffer.Length);
        Assert.Equal(10, all.Span.Count((byte)7));
        Assert.True(all.Span[..10].IndexOfAnyExcept((byte)7) < 0);
    }
}
