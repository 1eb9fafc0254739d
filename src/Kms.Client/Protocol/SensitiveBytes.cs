using System.Security.Cryptography;

namespace Kms.Client.Protocol;

/// <summary>
/// Bytes on their way to or from the daemon that must not linger: a pinned array, zeroed on disposal. It isn't locked
/// memory; the daemon's own keys never are in one.
/// </summary>
public sealed class SensitiveBytes : IDisposable
{
    private readonly byte[] _bytes;
    private bool _disposed;

    /// <summary>Makes room for <paramref name="length"/> zero bytes.</summary>
    public SensitiveBytes(int length) => _bytes = GC.AllocateArray<byte>(length, pinned: true);

    /// <summary>Copies <paramref name="source"/>; the caller still owns, and zeroes, the original.</summary>
    public SensitiveBytes(ReadOnlySpan<byte> source)
    {
        _bytes = GC.AllocateUninitializedArray<byte>(source.Length, pinned: true);
        source.CopyTo(_bytes);
    }

    /// <summary>The number of bytes.</summary>
    public int Length => _bytes.Length;

    /// <summary>The bytes. Don't keep the span beyond the life of this object.</summary>
    /// <exception cref="ObjectDisposedException">They were zeroed.</exception>
    public Span<byte> AsSpan()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return _bytes;
    }

    /// <summary>Zeroes what nobody disposed of, such as a member of a request whose rest is refused.</summary>
#pragma warning disable IDISP023 // An array has no finalizer of its own: it is still whole here.
    ~SensitiveBytes() => CryptographicOperations.ZeroMemory(_bytes);
#pragma warning restore IDISP023

    /// <summary>Zeroes the bytes.</summary>
    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(_bytes);
        _disposed = true;
        GC.SuppressFinalize(this);
    }

    /// <summary>The length only.</summary>
    public override string ToString() => $"({_bytes.Length} bytes)";
}
