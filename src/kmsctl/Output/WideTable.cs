namespace Kmsctl.Output;

/// <summary>
/// A table of many columns as lines of text. Names, times and numbers are never broken up; the last column, where sentences are, goes
/// on below where it has no room.
/// </summary>
internal static class WideTable
{
    private const int LeastRoom = 30; // For a sentence beside the other columns.
    private const int Indent = 4;

    public static IEnumerable<string> Lines(Sheet sheet, int width)
    {
        int last = sheet.Columns.Count - 1;
        int[] widths = [.. Enumerable.Range(0, last).Select(i => sheet.Rows.Select(row => row[i].Length).Append(sheet.Columns[i].Length).Max())];
        string gap = widths.Sum() + (2 * last) <= width ? "  " : " ";
        int lead = widths.Sum(each => each + gap.Length);
        yield return $"{sheet.Title}";
        yield return (Lead(sheet.Columns) + (width - lead >= sheet.Columns[last].Length ? sheet.Columns[last] : null)).TrimEnd();
        yield return new string('─', Math.Min(width, lead + Math.Max(sheet.Columns[last].Length, sheet.Rows.Select(row => row[last].Length).DefaultIfEmpty().Max())));
        foreach (string[] row in sheet.Rows)
        {
            bool isBeside = width - lead >= Math.Min(LeastRoom, row[last].Length);
            int indent = isBeside ? lead : Indent;
            string[] sentence = row[last] == Text.None ? [] : [.. Break(row[last], Math.Max(LeastRoom, width - indent))];
            yield return (Lead(row) + (isBeside ? sentence.FirstOrDefault() : null)).TrimEnd();
            foreach (string line in sentence.Skip(isBeside ? 1 : 0))
            {
                yield return new string(' ', indent) + line;
            }
        }

        string Lead(IReadOnlyList<string> cells) => string.Concat(widths.Select((each, i) => cells[i].PadRight(each) + gap));
    }

    /// <summary>Between words where there are such.</summary>
    private static IEnumerable<string> Break(string text, int width)
    {
        string rest = text;
        while (rest.Length > width)
        {
            int space = rest.LastIndexOf(' ', width);
            int end = space > 0 ? space : width;
            yield return rest[..end];
            rest = rest[end..].TrimStart();
        }

        yield return rest;
    }
}
