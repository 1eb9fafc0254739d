using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Kms.Hsm.Native;

/// <summary>
/// Bytes that go into or come out of a native call and may be secret: in an array that no collection moves, lent from a few,
/// zeroed when it is given back.
/// </summary>
internal sealed class CallBuffer : IDisposable
{
    // The longest text of a request is 32 KiB, and an overhead.
    private static readonly int[] s_sizes = [512, 4096, 40 * 1024];
    private static readonly ConcurrentBag<byte[]>[] s_free = [.. s_sizes.Select(_ => new ConcurrentBag<byte[]>())];

    // As many as token calls run at a time; what is more is left to the collector.
    private const int MostKept = 64;

    private readonly int _size;

    /// <summary>Zeroed.</summary>
    public CallBuffer(int length)
    {
        Length = length;
        _size = System.Array.FindIndex(s_sizes, size => size >= length);
        Array = _size >= 0 && s_free[_size].TryTake(out byte[]? kept)
            ? kept
            : GC.AllocateArray<byte>(_size >= 0 ? s_sizes[_size] : length, pinned: true);
    }

    public CallBuffer(ReadOnlySpan<byte> content)
        : this(content.Length) => content.CopyTo(Span);

    /// <summary>At least <see cref="Length"/> bytes long.</summary>
    public byte[] Array { get; }

    public int Length { get; }

    public Span<byte> Span => Array.AsSpan(0, Length);

    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(Array);
        if (_size >= 0 && s_free[_size].Count < MostKept)
        {
            s_free[_size].Add(Array);
        }
    }
}
