using System.Globalization;

namespace Kmsd.Custody;

/// <summary>How a secret is split.</summary>
/// <param name="Count">How many shares there are: N.</param>
/// <param name="Threshold">How many of them make it: K.</param>
/// <param name="AcceptsSame">One person, medium or site may have two shares.</param>
internal sealed record SplitRules(int Count, int Threshold, bool AcceptsSame)
{
    public const int UsualCount = 3;
    public const int UsualThreshold = 2;

    /// <summary>Why it can't be split so; null: it can.</summary>
    /// <param name="allowsNoSpare">Every share may be needed.</param>
    public string? Refusal(bool allowsNoSpare) =>
        Count is < 2 or > Slip39.MostShares ? $"--shares {Count}: there are 2 to {Slip39.MostShares} shares."
        : Threshold < 2 ? $"--threshold {Threshold}: at least 2 shares must be needed, or one person has the root key."
        : Threshold > Count ? $"--threshold {Threshold}: no more than the {Count} shares can be needed."
        : Threshold == Count && !allowsNoSpare ? $"If all {Count} shares are needed, one that is lost loses the root key; say --no-spare to have it so."
        : null;
}

/// <summary>Who gets a share, on what, and where it will lie.</summary>
internal sealed record ShareHolding(string Custodian, string Medium, string MediumSerial, string Seal, string Safe, string Site, string? File)
{
    /// <summary>One line, for a protocol.</summary>
    public string Describe(int number) => string.Create(
        CultureInfo.InvariantCulture,
        $"share {number}: {Custodian}; {Medium}, serial {MediumSerial}; seal {Seal}; {Safe}, {Site}{(File is null ? "" : $"; file {File}")}");
}
