using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Kms.Hsm;

/// <summary>Writes a secret in place.</summary>
/// <param name="destination">All of it must be written.</param>
public delegate void SecretFill(Span<byte> destination);

/// <summary>
/// A secret of 1 to 65,536 bytes in memory that is locked (mlock(2)), left out of core dumps and of forked children
/// (madvise(2): MADV_DONTDUMP, MADV_WIPEONFORK), and zeroed on disposal. A reader holds a lease; disposal waits for it.
/// Safe for many threads that read.
/// </summary>
public sealed class SecretBytes : IDisposable
{
    private readonly Cell _cell;
    private volatile bool _isDisposed;

    /// <summary>Makes a secret in place.</summary>
    /// <param name="length">1 to 65,536 bytes.</param>
    /// <param name="fill">Writes all of it; what it throws passes on, and the memory is zeroed.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length isn't 1 to 65,536.</exception>
    /// <exception cref="InsufficientMemoryException">The kernel gives no more locked memory.</exception>
    public SecretBytes(int length, SecretFill fill)
    {
        ArgumentNullException.ThrowIfNull(fill);
        _cell = new Cell(length);
        try
        {
            fill(_cell.Span);
        }
        catch
        {
            _cell.Dispose();
            throw;
        }
    }

    /// <summary>Takes a secret over: copies it and zeroes the source, also when this fails.</summary>
    /// <param name="source">1 to 65,536 bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length isn't 1 to 65,536.</exception>
    /// <exception cref="InsufficientMemoryException">The kernel gives no more locked memory.</exception>
    public SecretBytes(Span<byte> source)
    {
        try
        {
            _cell = new Cell(source.Length);
            source.CopyTo(_cell.Span);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(source);
        }
    }

    /// <summary>In bytes.</summary>
    public int Length => _cell.Length;

    /// <summary>Opens the secret for reading; it stays until the lease is disposed.</summary>
    /// <exception cref="ObjectDisposedException">The secret is gone.</exception>
    public SecretLease Open()
    {
        // The handle alone would still open while another lease holds it, and leases that overlap would keep it for ever.
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return new SecretLease(_cell);
    }

    /// <summary>Ends opening at once, and zeroes the secret as soon as the last lease on it has ended.</summary>
    public void Dispose()
    {
        _isDisposed = true;
        _cell.Dispose();
    }

    /// <summary>The length, never the content.</summary>
    public override string ToString() => $"secret of {Length} bytes";

    internal sealed class Cell : SafeHandle
    {
        public Cell(int length)
            : base(0, ownsHandle: true)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(length, SecretMemory.LongestInBytes);
            Length = length;
            SetHandle(SecretMemory.Take(length));
        }

        public int Length { get; }

        public override bool IsInvalid => handle == 0;

        public unsafe Span<byte> Span => new((void*)handle, Length);

        protected override bool ReleaseHandle()
        {
            SecretMemory.GiveBack(handle, Length);
            return true;
        }
    }
}

/// <summary>A secret that is open for reading. A ref struct, so that it can't outlive the method that opened it.</summary>
public ref struct SecretLease
{
    private SecretBytes.Cell? _cell;

    internal SecretLease(SecretBytes.Cell cell)
    {
        bool held = false;
        cell.DangerousAddRef(ref held);
        _cell = cell;
    }

    /// <summary>The secret itself; not to be kept.</summary>
    /// <exception cref="ObjectDisposedException">The lease has ended.</exception>
    public readonly ReadOnlySpan<byte> Bytes => (_cell ?? throw new ObjectDisposedException(nameof(SecretLease))).Span;

    /// <summary>Ends the lease.</summary>
    public void Dispose()
    {
        _cell?.DangerousRelease();
        _cell = null;
    }
}
