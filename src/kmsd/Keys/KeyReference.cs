using Kms.Client.Protocol;

namespace Kmsd.Keys;

/// <summary>How a request names a key: its tag, <c>store/name</c>, or a bare name in the store <c>default</c>.</summary>
internal readonly record struct KeyReference
{
    public KeyTag? Tag { get; private init; }

    public string Store { get; private init; }

    public string Name { get; private init; }

    public static KeyReference Of(KeyTag tag) => new() { Tag = tag, Store = "", Name = "" };

    /// <exception cref="KmsException"><c>invalidParams</c>: it has none of the three forms.</exception>
    public static KeyReference Parse(string text) => TryParse(text, out KeyReference reference)
        ? reference
        : throw new KmsException(KmsErrorCode.InvalidParams, "A key is named by its tag, by store/name, or by a name in the store 'default'.");

    public static bool TryParse(string text, out KeyReference reference)
    {
        if (KeyTag.TryParse(text, out KeyTag tag))
        {
            reference = Of(tag);
            return true;
        }

        int slash = text.IndexOf('/', StringComparison.Ordinal);
        string store = slash < 0 ? KeyStore.Default : text[..slash];
        string name = text[(slash + 1)..];
        bool isValid = ResourceName.IsValid(store) && ResourceName.IsValid(name);
        reference = isValid ? new KeyReference { Store = store, Name = name } : default;
        return isValid;
    }
}

/// <summary>The form of key names and store names.</summary>
internal static class ResourceName
{
    public const string Rule = "3 to 64 of A-Z a-z 0-9 - _, starting with a letter, and not of the form of a tag";

    private const int LeastLength = 3;
    private const int MostLength = 64;

    public static bool IsValid(string text) =>
        text.Length is >= LeastLength and <= MostLength
        && char.IsAsciiLetter(text[0])
        && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')
        && !KeyTag.TryParse(text, out _);
}
