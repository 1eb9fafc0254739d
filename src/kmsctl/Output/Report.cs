using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Kms.Client.Protocol;
using Spectre.Console;

namespace Kmsctl.Output;

/// <summary>Where the answer goes: JSON for programs, a table on a terminal, plain lines in a pipe.</summary>
internal sealed class Report(bool json, bool terminal)
{
    public bool IsJson => json;

    /// <param name="value">The whole answer, for <c>--json</c>.</param>
    /// <param name="type">How that is written.</param>
    /// <param name="sheet">The rows.</param>
    /// <param name="onTerminal">What a terminal has room for of them, if not for all.</param>
    public void Write<T>(T value, JsonTypeInfo<T> type, Func<Sheet> sheet, Func<Sheet>? onTerminal = null)
    {
        if (json)
        {
            WriteJson(value, type);
        }
        else if (terminal && onTerminal?.Invoke() is { IsWide: true } wide)
        {
            using Stream output = Console.OpenStandardOutput();
            foreach (string line in WideTable.Lines(wide, AnsiConsole.Profile.Width))
            {
                output.Write(Encoding.UTF8.GetBytes(line + "\n"));
            }
        }
        else if (terminal)
        {
            AnsiConsole.Write(MakeTable(sheet()));
        }
        else
        {
            using Stream output = Console.OpenStandardOutput();
            foreach (string[] row in sheet().Rows)
            {
                output.Write(Encoding.UTF8.GetBytes(string.Join('\t', row) + "\n"));
            }
        }
    }

    public void WriteLine<T>(T value, JsonTypeInfo<T> type, string line)
    {
        if (json)
        {
            WriteJson(value, type);
        }
        else
        {
            using Stream output = Console.OpenStandardOutput();
            output.Write(Encoding.UTF8.GetBytes(Text.Clean(line) + "\n"));
        }
    }

    /// <summary>One row of many that come one after the other: JSON in a line of its own, or cells; on a terminal those there is room for, padded to widths.</summary>
    public void WriteRow<T>(T value, JsonTypeInfo<T> type, string[] cells, (string Cell, int Width)[] onTerminal)
    {
        if (json)
        {
            WriteJson(value, type);
            return;
        }

        string line = terminal
            ? string.Join(' ', onTerminal.Select(column => Text.Clean(column.Cell).PadRight(column.Width))).TrimEnd()
            : string.Join('\t', cells.Select(Text.Clean));
        using Stream output = Console.OpenStandardOutput();
        output.Write(Encoding.UTF8.GetBytes(line + "\n"));
    }

    /// <summary>Text of several lines.</summary>
    public void WriteLines<T>(T value, JsonTypeInfo<T> type, string lines)
    {
        if (json)
        {
            WriteJson(value, type);
            return;
        }

        using Stream output = Console.OpenStandardOutput();
        foreach (ReadOnlySpan<char> line in lines.AsSpan().TrimEnd().EnumerateLines())
        {
            output.Write(Encoding.UTF8.GetBytes(Text.Clean(line.ToString()) + "\n"));
        }
    }

    /// <summary>The bytes as they are.</summary>
    public void WriteBytes<T>(T value, JsonTypeInfo<T> type, SensitiveBytes bytes)
    {
        if (json)
        {
            WriteJson(value, type);
        }
        else
        {
            using Stream output = Console.OpenStandardOutput();
            output.Write(bytes.AsSpan());
        }
    }

    public void WriteBase64<T>(T value, JsonTypeInfo<T> type, SensitiveBytes bytes)
    {
        if (json)
        {
            WriteJson(value, type);
            return;
        }

        using var text = new SensitiveBytes(Base64.GetMaxEncodedToUtf8Length(bytes.Length) + 1);
        _ = Base64.EncodeToUtf8(bytes.AsSpan(), text.AsSpan(), out _, out int length);
        text.AsSpan()[length] = (byte)'\n';
        using Stream output = Console.OpenStandardOutput();
        output.Write(text.AsSpan()[..(length + 1)]);
    }

    private static void WriteJson<T>(T value, JsonTypeInfo<T> type)
    {
        using Stream output = Console.OpenStandardOutput();
        JsonSerializer.Serialize(output, value, type);
        output.WriteByte((byte)'\n');
    }

    private static Table MakeTable(Sheet sheet)
    {
        Table table = new Table().Border(TableBorder.Rounded);
        if (sheet.Title is not null)
        {
            table.Title = new TableTitle(Markup.Escape(sheet.Title));
        }

        table.ShowHeaders = sheet.Title is not null; // A sheet without a title is one thing, described line by line.
        foreach (string column in sheet.Columns)
        {
            _ = table.AddColumn(new TableColumn(Markup.Escape(column)));
        }

        foreach (string[] row in sheet.Rows)
        {
            _ = table.AddRow(row.Select(cell => (Spectre.Console.Rendering.IRenderable)new Spectre.Console.Text(cell)));
        }

        return table;
    }
}
