using System.Runtime.InteropServices;
using Net.Pkcs11Interop.Common;
using Net.Pkcs11Interop.LowLevelAPI80;

namespace Kms.Hsm.Native;

/// <summary>An attribute template (PKCS#11 v2.40 §4.1) whose values lie in memory of its own.</summary>
internal sealed class Template : IDisposable
{
    private readonly CallMemory _memory = new();
    private readonly List<CK_ATTRIBUTE> _attributes = [];

    public ulong Count => (ulong)_attributes.Count;

    public CK_ATTRIBUTE[] ToArray() => [.. _attributes];

    public Template Add(CKA type, bool value) => Add(type, [value ? (byte)1 : (byte)0]);

    public Template Add(CKA type, CKO value) => Add(type, (ulong)value);

    public Template Add(CKA type, CKK value) => Add(type, (ulong)value);

    public Template Add(CKA type, ulong value) => Add(type, MemoryMarshal.AsBytes([value]));

    public Template Add(CKA type, ReadOnlySpan<byte> value)
    {
        _attributes.Add(new CK_ATTRIBUTE { type = (ulong)type, value = _memory.Copy(value), valueLen = (ulong)value.Length });
        return this;
    }

    public void Dispose() => _memory.Dispose();
}
