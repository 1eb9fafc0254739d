using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>Entries as a terminal of 80 columns has room for them: without processes, and without columns that would say nothing.</summary>
internal static class HistoryTable
{
    private const int ShownOfTag = 6;

    /// <param name="entries">The entries.</param>
    /// <param name="isOfOneKey">All are of the key that was asked for, so that its tag needn't be said.</param>
    public static Sheet Make(IReadOnlyCollection<HistoryEntryDescription> entries, bool isOfOneKey)
    {
        int[] years = [.. entries.Select(entry => entry.At.UtcDateTime.Year).Distinct()];
        bool isOfOneYear = years.Length == 1;
        (string Name, Func<HistoryEntryDescription, string> Cell, bool IsShown)[] columns =
        [
            ("no", entry => Text.Of(entry.Sequence), true),
            ("time (UTC)", entry => Text.Exact(entry.At)[(isOfOneYear ? "2026-".Length : 0)..], true),
            ("operation", entry => entry.Operation, true),
            ("outcome", entry => entry.Outcome, true),
            ("by", entry => entry.Principal ?? "kmsd", true),
            ("v", entry => entry.KeyVersion is long version ? Text.Of(version) : Text.None, entries.Any(entry => entry.KeyVersion is not null)),
            ("items", entry => Text.Of(entry.Count), entries.Any(entry => entry.Count > 1)),
            ("key", Tag, !isOfOneKey && entries.Any(entry => entry.Key is not null)),
            ("detail", Detail, true),
        ];
        var shown = columns.Where(column => column.IsShown).ToList();
        var sheet = new Sheet(isOfOneYear ? $"History, {Text.Of((long)years[0])}" : "History", [.. shown.Select(column => column.Name)]) { IsWide = true };
        foreach (HistoryEntryDescription entry in entries)
        {
            sheet.Add([.. shown.Select(column => column.Cell(entry))]);
        }

        return sheet;
    }

    /// <summary>One entry of many that come one after the other, with the widths its cells have at least.</summary>
    public static (string Cell, int Width)[] Line(HistoryEntryDescription entry, bool isOfOneKey) =>
    [
        (Text.Of(entry.Sequence), 5), (Text.Exact(entry.At), 19), (entry.Operation, 18), (entry.Outcome, 9), (entry.Principal ?? "kmsd", 8),
        .. ((string, int)[])(isOfOneKey ? [] : [(Tag(entry), ShownOfTag + 1)]),
        (Detail(entry), 1),
    ];

    /// <summary>With the unit, unless the principal says it already.</summary>
    private static string Detail(HistoryEntryDescription entry) => (entry.Unit, entry.Detail) switch
    {
        (string unit, string detail) when entry.Principal != $"unit:{unit}" => $"{unit}; {detail}",
        (string unit, null) when entry.Principal != $"unit:{unit}" => unit,
        (_, string detail) => detail,
        _ => Text.None,
    };

    private static string Tag(HistoryEntryDescription entry) =>
        entry.Key is not { } tag ? Text.None : tag.Length > ShownOfTag ? tag[..ShownOfTag] + "…" : tag;
}
