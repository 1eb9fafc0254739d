using System.Buffers.Binary;

namespace Kms.Hsm;

/// <summary>Fields joined so that no two lists of fields give the same bytes.</summary>
internal static class LengthPrefixed
{
    public static byte[] Join(params ReadOnlySpan<byte[]> fields)
    {
        using MemoryStream joined = new();
        foreach (byte[] field in fields)
        {
            joined.Write(Number((uint)field.Length));
            joined.Write(field);
        }

        return joined.ToArray();
    }

    public static byte[] Number(uint number)
    {
        byte[] bytes = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, number);
        return bytes;
    }
}
