using System.Buffers;
using System.Security.Cryptography;

namespace Kms.Client.Transport;

/// <summary>Bytes between the program and the socket: one pinned array that grows, and is zeroed wherever it was used.</summary>
internal sealed class PinnedBuffer : IBufferWriter<byte>
{
    private const int InitialBytes = 16 * 1024;

    private byte[] _array = GC.AllocateUninitializedArray<byte>(InitialBytes, pinned: true);
    private int _start;
    private int _end;

    public int Length => _end - _start;

    public ReadOnlyMemory<byte> Filled => _array.AsMemory(_start.._end);

    public void Advance(int count) => _end += count;

    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        int needed = Math.Max(sizeHint, 1);
        if (_array.Length - _end < needed)
        {
            MakeRoom(needed);
        }

        return _array.AsMemory(_end);
    }

    /// <summary>Forgets, and zeroes, the first bytes.</summary>
    public void Consume(int count)
    {
        CryptographicOperations.ZeroMemory(_array.AsSpan(_start, count));
        _start += count;
        if (_start == _end)
        {
            _start = _end = 0;
            if (_array.Length > 4 * InitialBytes)
            {
                _array = GC.AllocateUninitializedArray<byte>(InitialBytes, pinned: true); // The large one is all zero by now.
            }
        }
    }

    /// <summary>Zeroes everything, what a failed write left behind included.</summary>
    public void Clear()
    {
        CryptographicOperations.ZeroMemory(_array);
        _start = _end = 0;
    }

    private void MakeRoom(int needed)
    {
        int length = Length;
        byte[] target = _array;
        if (length + needed > _array.Length)
        {
            target = GC.AllocateUninitializedArray<byte>(Math.Max(2 * _array.Length, length + needed), pinned: true);
        }

        _array.AsSpan(_start, length).CopyTo(target);
        CryptographicOperations.ZeroMemory(
            ReferenceEquals(target, _array) ? target.AsSpan(length, _end - length) : _array);
        _array = target;
        (_start, _end) = (0, length);
    }
}
