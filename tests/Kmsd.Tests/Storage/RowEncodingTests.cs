using System.Buffers.Binary;
using System.Text;
using CsCheck;
using Kms.Hsm;
using Kmsd.Storage;

namespace Kmsd.Tests.Storage;

public sealed class RowEncodingTests
{
    /// <summary>Short texts over few characters, so that lists which differ only in where a field ends are common.</summary>
    private static readonly Gen<string> s_text = Gen.Char["a\0\u0001\u0002\u0003é"].Array[0, 4].Select(characters => new string(characters));

    private static readonly Gen<object?> s_field = Gen.OneOf(
        Gen.Const((object?)null),
        Gen.OneOf(Gen.Long[-3, 3], Gen.Long).Select(number => (object?)number),
        s_text.Select(text => (object?)text),
        s_text.Select(text => (object?)Encoding.UTF8.GetBytes(text)));

    [Fact]
    public void A_row_is_encoded_as_its_description_says()
    {
        RowEncoding row = new RowEncoding().Start("t").Add((long?)null).Add(-2).Add([9, 8]).Add("é");
        byte[] expected =
        [
            3, 0, 0, 0, 8, .. "kmsd/row"u8,
            1, 0, 0, 0, 0, 0, 0, 0, 1,
            3, 0, 0, 0, 1, (byte)'t',
            0,
            1, 255, 255, 255, 255, 255, 255, 255, 254,
            2, 0, 0, 0, 2, 9, 8,
            3, 0, 0, 0, 2, 0xC3, 0xA9,
        ];
        Assert.Equal(expected, row.Bytes.ToArray());
    }

    /// <summary>What can be read back was written by one list alone: so no two different lists encode alike.</summary>
    [Fact]
    public void Every_list_of_fields_is_read_back_from_its_encoding() => s_field.Array[0, 6].Sample(
        fields => Same(fields, Decode(Encode("t", fields))), iter: 50_000);

    [Fact]
    public void Two_different_lists_of_fields_do_not_encode_alike() => Gen.Select(s_field.Array[0, 2], s_field.Array[0, 2]).Sample(
        (first, second) => Same(first, second) == Encode("t", first).AsSpan().SequenceEqual(Encode("t", second)), iter: 50_000);

    [Fact]
    public void No_list_is_the_beginning_of_another_row_of_the_same_length()
    {
        byte[][] encodings =
        [
            Encode("t", ["ab", "c"]), Encode("t", ["a", "bc"]), Encode("t", ["abc"]), Encode("t", ["abc", null]), Encode("t", [null, "abc"]),
            Encode("ta", ["bc"]), Encode("tab", ["c"]), Encode("t", ["abc"u8.ToArray()]), Encode("t", [0L]), Encode("t", [""]), Encode("t", [null]),
            Encode("t", []), Encode("t", [Array.Empty<byte>()]), Encode("t", [new byte[8]]),
        ];
        Assert.Equal(encodings.Length, encodings.Select(Convert.ToHexString).Distinct().Count());
    }

    [Fact]
    public void A_row_longer_than_its_buffer_grows_and_a_new_one_starts_empty()
    {
        RowEncoding encoding = new();
        byte[] small = encoding.Start("t").Add("x").Bytes.ToArray();
        byte[] large = new byte[100_000];
        Assert.Equal(large, encoding.Start("t").Add(large).Bytes[^large.Length..].ToArray());
        Assert.Equal(small, encoding.Start("t").Add("x").Bytes.ToArray());
    }

    [Fact]
    public void Times_count_to_the_millisecond()
    {
        DateTimeOffset time = new(2026, 11, 24, 1, 2, 3, 4, TimeSpan.Zero);
        Assert.Equal(Encode("t", [time.ToUnixTimeMilliseconds()]), new RowEncoding().Start("t").Add(time).Bytes.ToArray());
        Assert.Equal(Encode("t", [null]), new RowEncoding().Start("t").Add((DateTimeOffset?)null).Bytes.ToArray());
    }

