using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Kms.Client.Protocol;

/// <summary>The form of ciphertexts and signatures: <c>kms:v{version}:{base64}</c>, version in decimal without leading zeros.</summary>
public static class VersionedText
{
    private const string Prefix = "kms:v";

    /// <summary>Writes it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Versions count from 1.</exception>
    public static string Format(long version, ReadOnlySpan<byte> payload)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(version, 1);
        return string.Create(CultureInfo.InvariantCulture, $"{Prefix}{version}:{Convert.ToBase64String(payload)}");
    }

    /// <summary>Reads untrusted text; true if it has this form.</summary>
    public static bool TryRead([NotNullWhen(true)] string? text, out long version, [NotNullWhen(true)] out byte[]? payload)
    {
        version = 0;
        payload = null;
        if (text is null || !text.StartsWith(Prefix, StringComparison.Ordinal)
            || text.IndexOf(':', Prefix.Length) is not (int colon and > 0)
            || text[Prefix.Length] == '0'
            || !long.TryParse(text.AsSpan(Prefix.Length..colon), NumberStyles.None, CultureInfo.InvariantCulture, out version))
        {
            return false;
        }

        // Canonical: .NET would pass over white space and left-over bits, the daemon doesn't.
        byte[] bytes = new byte[(text.Length - colon) / 4 * 3];
        if (!Convert.TryFromBase64Chars(text.AsSpan(colon + 1), bytes, out int length)
            || Convert.ToBase64String(bytes, 0, length) != text[(colon + 1)..])
        {
            return false;
        }

        payload = bytes[..length];
        return true;
    }
}
