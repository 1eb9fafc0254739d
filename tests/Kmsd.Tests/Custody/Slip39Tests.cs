using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Kms.Hsm;
using Kmsd.Custody;

namespace Kmsd.Tests.Custody;

public sealed class Slip39Tests
{
    private const int SetId = 0x1234;

    /// <summary>Every vector: description, mnemonics, master secret in hex ("" must be refused); passphrase TREZOR.</summary>
    [Fact]
    public void The_standards_vectors_combine_or_are_refused_as_they_say()
    {
        using var document = JsonDocument.Parse(File.ReadAllText(Path.Combine(Vectors.Folder(), "slip39.json")));
        int valid = 0;
        int invalid = 0;
        foreach (JsonElement vector in document.RootElement.EnumerateArray())
        {
            string name = vector[0].GetString()!;
            string expected = vector[2].GetString()!;
            string[] mnemonics = [.. vector[1].EnumerateArray().Select(mnemonic => mnemonic.GetString()!)];
            try
            {
                Assert.Equal((name, expected), (name, CombineWords(mnemonics, "TREZOR"u8)));
                valid++;
            }
            catch (ShareException exception)
            {
                Assert.True(expected.Length == 0, $"{name}: {exception.Message}");
                invalid++;
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"SLIP-39: {valid} valid and {invalid} invalid vectors");
        Assert.True(valid >= 8 && invalid >= 12);
    }

    [Fact]
    public void The_word_list_is_the_standards()
    {
        // SLIP-39, "Wordlist": SHA-256 of the list, a word a line.
        string list = string.Concat(Enumerable.Range(0, Slip39Words.Count).Select(word => Encoding.ASCII.GetString(Slip39Words.Letters(word)) + "\n"));
        Assert.Equal(
            "bcc4555340332d169718aed8bf31dd9d5248cb7da6e5d355140ef4f1e601eec3", Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(list))));
        for (int word = 0; word < Slip39Words.Count; word++)
        {
            byte[] letters = Slip39Words.Letters(word).ToArray();
            Assert.Equal(word, Slip39Words.Find(letters));
            Assert.Equal(word, Slip39Words.Find(letters.AsSpan(0, 4)));
            Assert.Equal(word, Slip39Words.Find(Encoding.ASCII.GetBytes(Encoding.ASCII.GetString(letters).ToUpperInvariant())));
            Assert.Equal(-1, Slip39Words.Find(letters.AsSpan(0, 3)));
            Assert.Equal(-1, Slip39Words.Find([.. letters, (byte)'s']));
        }

