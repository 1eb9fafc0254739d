using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Kms.Hsm.Tests;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>What a custodian wrote down: the words of a share, as they stood on the screen.</summary>
internal sealed partial record Share(string[] Words)
{
    private static readonly string[] s_list = ReadList();

    /// <summary>Reads the table of a screen: a number and a word, again and again.</summary>
    public static Share Read(string screen)
    {
        Match[] cells = [.. Cell().Matches(screen).Cast<Match>()];
        Assert.Equal(Enumerable.Range(1, 33), cells.Select(cell => int.Parse(cell.Groups[1].ValueSpan, CultureInfo.InvariantCulture)));
        return new Share([.. cells.Select(cell => cell.Groups[2].Value)]);
    }

    /// <summary>Every form in which it might lie in a memory or a file, by a name.</summary>
    public IReadOnlyDictionary<string, byte[]> Forms()
    {
        int[] numbers = [.. Words.Select(word => Array.IndexOf(s_list, word))];
        byte[] value = new byte[32];
        for (int bit = 0; bit < 256; bit++)
        {
            // 26 words from the fifth on, behind 4 bits of padding (SLIP-39, "Format of the share mnemonic").
            int place = bit + 4;
            int set = (numbers[4 + (place / 10)] >> (9 - (place % 10))) & 1;
            value[bit / 8] |= (byte)(set << (7 - (bit % 8)));
        }

        byte[] integers = new byte[24];
        for (int i = 0; i < 6; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(integers.AsSpan(i * 4), numbers[10 + i]);
        }

        return new Dictionary<string, byte[]>
        {
            ["value"] = value[..24],
            ["text"] = Encoding.ASCII.GetBytes(string.Join(' ', Words[10..14])),
            ["screen"] = Encoding.ASCII.GetBytes($"{Words[12],-8}   14 {Words[13],-8}   15 "),
            ["typed"] = Encoding.ASCII.GetBytes($"{Words[12],-17}{Words[13]}"),
            ["UTF-16"] = Encoding.Unicode.GetBytes(string.Join(' ', Words[10..13])),
            ["numbers"] = integers,
        };
    }

    /// <summary>Where it is in the memory of a process.</summary>
    public IReadOnlyList<string> FindIn(int process)
    {
        var searches = Forms().ToDictionary(form => new MemorySearch(form.Value), form => form.Key);
        return [.. MemorySearch.Run(process, [.. searches.Keys]).Select(found => $"{searches[found.Secret]} in {found.Place}")];
    }

    /// <summary>The files below a folder in which it is.</summary>
    public IReadOnlyList<string> FindIn(string folder) =>
    [
        .. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Where(file => Forms().Values.Any(form => File.ReadAllBytes(file).AsSpan().IndexOf(form) >= 0)),
    ];

    private static string[] ReadList()
    {
        string source = File.ReadAllText(Repository.Script("src/kmsd/Custody/Slip39Words.cs"));
        string list = source.Split("\"\"\"")[1];
        return list.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
    }

    [GeneratedRegex(@"(?<= {2})(\d{1,2}) ([a-z]{4,8})\b")]
    private static partial Regex Cell();
}
