using System.Security.Cryptography;
using System.Text;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>
/// Secrets that a test made up, and the look for each of them in what was written down: raw, in hexadecimal, and in base64
/// wherever it may begin there.
/// </summary>
internal sealed class Secrets
{
    private readonly List<(string Name, byte[] Needle)> _needles = [];

    /// <summary>Random bytes that must never be written down.</summary>
    public byte[] New(string name, int length = 24)
    {
        byte[] secret = RandomNumberGenerator.GetBytes(length);
        Add(name, secret);
        return secret;
    }

    /// <summary>The same as text that may stand on a command line or in a line of a file.</summary>
    public string NewText(string name)
    {
        string text = RandomNumberGenerator.GetHexString(32);
        Add(name, Encoding.UTF8.GetBytes(text));
        return text;
    }

    public void Add(string name, byte[] secret)
    {
        _needles.Add((name + ", raw", secret));
        _needles.Add((name + ", hex", Encoding.ASCII.GetBytes(Convert.ToHexStringLower(secret))));
        _needles.Add((name + ", HEX", Encoding.ASCII.GetBytes(Convert.ToHexString(secret))));
        for (int before = 0; before < 3; before++)
        {
            // The characters that these bytes alone decide, with so many others before them.
            string text = Convert.ToBase64String([.. new byte[before], .. secret])[((before * 8 + 5) / 6)..((before + secret.Length) * 8 / 6)];
            _needles.Add(($"{name}, base64 at {before}", Encoding.ASCII.GetBytes(text)));
            _needles.Add(($"{name}, base64 in JSON at {before}", Encoding.ASCII.GetBytes(text.Replace("+", "\\u002B", StringComparison.Ordinal))));
        }
    }

    /// <summary>What of them stands in these bytes.</summary>
    public IEnumerable<string> FindIn(ReadOnlyMemory<byte> written) =>
        _needles.Where(needle => written.Span.IndexOf(needle.Needle) >= 0).Select(needle => needle.Name);

    public void AssertNoneIn(string where, ReadOnlyMemory<byte> written)
    {
        string[] found = [.. FindIn(written)];
        Assert.True(found.Length == 0, $"{where} holds {string.Join("; ", found)}");
    }

    public void AssertNoneIn(string where, string written) => AssertNoneIn(where, Encoding.UTF8.GetBytes(written));
}