    [Fact]
    public void A_code_holds_for_its_row_table_instance_generation_key_and_version_alone()
    {
        using GenerationKeys keys = Keys(1, 1, 1);
        using GenerationKeys otherKeys = Keys(2, 2, 2);
        RowAuthenticator authenticator = new(keys, [1, 2], 1);
        byte[] code = authenticator.Code(authenticator.Row("grants").Add("uid:1"));
        StoredCode stored = new(1, RowEncoding.Version, code);
        Assert.Equal(RowAuthenticator.CodeLength, code.Length);
        Assert.True(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), stored));

        Assert.False(authenticator.Verify(authenticator.Row("grants").Add("uid:2"), stored));
        Assert.False(authenticator.Verify(authenticator.Row("members").Add("uid:1"), stored));
        Assert.False(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), stored with { Generation = 2 }));
        Assert.False(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), stored with { EncodingVersion = 2 }));
        Assert.False(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), stored with { Code = code[..31] }));
        Assert.False(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), stored with { Code = [] }));
        Assert.False(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), stored with { Code = [.. code, 0] }));
        RowAuthenticator[] others = [new(otherKeys, [1, 2], 1), new(keys, [1, 3], 1), new(keys, [1, 2], 2)];
        Assert.All(others, other => Assert.False(other.Verify(
            other.Row("grants").Add("uid:1"), stored with { Generation = other.Generation })));
    }

    [Fact]
    public void A_code_verifies_by_the_key_of_its_own_generation_until_that_is_retired()
    {
        using GenerationKeys keys = Keys(1, 2);
        RowAuthenticator authenticator = new(keys, [1, 2], 1);
        StoredCode first = new(1, RowEncoding.Version, authenticator.Code(authenticator.Row("grants").Add("uid:1")));
        authenticator.Use(2);
        StoredCode second = new(2, RowEncoding.Version, authenticator.Code(authenticator.Row("grants").Add("uid:1")));
        Assert.True(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), first));
        Assert.True(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), second));
        Assert.False(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), second with { Code = first.Code }));
        keys.Remove(1);
        Assert.False(authenticator.Verify(authenticator.Row("grants").Add("uid:1"), first));
        _ = Assert.Throws<InvalidOperationException>(() => new RowAuthenticator(keys, [1, 2], 1).Code(authenticator.Row("grants")));
    }

    /// <summary>One for each generation from 1, filled with a byte.</summary>
    private static GenerationKeys Keys(params ReadOnlySpan<byte> fills)
    {
        GenerationKeys keys = new();
        for (int i = 0; i < fills.Length; i++)
        {
            byte fill = fills[i];
            keys.Add(i + 1, new SecretBytes(32, bytes => bytes.Fill(fill)));
        }

        return keys;
    }

    /// <summary>Reads fields by the description of the encoding, behind prefix, version and table.</summary>
    private static object?[] Decode(ReadOnlySpan<byte> row)
    {
        List<object?> fields = [];
        while (row.Length > 0)
        {
            int length = row[0] is 2 or 3 ? BinaryPrimitives.ReadInt32BigEndian(row[1..]) : 0;
            fields.Add(row[0] switch
            {
                0 => null,
                1 => BinaryPrimitives.ReadInt64BigEndian(row[1..]),
                2 => row.Slice(5, length).ToArray(),
                3 => Encoding.UTF8.GetString(row.Slice(5, length)),
                _ => throw new InvalidDataException($"{row[0]} is no kind of field."),
            });
            row = row[(row[0] switch { 0 => 1, 1 => 9, _ => 5 + length })..];
        }

        return [.. fields.Skip(3)];
    }

    private static bool Same(object?[] first, object?[] second) => first.Length == second.Length
        && first.Zip(second).All(pair => pair switch
        {
            (byte[] one, byte[] other) => one.AsSpan().SequenceEqual(other),
            _ => Equals(pair.First, pair.Second),
        });

    private static byte[] Encode(string table, object?[] fields)
    {
        RowEncoding row = new RowEncoding().Start(table);
        foreach (object? field in fields)
        {
            row = field switch
            {
                long number => row.Add(number),
                string text => row.Add(text),
                byte[] bytes => row.Add(bytes),
                _ => row.Add((byte[]?)null),
            };
        }

        return row.Bytes.ToArray();
    }
}
