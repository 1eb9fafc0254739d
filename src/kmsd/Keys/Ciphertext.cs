using System.Globalization;

namespace Kmsd.Keys;

/// <summary>What encrypt answers: <c>kms:v{version}:{base64}</c>. It has exactly one spelling.</summary>
internal readonly record struct Ciphertext(long Version, byte[] Payload)
{
    private const string Prefix = "kms:v";
    private const int MostVersionDigits = 10;

    public static bool TryParse(string text, out Ciphertext ciphertext)
    {
        ciphertext = default;
        if (!text.StartsWith(Prefix, StringComparison.Ordinal))
        {
            return false;
        }

        ReadOnlySpan<char> rest = text.AsSpan(Prefix.Length);
        int colon = rest.IndexOf(':');
        if (colon is < 1 or > MostVersionDigits || rest[0] == '0'
            || !long.TryParse(rest[..colon], NumberStyles.None, CultureInfo.InvariantCulture, out long version))
        {
            return false;
        }

        ReadOnlySpan<char> base64 = rest[(colon + 1)..];
        byte[] payload = new byte[base64.Length / 4 * 3];
        if (base64.Length % 4 != 0 || !Convert.TryFromBase64Chars(base64, payload, out int length))
        {
            return false;
        }

        // Encoding it again refuses white space and stray bits behind the padding.
        ciphertext = new Ciphertext(version, payload[..length]);
        return base64.SequenceEqual(Convert.ToBase64String(ciphertext.Payload));
    }

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Prefix}{Version}:{Convert.ToBase64String(Payload)}");
}