        Assert.Equal(-1, Slip39Words.Find("xxxx"u8));
        Assert.Equal(-1, Slip39Words.Find([]));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 3)]
    [InlineData(3, 5)]
    [InlineData(5, 5)]
    [InlineData(2, 16)]
    public void Every_quorum_of_shares_gives_the_secret_and_fewer_or_more_are_refused(int threshold, int count)
    {
        using SecretBytes secret = new(32, RandomNumberGenerator.Fill);
        string expected = Hex(secret);
        Slip39Share[] shares = Slip39.Split(secret, threshold, count, SetId);
        try
        {
            foreach (Slip39Share[] quorum in Choose(shares, threshold))
            {
                using SecretBytes combined = Slip39.Combine(quorum, []);
                Assert.Equal(expected, Hex(combined));
            }

            if (threshold > 1)
            {
                ShareException few = Assert.Throws<ShareException>(() => Slip39.Combine(shares[..(threshold - 1)], []).Dispose());
                Assert.Contains($"{threshold} shares are needed", few.Message, StringComparison.Ordinal);
            }

            if (count > threshold)
            {
                _ = Assert.Throws<ShareException>(() => Slip39.Combine(shares[..(threshold + 1)], []).Dispose());
            }
        }
        finally
        {
            Slip39.DisposeAll(shares);
        }
    }

    [Fact]
    public void A_share_written_in_words_is_read_back_whole_or_by_four_letters_a_word()
    {
        using SecretBytes secret = new(32, RandomNumberGenerator.Fill);
        Slip39Share[] shares = Slip39.Split(secret, 2, 3, SetId);
        try
        {
            foreach (Slip39Share share in shares)
            {
                string text = Text(share);
                Assert.Equal(33, text.Split(' ').Length);
                foreach (string written in new[] { text, "  " + text.ToUpperInvariant().Replace(" ", "\n", StringComparison.Ordinal), string.Join('\t', text.Split(' ').Select(word => word[..4])) })
                {
                    using var read = Slip39Share.Parse(Encoding.ASCII.GetBytes(written));
                    Assert.Equal((share.Header, Hex(share.Value)), (read.Header, Hex(read.Value)));
                }
            }

            Assert.Equal((SetId, true, 0, 2, 3), (shares[2].Header.SetId, shares[2].Header.IsExtendable, shares[2].Header.IterationExponent, shares[2].Header.MemberIndex + 0, shares.Length));
        }
        finally
        {
            Slip39.DisposeAll(shares);
        }
    }

    [Fact]
    public void A_wrong_a_missing_and_an_exchanged_word_are_all_found()
    {
        using SecretBytes secret = new(32, RandomNumberGenerator.Fill);
        Slip39Share[] shares = Slip39.Split(secret, 2, 3, SetId);
        string[] words = Text(shares[0]).Split(' ');
        Slip39.DisposeAll(shares);
        for (int i = 0; i < words.Length; i++)
        {
            string[] wrong = [.. words];
            wrong[i] = words[i] == "academic" ? "acid" : "academic";
            Refused(wrong);
            Refused([.. words[..i], .. words[(i + 1)..]]);
            if (i > 0 && words[i] != words[i - 1])
            {
                Refused([.. words[..(i - 1)], words[i], words[i - 1], .. words[(i + 1)..]]);
            }
        }

        Assert.Contains("Word 3", Assert.Throws<ShareException>(() => Slip39Share.Parse("academic acid nonsense"u8).Dispose()).Message, StringComparison.Ordinal);
        Refused([]);
        Refused([.. Enumerable.Repeat("academic", 65)]);
    }

    [Fact]
    public void Shares_of_two_sets_and_a_share_given_twice_are_named()
    {
        using SecretBytes secret = new(32, RandomNumberGenerator.Fill);
        Slip39Share[] one = Slip39.Split(secret, 2, 3, 1);
        Slip39Share[] other = Slip39.Split(secret, 2, 3, 2);
        Slip39Share[] same = Slip39.Split(secret, 2, 3, 1);
        try
        {
            Assert.Contains("0001 and 0002", Assert.Throws<ShareException>(() => Slip39.Combine([one[0], other[1]], []).Dispose()).Message, StringComparison.Ordinal);
            Assert.Contains("twice", Assert.Throws<ShareException>(() => Slip39.Combine([one[0], one[0]], []).Dispose()).Message, StringComparison.Ordinal);
            Assert.Contains("altered", Assert.Throws<ShareException>(() => Slip39.Combine([one[0], same[1]], []).Dispose()).Message, StringComparison.Ordinal);
        }
        finally
        {
            Slip39.DisposeAll([.. one, .. other, .. same]);
        }
    }

    /// <summary>
    /// A share alone is uniform whatever the secret is: chi-square over 256 values of each byte, 12,800 splits of two extreme
    /// secrets; 255 degrees of freedom, so beyond 374 comes about once in a million.
    /// </summary>
    [Theory]
    [InlineData(0x00)]
    [InlineData(0xff)]
    public void Fewer_shares_than_are_needed_say_nothing(byte fill)
    {
        const int Splits = 12_800;
        byte[] content = GC.AllocateArray<byte>(16);
        Array.Fill(content, fill);
        int[,,] counts = new int[3, 16, 256];
        for (int split = 0; split < Splits; split++)
        {
            using SecretBytes secret = new(16, bytes => bytes.Fill(fill));
            Slip39Share[] shares = Slip39.SplitWithoutEncryption(secret, 3, 4, SetId);
            for (int share = 0; share < 3; share++)
            {
                using SecretLease lease = shares[share + 1].Value.Open();
                for (int i = 0; i < 16; i++)
                {
                    counts[share, i, lease.Bytes[i]]++;
                }
            }

            Slip39.DisposeAll(shares);
        }

        double worst = 0;
        for (int share = 0; share < 3; share++)
        {
            for (int i = 0; i < 16; i++)
            {
                double sum = 0;
                for (int value = 0; value < 256; value++)
                {
                    double difference = counts[share, i, value] - (Splits / 256.0);
                    sum += difference * difference / (Splits / 256.0);
                }

                worst = Math.Max(worst, sum);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"worst chi-square of 48 bytes: {worst:F0} of 374");
        Assert.True(worst < 374, $"chi-square {worst}");
    }

    [Fact]
    public void The_field_is_that_of_aes()
    {
        Assert.Equal(0xc1, Slip39.Multiply(0x57, 0x83)); // FIPS 197, section 4.2.
        Assert.Equal(0xfe, Slip39.Multiply(0x57, 0x13)); // Section 4.2.1.
        for (int a = 1; a < 256; a++)
        {
            Assert.Equal(1, Slip39.Multiply((byte)a, Slip39.Invert((byte)a)));
        }

        Assert.Equal(0, Slip39.Invert(0));
    }

    private static void Refused(string[] words) =>
        _ = Assert.Throws<ShareException>(() => Slip39Share.Parse(Encoding.ASCII.GetBytes(string.Join(' ', words))).Dispose());

    private static string CombineWords(string[] mnemonics, ReadOnlySpan<byte> passphrase)
    {
        List<Slip39Share> shares = [];
        try
        {
            foreach (string mnemonic in mnemonics)
            {
                shares.Add(Slip39Share.Parse(Encoding.ASCII.GetBytes(mnemonic)));
            }

            using SecretBytes secret = Slip39.Combine(shares, passphrase);
            return Hex(secret);
        }
        finally
        {
            Slip39.DisposeAll(shares);
        }
    }

    private static IEnumerable<Slip39Share[]> Choose(Slip39Share[] shares, int threshold)
    {
        for (int mask = 0; mask < 1 << shares.Length; mask++)
        {
            if (int.PopCount(mask) == threshold)
            {
                int chosen = mask;
                yield return [.. shares.Where((_, index) => ((chosen >> index) & 1) == 1).Reverse()];
            }
        }
    }

    private static string Text(Slip39Share share)
    {
        using SecretBytes text = share.ToText();
        using SecretLease lease = text.Open();
        return Encoding.ASCII.GetString(lease.Bytes);
    }

    private static string Hex(SecretBytes secret)
    {
        using SecretLease lease = secret.Open();
        return Convert.ToHexStringLower(lease.Bytes);
    }
}
