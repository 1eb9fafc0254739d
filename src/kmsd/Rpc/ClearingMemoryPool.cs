using System.Buffers;

namespace Kmsd.Rpc;

/// <summary>Buffers of requests and answers: cleared when they are given back, since plaintext passed through them.</summary>
internal sealed class ClearingMemoryPool : MemoryPool<byte>
{
    private const int DefaultLength = 4096;

    public static ClearingMemoryPool Instance { get; } = new();

    public override int MaxBufferSize => Array.MaxLength;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1) =>
        new Owner(ArrayPool<byte>.Shared.Rent(minBufferSize < 0 ? DefaultLength : minBufferSize));

#pragma warning disable IDISP010 // The base's is abstract.
    protected override void Dispose(bool disposing)
    {
        // Holds nothing of its own.
    }
#pragma warning restore IDISP010

    private sealed class Owner(byte[] array) : IMemoryOwner<byte>
    {
        private byte[]? _array = array;

        public Memory<byte> Memory => _array ?? throw new ObjectDisposedException(nameof(IMemoryOwner<byte>));

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _array, null) is byte[] array)
            {
                ArrayPool<byte>.Shared.Return(array, clearArray: true);
            }
        }
    }
}
