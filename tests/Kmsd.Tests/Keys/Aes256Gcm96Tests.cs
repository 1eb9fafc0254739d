using System.Text.Json;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

public sealed class Aes256Gcm96Tests
{
    private static readonly KeyTag s_tag = KeyTag.Parse("000102030405060708090a0b0c0d0e0f");

    /// <summary>docs/api.md, "Names": for each field a big-endian u32 length and its bytes.</summary>
    [Fact]
    public void The_additional_data_is_laid_out_as_the_contract_says()
    {
        byte[] expected =
        [
            0, 0, 0, 19, .. "kmsd/aes256-gcm96/1"u8,
            0, 0, 0, 16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
            0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2,
            0, 0, 0, 12, .. "AES256-GCM96"u8,
            0, 0, 0, 3, .. "ctx"u8,
        ];
        Assert.Equal(expected, Aes256Gcm96.AdditionalData(s_tag, (1L << 32) + 2, "ctx"u8));
        Assert.Equal([.. expected[..^7], 0, 0, 0, 0], Aes256Gcm96.AdditionalData(s_tag, (1L << 32) + 2, []));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(32 * 1024)]
    public void What_was_encrypted_decrypts(int length)
    {
        using SecretBytes key = new(32, bytes => bytes.Fill(7));
        byte[] text = new byte[length];
        text.AsSpan().Fill(0x41);
        byte[] payload = Aes256Gcm96.Encrypt(key, text, "data"u8);
        byte[] opened = new byte[length];
        Assert.Equal(length + Aes256Gcm96.Overhead, payload.Length);
        Assert.True(Aes256Gcm96.TryDecrypt(key, payload, "data"u8, opened));
        Assert.Equal(text, opened);
        Assert.NotEqual(payload[..12], Aes256Gcm96.Encrypt(key, text, "data"u8)[..12]);
    }

    [Fact]
    public void What_does_not_authenticate_leaves_zeros()
    {
        using SecretBytes key = new(32, bytes => bytes.Fill(7));
        byte[] payload = Aes256Gcm96.Encrypt(key, "a text"u8, "data"u8);
        for (int bit = 0; bit < payload.Length * 8; bit++)
        {
            byte[] changed = [.. payload];
            changed[bit / 8] ^= (byte)(1 << (bit % 8));
            byte[] opened = [1, 1, 1, 1, 1, 1];
            Assert.False(Aes256Gcm96.TryDecrypt(key, changed, "data"u8, opened));
            Assert.Equal(new byte[6], opened);
        }
    }

    [Fact]
    public void The_most_encryptions_are_those_of_sp_800_38d() => Assert.Equal(4_294_967_296, Aes256Gcm96.MostEncryptions);

    /// <summary>Project Wycheproof, aes_gcm_test.json: 256-bit keys, 96-bit nonces, 128-bit tags.</summary>
    [Fact]
    public void Every_vector_of_wycheproof_passes_through_the_code_that_encrypts_and_decrypts()
    {
        string path = Path.Combine(Vectors.Folder(), "wycheproof", "aes_gcm_test.json");
        using var document = JsonDocument.Parse(File.ReadAllText(path));
        int valid = 0;
        int invalid = 0;
        JsonElement[] groups = [.. document.RootElement.GetProperty("testGroups").EnumerateArray()];
        foreach (JsonElement group in groups.Where(IsOurs))
        {
            JsonElement[] tests = [.. group.GetProperty("tests").EnumerateArray()];
            foreach (JsonElement test in tests)
            {
                bool isValid = test.GetProperty("result").GetString() == "valid";
                Assert.True(Passes(test, isValid), $"Test {test.GetProperty("tcId")} fails.");
                valid += isValid ? 1 : 0;
                invalid += isValid ? 0 : 1;
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"Wycheproof AES-GCM: {valid} valid and {invalid} invalid cases passed.");
        Assert.True(valid > 0 && invalid > 0, $"{valid} valid and {invalid} invalid cases are too few.");
    }

    private static bool IsOurs(JsonElement group) =>
        (group.GetProperty("keySize").GetInt32(), group.GetProperty("ivSize").GetInt32(), group.GetProperty("tagSize").GetInt32())
            == (256, 96, 128);

    private static bool Passes(JsonElement test, bool isValid)
    {
        byte[] nonce = Bytes(test, "iv");
        byte[] text = Bytes(test, "msg");
        byte[] data = Bytes(test, "aad");
        byte[] payload = [.. nonce, .. Bytes(test, "ct"), .. Bytes(test, "tag")];
        using SecretBytes key = new(Bytes(test, "key"));
        byte[] opened = new byte[payload.Length - Aes256Gcm96.Overhead];
        bool authenticates = Aes256Gcm96.TryDecrypt(key, payload, data, opened);
        bool encryptsAlike = Aes256Gcm96.Encrypt(key, nonce, text, data).AsSpan().SequenceEqual(payload);
        return authenticates == isValid && encryptsAlike == isValid
            && (isValid ? opened.AsSpan().SequenceEqual(text) : opened.AsSpan().IndexOfAnyExcept((byte)0) < 0);
    }

    private static byte[] Bytes(JsonElement test, string name) => Convert.FromHexString(test.GetProperty(name).GetString()!);
}
