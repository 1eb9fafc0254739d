using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Kms.Hsm.Native;

/// <summary>
/// The unmanaged memory of one native call: it stays where it is until the call has returned, whatever the garbage collector
/// does, and is zeroed then. (The high-level API of Pkcs11Interop lets finalizers free such memory during the call.)
/// </summary>
internal sealed unsafe class CallMemory : IDisposable
{
    private readonly List<(nint Address, int Length)> _blocks = [];

    public nint Copy(ReadOnlySpan<byte> bytes)
    {
        nint block = Take(bytes.Length);
        bytes.CopyTo(new Span<byte>((void*)block, bytes.Length));
        return block;
    }

    /// <summary>Zeroed.</summary>
    public nint Take(int length)
    {
        nint block = (nint)NativeMemory.AllocZeroed((nuint)Math.Max(length, 1));
        _blocks.Add((block, length));
        return block;
    }

    public void Dispose()
    {
        foreach ((nint address, int length) in _blocks)
        {
            CryptographicOperations.ZeroMemory(new Span<byte>((void*)address, length));
            NativeMemory.Free((void*)address);
        }

        _blocks.Clear();
    }
}
