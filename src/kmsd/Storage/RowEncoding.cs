using System.Buffers.Binary;
using System.Text;

namespace Kmsd.Storage;

/// <summary>
/// The canonical encoding of a row: every field with its kind and length, so that no two rows encode alike. A field is
/// <c>0</c> (null), <c>1</c> ‖ i64 (a number), <c>2</c> ‖ u32 length ‖ bytes, or <c>3</c> ‖ u32 length ‖ UTF-8; big-endian.
/// </summary>
internal sealed class RowEncoding
{
    /// <summary>The version of this encoding, stored with each row.</summary>
    public const int Version = 1;

    /// <summary>How many fields <see cref="Start"/> writes.</summary>
    public const int FieldsOfStart = 3;

    private const byte Null = 0;
    private const byte Number = 1;
    private const byte Blob = 2;
    private const byte Text = 3;

    private byte[] _buffer = new byte[512];
    private int _length;
    private int _idLength;

    /// <summary>Starts anew with the table's name.</summary>
    public RowEncoding Start(string table)
    {
        _length = 0;
        _idLength = 0;
        return Add("kmsd/row").Add(Version).Add(table);
    }

    public ReadOnlySpan<byte> Bytes => _buffer.AsSpan(0, _length);

    /// <summary>The bytes up to <see cref="EndId"/>: what names the row.</summary>
    public ReadOnlySpan<byte> Id => _buffer.AsSpan(0, _idLength);

    /// <summary>What was added so far names the row, what follows is what it says.</summary>
    public RowEncoding EndId()
    {
        _idLength = _length;
        return this;
    }

    /// <summary>The bytes and one more number, which doesn't stay.</summary>
    public ReadOnlySpan<byte> With(long number)
    {
        int length = _length;
        ReadOnlySpan<byte> bytes = Add(number).Bytes;
        _length = length;
        return bytes;
    }

    public RowEncoding Add(long value)
    {
        Span<byte> field = Reserve(1 + sizeof(long));
        field[0] = Number;
        BinaryPrimitives.WriteInt64BigEndian(field[1..], value);
        return this;
    }

    public RowEncoding Add(long? value) => value is long number ? Add(number) : AddNull();

    public RowEncoding Add(DateTimeOffset value) => Add(value.ToUnixTimeMilliseconds());

    public RowEncoding Add(DateTimeOffset? value) => value is DateTimeOffset time ? Add(time) : AddNull();

    public RowEncoding Add(ReadOnlySpan<byte> value)
    {
        Span<byte> field = Reserve(1 + sizeof(uint) + value.Length);
        field[0] = Blob;
        BinaryPrimitives.WriteUInt32BigEndian(field[1..], (uint)value.Length);
        value.CopyTo(field[(1 + sizeof(uint))..]);
        return this;
    }

    public RowEncoding Add(byte[]? value) => value is null ? AddNull() : Add(value.AsSpan());

    public RowEncoding Add(string? value)
    {
        if (value is null)
        {
            return AddNull();
        }

        int length = Encoding.UTF8.GetByteCount(value);
        Span<byte> field = Reserve(1 + sizeof(uint) + length);
        field[0] = Text;
        BinaryPrimitives.WriteUInt32BigEndian(field[1..], (uint)length);
        _ = Encoding.UTF8.GetBytes(value, field[(1 + sizeof(uint))..]);
        return this;
    }

    /// <summary>The fields of an encoding, from the first on; ends at whatever is no field.</summary>
    public static FieldReader Read(ReadOnlySpan<byte> encoding) => new(encoding);

    private RowEncoding AddNull()
    {
        Reserve(1)[0] = Null;
        return this;
    }

    private Span<byte> Reserve(int count)
    {
        if (_buffer.Length - _length < count)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + count));
        }

        Span<byte> field = _buffer.AsSpan(_length, count);
        _length += count;
        return field;
    }

    /// <summary>One field after the other.</summary>
    internal ref struct FieldReader(ReadOnlySpan<byte> encoding)
    {
        private ReadOnlySpan<byte> _rest = encoding;

        /// <summary>What kind of field this is.</summary>
        public byte Kind { get; private set; }

        public long Integer { get; private set; }

        /// <summary>Of a blob, or of a text in UTF-8.</summary>
        public ReadOnlySpan<byte> Value { get; private set; }

        public readonly bool IsNull => Kind == Null;

        public readonly bool IsNumber => Kind == Number;

        public readonly bool IsText => Kind == Text;

        /// <summary>True once everything was read.</summary>
        public readonly bool IsAtEnd => _rest.IsEmpty;

        /// <summary>False where no whole field follows.</summary>
        public bool MoveNext()
        {
            if (_rest.IsEmpty)
            {
                return false;
            }

            Kind = _rest[0];
            int length;
            switch (Kind)
            {
                case Null:
                    length = 1;
                    break;
                case Number when _rest.Length > sizeof(long):
                    Integer = BinaryPrimitives.ReadInt64BigEndian(_rest[1..]);
                    length = 1 + sizeof(long);
                    break;
                case Blob or Text when _rest.Length > sizeof(uint) && BinaryPrimitives.ReadUInt32BigEndian(_rest[1..]) <= (uint)(_rest.Length - 1 - sizeof(uint)):
                    int count = BinaryPrimitives.ReadInt32BigEndian(_rest[1..]);
                    Value = _rest.Slice(1 + sizeof(uint), count);
                    length = 1 + sizeof(uint) + count;
                    break;
                default:
                    return false;
            }

            _rest = _rest[length..];
            return true;
        }
    }
}
