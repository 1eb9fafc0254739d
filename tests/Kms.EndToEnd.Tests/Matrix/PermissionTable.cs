using System.Text.RegularExpressions;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests.Matrix;

/// <summary>What <c>docs/api.md</c> says of who may do what, read from the document itself.</summary>
internal sealed partial class PermissionTable
{
    private const string Header = "| | Operator |";
    private const string OpenToAll = "Anybody who can connect: ";

    private readonly string[] _columns;
    private readonly Dictionary<string, bool[]> _rows;

    private PermissionTable(string[] lines)
    {
        int header = Array.FindIndex(lines, line => line.StartsWith(Header, StringComparison.Ordinal));
        _columns = Cells(lines[header])[1..];
        _rows = lines.Skip(header + 2).TakeWhile(line => line.StartsWith('|')).Select(Cells)
            .ToDictionary(cells => cells[0], cells => cells[1..].Select(cell => cell == "✓").ToArray(), StringComparer.Ordinal);
        string open = lines.Single(line => line.StartsWith(OpenToAll, StringComparison.Ordinal));
        Open = Methods(open[..open.IndexOf(". ", StringComparison.Ordinal)]);
        int methods = Array.IndexOf(lines, "## Methods");
        int end = Array.IndexOf(lines, "### History");
        All = lines[methods..end].Where(line => line.StartsWith("| `", StringComparison.Ordinal)).SelectMany(line => Methods(Cells(line)[0]))
            .ToHashSet(StringComparer.Ordinal);
    }

    /// <summary>Every method of the contract, served yet or not.</summary>
    public IReadOnlySet<string> All { get; }

    /// <summary>Those that the sentence below the table opens to anybody by name.</summary>
    public IReadOnlySet<string> Open { get; }

    public IEnumerable<string> Rows => _rows.Keys;

    public IEnumerable<string> Columns => _columns;

    public static PermissionTable Read() => new(File.ReadAllLines(Repository.Script("docs/api.md")));

    /// <summary>True if the row allows it in one of these columns.</summary>
    public bool Allows(string row, IEnumerable<string> columns) => columns.Any(column => _rows[row][Array.IndexOf(_columns, column)]);

    private static string[] Cells(string line) => [.. line.Trim('|').Split('|').Select(cell => cell.Trim())];

    private static HashSet<string> Methods(string text) => [.. MethodName().Matches(text).Select(match => match.Groups[1].Value)];

    [GeneratedRegex("`([a-z]+[A-Za-z]*\\.[a-zA-Z]+)`")]
    private static partial Regex MethodName();
}
