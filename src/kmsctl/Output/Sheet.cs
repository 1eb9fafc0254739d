namespace Kmsctl.Output;

/// <summary>Rows to show: a table for people, tab-separated lines for pipes.</summary>
internal sealed class Sheet(string? title, params string[] columns)
{
    private readonly List<string[]> _rows = [];

    public string? Title => title;

    /// <summary>Many columns, which a <see cref="WideTable"/> shows.</summary>
    public bool IsWide { get; init; }

    public IReadOnlyList<string> Columns => columns;

    public IReadOnlyList<string[]> Rows => _rows;

    public void Add(params string[] cells) => _rows.Add([.. cells.Select(Text.Clean)]);

    public void AddIfKnown(string name, string? value)
    {
        if (value is not null)
        {
            Add(name, value);
        }
    }
}
