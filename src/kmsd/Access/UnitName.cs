using System.Buffers;
using System.Collections.Frozen;
using System.Diagnostics.CodeAnalysis;

namespace Kmsd.Access;

/// <summary>
/// The name of a systemd service, or of one instance of a template, by systemd's own rules (systemd.unit(5); unit_name_is_valid
/// in its source). Checked once, at the edge. A name has one spelling: systemd compares byte for byte, and so does this.
/// </summary>
internal readonly record struct UnitName
{
    private const string Suffix = ".service";
    private const char InstanceMark = '@';

    // UNIT_NAME_MAX is 256, with the zero at the end.
    private const int LongestName = 255;

    private static readonly SearchValues<char> s_allowed =
        SearchValues.Create("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\@");

    /// <summary>Units that run what their users tell them to. A template stands for all its instances.</summary>
    private static readonly FrozenSet<string> s_runOthersPrograms = FrozenSet.Create(
        StringComparer.Ordinal,
        "cron.service", "crond.service", "atd.service", "ssh.service", "sshd.service",
        "cron@.service", "crond@.service", "atd@.service", "ssh@.service", "sshd@.service",
        "user@.service", "getty@.service", "serial-getty@.service", "container-getty@.service", "console-getty.service");

    private readonly string? _text;

    private UnitName(string text) => _text = text;

    /// <exception cref="InvalidOperationException">The name was never set.</exception>
    public string Text => _text ?? throw new InvalidOperationException("The unit's name was never set.");

    /// <summary><c>name@.service</c> of <c>name@instance.service</c>.</summary>
    public string? Template => Text.IndexOf(InstanceMark, StringComparison.Ordinal) is int at and > 0 ? Text[..(at + 1)] + Suffix : null;

    /// <summary>True for units whose processes are other people's: cron jobs, logins. They vouch for nobody.</summary>
    public bool RunsOthersPrograms => IsAmong(s_runOthersPrograms);

    /// <summary>True if the unit, or the template it is an instance of, is among <paramref name="names"/>.</summary>
    public bool IsAmong(IReadOnlySet<string> names) => names.Contains(Text) || (Template is string template && names.Contains(template));

    /// <summary>Reads untrusted text; true if a process can run in a unit of that name, which a bare template has none of.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out UnitName name)
    {
        bool isUnit = IsService(text, out bool isTemplate) && !isTemplate;
        name = isUnit ? new UnitName(text.ToString()) : default;
        return isUnit;
    }

    /// <summary>Reads an element of <c>never_units</c>: a service, an instance or a template; <c>.service</c> may be left out, as in systemctl.</summary>
    public static bool TryParsePattern(string text, [NotNullWhen(true)] out string? pattern)
    {
        pattern = text.EndsWith(Suffix, StringComparison.Ordinal) ? text : text + Suffix;
        if (!IsService(pattern, out _))
        {
            pattern = null;
        }

        return pattern is not null;
    }

    /// <summary>The name, or a placeholder that is safe in a log line.</summary>
    public override string ToString() => _text ?? "(no unit)";

    private static bool IsService(ReadOnlySpan<char> text, out bool isTemplate)
    {
        ReadOnlySpan<char> stem = text.EndsWith(Suffix, StringComparison.Ordinal) ? text[..^Suffix.Length] : default;
        int at = stem.IndexOf(InstanceMark);
        isTemplate = at >= 0 && at == stem.Length - 1;
        return text.Length <= LongestName && !stem.IsEmpty && at != 0 && !stem.ContainsAnyExcept(s_allowed);
    }
}
