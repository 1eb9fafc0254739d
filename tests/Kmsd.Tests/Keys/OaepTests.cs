using System.Numerics;
using System.Security.Cryptography;
using System.Text.Json;
using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

public sealed class OaepTests
{
    [Fact]
    public void A_message_of_every_length_is_read_and_zeros_follow_it()
    {
        for (int length = 0; length <= Oaep.MostMessageBytes; length++)
        {
            byte[] message = RandomNumberGenerator.GetBytes(length);
            byte[] read = Filled();
            Assert.True(Oaep.TryDecode(OaepBlock.Make(message), read, out int decoded));
            Assert.Equal(length, decoded);
            Assert.Equal([.. message, .. new byte[Oaep.MostMessageBytes - length], 0x5a], read);
        }
    }

    [Fact]
    public void A_message_may_begin_with_zeros_and_ones()
    {
        foreach (byte[] message in new byte[][] { [0], [1], [0, 0, 1], [1, 1, 0], new byte[190] })
        {
            byte[] read = Filled();
            Assert.True(Oaep.TryDecode(OaepBlock.Make(message), read, out int length));
            Assert.Equal(message, read[..length]);
        }
    }

    [Fact]
    public void Any_first_byte_but_zero_is_refused()
    {
        for (int first = 1; first < 256; first++)
        {
            Refused(OaepBlock.Make([1, 2, 3], (byte)first));
        }
    }

    [Fact]
    public void A_label_hash_that_differs_in_any_bit_is_refused()
    {
        for (int bit = 0; bit < 256; bit++)
        {
            Refused(OaepBlock.Make([1, 2, 3], damage: block => block[bit / 8] ^= (byte)(1 << (bit % 8))));
        }
    }

    [Fact]
    public void Padding_that_ends_with_anything_but_one_is_refused_wherever_it_ends()
    {
        for (int end = OaepBlock.PaddingStart; end < OaepBlock.BlockLength; end++)
        {
            Refused(OaepBlock.Make([], damage: block => block[end] = 2));
            Refused(OaepBlock.Make([], damage: block => (block[^1], block[end]) = (1, 0xff)));
        }
    }

    [Fact]
    public void Padding_that_never_ends_is_refused() => Refused(OaepBlock.Make([], damage: block => block[^1] = 0));

    [Fact]
    public void Several_faults_at_once_do_not_cancel_each_other() => Refused(OaepBlock.Make([7], 1, block =>
    {
        block[0] ^= 1;
        block[31] ^= 0x80;
        block[32] = 3;
    }));

    [Theory]
    [InlineData(255, 190)]
    [InlineData(257, 190)]
    [InlineData(256, 189)]
    public void Lengths_are_as_the_caller_knows_them(int encoded, int message) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Oaep.TryDecode(new byte[encoded], new byte[message], out _));

    [Fact]
    public void What_dotnet_encrypts_is_decoded_after_the_raw_operation()
    {
        using var rsa = RSA.Create(2048);
        RSAParameters key = rsa.ExportParameters(includePrivateParameters: true);
        foreach (int length in new[] { 0, 1, 32, 189, 190 })
        {
            byte[] message = RandomNumberGenerator.GetBytes(length);
            byte[] encoded = Raw(rsa.Encrypt(message, RSAEncryptionPadding.OaepSHA256), key.D!, key.Modulus!);
            byte[] read = Filled();
            Assert.True(Oaep.TryDecode(encoded, read, out int decoded));
            Assert.Equal(message, read[..decoded]);
        }
    }

    /// <summary>rsa_oaep_2048_sha256_mgf1sha256_test.json; a ciphertext with a label is none under ours, the empty one.</summary>
    [Fact]
    public void Every_vector_of_wycheproof_is_decided_right_after_the_raw_operation() => Wycheproof.Run(
        "rsa_oaep_2048_sha256_mgf1sha256_test.json",
        (group, test) =>
        {
            JsonElement key = group.GetProperty("privateKey");
            byte[] ciphertext = Wycheproof.Bytes(test, "ct");
            byte[] modulus = Wycheproof.Bytes(key, "modulus")[1..];
            if (ciphertext.Length != Oaep.EncodedLength || Number(ciphertext) >= Number(modulus))
            {
                return false;
            }

            byte[] read = Filled();
            byte[] encoded = Raw(ciphertext, Wycheproof.Bytes(key, "privateExponent"), modulus);
            return Oaep.TryDecode(encoded, read, out int length) && read.AsSpan(0, length).SequenceEqual(Wycheproof.Bytes(test, "msg"));
        },
        HasOurLabel);

    internal static bool HasOurLabel(JsonElement test) => Wycheproof.IsValid(test) && test.GetProperty("label").GetString() == "";

    private static byte[] Filled()
    {
        byte[] buffer = new byte[Oaep.MostMessageBytes + 1];
        buffer.AsSpan().Fill(0x5a);
        return buffer;
    }

    private static void Refused(byte[] encoded)
    {
        byte[] read = Filled();
        Assert.False(Oaep.TryDecode(encoded, read, out int length));
        Assert.Equal(0, length);
        Assert.Equal([.. new byte[Oaep.MostMessageBytes], 0x5a], read);
    }

    private static byte[] Raw(byte[] ciphertext, byte[] exponent, byte[] modulus)
    {
        byte[] result = BigInteger.ModPow(Number(ciphertext), Number(exponent), Number(modulus)).ToByteArray(isUnsigned: true, isBigEndian: true);
        return [.. new byte[Oaep.EncodedLength - result.Length], .. result];
    }

    private static BigInteger Number(byte[] bytes) => new(bytes, isUnsigned: true, isBigEndian: true);
}
