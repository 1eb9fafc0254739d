namespace Kms.Client.Tests.SealedFiles;

/// <summary>What the streams of these tests have in common: one direction, no length.</summary>
internal abstract class TestStream : Stream
{
    public override bool CanRead => false;

    public override bool CanWrite => false;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}

/// <summary>Gives a little at a time, as a pipe does.</summary>
internal sealed class Dripping(byte[] content) : TestStream
{
    private int _position;

    public override bool CanRead => true;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        await Task.CompletedTask;
        int count = Math.Min(Math.Min(buffer.Length, content.Length - _position), 40_961);
        content.AsSpan(_position, count).CopyTo(buffer.Span);
        _position += count;
        return count;
    }
}

internal sealed class Zeros(long length) : TestStream
{
    private long _rest = length;

    public override bool CanRead => true;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        int count = (int)Math.Min(buffer.Length, _rest);
        buffer.Span[..count].Clear();
        _rest -= count;
        return ValueTask.FromResult(count);
    }
}

internal sealed class CountingSink : TestStream
{
    public long Count { get; private set; }

    public long Room { get; init; } = long.MaxValue;

    public override bool CanWrite => true;

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Count += buffer.Length;
        return Count <= Room ? ValueTask.CompletedTask : throw new IOException("No room is left.");
    }
}

internal sealed class Callback(Action<long> report) : IProgress<long>
{
    public void Report(long value) => report(value);
}
