namespace Kmsd.Keys;

/// <summary>A key store's random id: 16 bytes that never change, whatever the store is called.</summary>
internal readonly record struct StoreId(Guid Value)
{
    public static StoreId New() => new(Guid.NewGuid());

    public static StoreId FromBytes(ReadOnlySpan<byte> bytes) => new(new Guid(bytes, bigEndian: true));

    public byte[] ToBytes() => Value.ToByteArray(bigEndian: true);

    public override string ToString() => Value.ToString("N");
}
