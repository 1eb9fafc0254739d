using System.Security.Cryptography;
using Kms.Hsm;

namespace Kmsd.Custody;

/// <summary>What is wrong with a share, or with several together: a sentence for the person who holds them.</summary>
internal sealed class ShareException(string message) : Exception(message)
{
    /// <summary>Another passphrase may open the file.</summary>
    public bool MayBePassphrase { get; init; }
}

/// <summary>What a share says of itself, in front of its value (SLIP-39, "Format of the share mnemonic"). Not secret.</summary>
/// <param name="SetId">Random, 15 bits: the same for all shares of a set.</param>
/// <param name="IsExtendable">Whether the set's id is left out of the encryption; then its checksum begins otherwise.</param>
/// <param name="IterationExponent">0 to 15: 10,000 · 2^e rounds of PBKDF2 for a passphrase.</param>
/// <param name="GroupIndex">From 0.</param>
/// <param name="GroupThreshold">How many groups are needed.</param>
/// <param name="GroupCount">How many groups there are.</param>
/// <param name="MemberIndex">From 0.</param>
/// <param name="MemberThreshold">How many shares of this group are needed.</param>
internal readonly record struct ShareHeader(
    int SetId, bool IsExtendable, int IterationExponent, int GroupIndex, int GroupThreshold, int GroupCount, int MemberIndex, int MemberThreshold)
{
    /// <summary>The set as custodians write it: four hexadecimal digits.</summary>
    public string SetName => SetId.ToString("x4", System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>
/// One share of a secret as words (SLIP-39): header, value, and a Reed–Solomon checksum over GF(1024) that finds up to three
/// wrong words. The value stays in locked memory, and words are bytes there, never a string.
/// </summary>
internal sealed class Slip39Share : IDisposable
{
    private const int BitsAWord = 10;
    private const int HeaderWords = 4;
    private const int ChecksumWords = 3;
    private const int LeastValueBytes = 16;
    private const int MostPaddingBits = 8;

    // SLIP-39, "Checksum": the generator polynomial over GF(1024).
    private static readonly uint[] s_generator =
    [
        0xe0e040, 0x1c1c080, 0x3838100, 0x7070200, 0xe0e0009, 0x1c0c2412, 0x38086c24, 0x3090fc48, 0x21b1f890, 0x3f3f120,
    ];

    /// <summary>Takes the value over.</summary>
    public Slip39Share(ShareHeader header, SecretBytes value)
    {
        Header = header;
        Value = value;
    }

    public ShareHeader Header { get; }

#pragma warning disable IDISP008 // Made here or outside, it is this share's from then on.
    public SecretBytes Value { get; }
#pragma warning restore IDISP008

    /// <summary>How many words a share of a secret of 32 bytes has.</summary>
    public static int WordsOf(int valueBytes) => HeaderWords + (((valueBytes * 8) + BitsAWord - 1) / BitsAWord) + ChecksumWords;

    /// <summary>Reads a share from its words.</summary>
    /// <param name="text">The words in ASCII, apart by white space; each whole or by at least its first four letters. Stays the caller's.</param>
    /// <exception cref="ShareException">A word is none of the list, or they are no share.</exception>
    public static Slip39Share Parse(ReadOnlySpan<byte> text)
    {
        int[] words = GC.AllocateArray<int>(64, pinned: true);
        try
        {
            return Parse(words.AsSpan(0, Split(text, words)));
        }
        finally
        {
            Clear(words);
        }
    }

    /// <summary>The words in ASCII, apart by one space; the caller owns them.</summary>
    public SecretBytes ToText()
    {
        int[] words = GC.AllocateArray<int>(WordsOf(Value.Length), pinned: true);
        try
        {
            Fill(words);
            int length = words.Length - 1;
            foreach (int word in words)
            {
                length += Slip39Words.Letters(word).Length;
            }

            return new SecretBytes(length, text =>
            {
                int at = 0;
                foreach (int word in words)
                {
                    if (at > 0)
                    {
                        text[at++] = (byte)' ';
                    }

                    Slip39Words.Letters(word).CopyTo(text[at..]);
                    at += Slip39Words.Letters(word).Length;
                }
            });
        }
        finally
        {
            Clear(words);
        }
    }

#pragma warning disable IDISP007 // The constructor takes it over.
    public void Dispose() => Value.Dispose();
#pragma warning restore IDISP007

    private static int Split(ReadOnlySpan<byte> text, Span<int> words)
    {
        int count = 0;
        int at = 0;
        while (true)
        {
            while (at < text.Length && text[at] is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n')
            {
                at++;
            }

            if (at == text.Length)
            {
                return count;
            }

            int end = at;
            while (end < text.Length && text[end] is not ((byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n'))
            {
                end++;
            }

            int word = Slip39Words.Find(text[at..end]);
            if (word < 0)
            {
                throw new ShareException($"Word {count + 1} is no word of a share.");
            }

            if (count == words.Length)
            {
                throw new ShareException($"A share has no more than {words.Length} words.");
            }

            words[count++] = word;
            at = end;
        }
    }

    private static Slip39Share Parse(ReadOnlySpan<int> words)
    {
        int valueWords = words.Length - HeaderWords - ChecksumWords;
        int paddingBits = valueWords * BitsAWord % 16;
        if (valueWords * BitsAWord < LeastValueBytes * 8)
        {
            throw new ShareException($"A share of this kind has at least {WordsOf(LeastValueBytes)} words, not {words.Length}; of a root key it has {WordsOf(32)}.");
        }

        if (paddingBits > MostPaddingBits)
        {
            throw new ShareException($"No share has {words.Length} words; of a root key it has {WordsOf(32)}.");
        }

        bool isExtendable = ((words[1] >> 4) & 1) == 1;
        if (Checksum(words, isExtendable) != 1)
        {
            throw new ShareException("The words are no share: one or more of them are wrong, or in another order.");
        }

        int second = (words[2] << BitsAWord) | words[3];
        ShareHeader header = new(
            (words[0] << 5) | (words[1] >> 5), isExtendable, words[1] & 15, second >> 16, ((second >> 12) & 15) + 1, ((second >> 8) & 15) + 1,
            (second >> 4) & 15, (second & 15) + 1);
        if (header.GroupThreshold > header.GroupCount)
        {
            throw new ShareException("This share asks for more groups than there are.");
        }

        return new Slip39Share(header, ReadValue(words.Slice(HeaderWords, valueWords), paddingBits));
    }

    /// <summary>The bits of the words behind the padding, which is zero.</summary>
    private static SecretBytes ReadValue(ReadOnlySpan<int> words, int paddingBits)
    {
        int[] copy = GC.AllocateArray<int>(words.Length, pinned: true);
        words.CopyTo(copy);
        try
        {
            if (copy[0] >> (BitsAWord - paddingBits) != 0)
            {
                throw new ShareException("The words are no share: its padding isn't zero.");
            }

            return new SecretBytes(((words.Length * BitsAWord) - paddingBits) / 8, value =>
            {
                for (int bit = 0; bit < value.Length * 8; bit++)
                {
                    int place = bit + paddingBits;
                    int isSet = (copy[place / BitsAWord] >> (BitsAWord - 1 - (place % BitsAWord))) & 1;
                    value[bit / 8] |= (byte)(isSet << (7 - (bit % 8)));
                }
            });
        }
        finally
        {
            Clear(copy);
        }
    }

    private void Fill(int[] words)
    {
        words[0] = Header.SetId >> 5;
        words[1] = ((Header.SetId & 31) << 5) | ((Header.IsExtendable ? 1 : 0) << 4) | Header.IterationExponent;
        int second = (Header.GroupIndex << 16) | ((Header.GroupThreshold - 1) << 12) | ((Header.GroupCount - 1) << 8)
            | (Header.MemberIndex << 4) | (Header.MemberThreshold - 1);
        words[2] = second >> BitsAWord;
        words[3] = second & 1023;
        int valueWords = words.Length - HeaderWords - ChecksumWords;
        using (SecretLease lease = Value.Open())
        {
            int paddingBits = (valueWords * BitsAWord) - (lease.Bytes.Length * 8);
            for (int bit = 0; bit < lease.Bytes.Length * 8; bit++)
            {
                int place = bit + paddingBits;
                int isSet = (lease.Bytes[bit / 8] >> (7 - (bit % 8))) & 1;
                words[HeaderWords + (place / BitsAWord)] |= isSet << (BitsAWord - 1 - (place % BitsAWord));
            }
        }

        uint checksum = Checksum(words, Header.IsExtendable) ^ 1;
        for (int i = 0; i < ChecksumWords; i++)
        {
            words[^(ChecksumWords - i)] = (int)(checksum >> (BitsAWord * (ChecksumWords - 1 - i))) & 1023;
        }
    }

    /// <summary>1 for a sound share; with zeros in the places of the checksum, the checksum with its last bit turned.</summary>
    private static uint Checksum(ReadOnlySpan<int> words, bool isExtendable)
    {
        uint sum = 1;
        foreach (byte c in isExtendable ? "shamir_extendable"u8 : "shamir"u8)
        {
            sum = Step(sum, c);
        }

        foreach (int word in words)
        {
            sum = Step(sum, (uint)word);
        }

        return sum;
    }

    private static uint Step(uint sum, uint value)
    {
        uint top = sum >> 20;
        sum = ((sum & 0xfffff) << BitsAWord) ^ value;
        for (int i = 0; i < s_generator.Length; i++)
        {
            sum ^= ((top >> i) & 1) * s_generator[i];
        }

        return sum;
    }

    private static void Clear(int[] words) => CryptographicOperations.ZeroMemory(System.Runtime.InteropServices.MemoryMarshal.AsBytes(words.AsSpan()));
}
