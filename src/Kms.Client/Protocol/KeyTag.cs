using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace Kms.Client.Protocol;

/// <summary>
/// The name of a key for ever: 32 lower-case hexadecimal digits (128 random bits), never reused, not secret.
/// Checked once, at the edge; inside, a tag is valid.
/// </summary>
public readonly record struct KeyTag
{
    /// <summary>The length of a tag in bytes.</summary>
    public const int LengthInBytes = 16;

    private readonly string? _text;

    private KeyTag(string text) => _text = text;

    /// <summary>The tag as it stands on the wire.</summary>
    /// <exception cref="InvalidOperationException">The tag was never set.</exception>
    public string Text => _text ?? throw new InvalidOperationException("The key tag was never set.");

    /// <summary>Draws a new tag from the kernel's random.</summary>
    public static KeyTag New() => new(RandomNumberGenerator.GetHexString(2 * LengthInBytes, lowercase: true));

    /// <summary>Makes a tag from its 16 bytes.</summary>
    /// <exception cref="ArgumentException"><paramref name="bytes"/> isn't 16 bytes long.</exception>
    public static KeyTag FromBytes(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != LengthInBytes)
        {
            throw new ArgumentException("A key tag is 16 bytes long.", nameof(bytes));
        }

        return new KeyTag(Convert.ToHexStringLower(bytes));
    }

    /// <summary>Reads untrusted text; true if it is a tag.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out KeyTag tag)
    {
        tag = default;
        if (text is null || text.Length != 2 * LengthInBytes)
        {
            return false;
        }

        foreach (char c in text)
        {
            if (c is not ((>= '0' and <= '9') or (>= 'a' and <= 'f')))
            {
                return false;
            }
        }

        tag = new KeyTag(text);
        return true;
    }

    /// <summary>Reads text that is known to be a tag.</summary>
    /// <exception cref="FormatException">It isn't one.</exception>
    public static KeyTag Parse(string text) =>
        TryParse(text, out KeyTag tag) ? tag : throw new FormatException("This is not a key tag.");

    /// <summary>The tag's 16 bytes.</summary>
    public byte[] ToBytes() => Convert.FromHexString(Text);

    /// <summary>The tag, or a placeholder that is safe in a log line.</summary>
    public override string ToString() => _text ?? "(no tag)";
}
