using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Microsoft.Data.Sqlite;

namespace Kmsd.Storage;

/// <summary>A prepared statement with positional parameters <c>$1</c>, <c>$2</c> and so on. The database keeps it and closes it.</summary>
[SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP006", Justification = "Whoever borrows a statement must not close it; the database does.")]
[SuppressMessage("Design", "CA1001", Justification = "Whoever borrows a statement must not close it; the database does.")]
internal sealed class Statement
{
    private readonly SqliteCommand _command;

    public Statement(SqliteConnection connection, string sql)
    {
        _command = connection.CreateCommand();
#pragma warning disable CA2100 // Every text is a constant of this program; values are parameters.
        _command.CommandText = sql;
#pragma warning restore CA2100
    }

    /// <summary>Sets parameter <paramref name="position"/>, counted from 1. Null is SQL's NULL.</summary>
    public Statement Bind(int position, object? value)
    {
        while (_command.Parameters.Count < position)
        {
            _command.Parameters.Add(new SqliteParameter
            {
                ParameterName = string.Create(CultureInfo.InvariantCulture, $"${_command.Parameters.Count + 1}"),
            });
        }

        _command.Parameters[position - 1].Value = value ?? DBNull.Value;
        return this;
    }

    /// <summary>Sets every parameter, in order.</summary>
    public Statement BindAll(params ReadOnlySpan<object?> values)
    {
        for (int i = 0; i < values.Length; i++)
        {
            _ = Bind(i + 1, values[i]);
        }

        return this;
    }

    public void Execute() => _ = _command.ExecuteNonQuery();

    /// <summary>Runs a statement that must touch exactly one row.</summary>
    /// <exception cref="InvalidOperationException">It touched none or several: memory and database disagree.</exception>
    public void ExecuteOne()
    {
        int rows = _command.ExecuteNonQuery();
        if (rows != 1)
        {
            throw new InvalidOperationException($"A statement for one row touched {rows}.");
        }
    }

    public long QueryNumber() => Convert.ToInt64(_command.ExecuteScalar(), CultureInfo.InvariantCulture);

    public void Query(Action<SqliteDataReader> row)
    {
        using SqliteDataReader reader = _command.ExecuteReader();
        while (reader.Read())
        {
            row(reader);
        }
    }

    /// <summary>As long as the row says true.</summary>
    public void QueryWhile(Func<SqliteDataReader, bool> row)
    {
        using SqliteDataReader reader = _command.ExecuteReader();
        while (reader.Read() && row(reader))
        {
        }
    }

    /// <summary>For the database that made it.</summary>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "The constructor makes it.")]
    public void Close() => _command.Dispose();
}

/// <summary>Reads of columns that may be NULL, and of the types that the schema uses.</summary>
internal static class SqliteReaderExtensions
{
    public static byte[] GetBlob(this SqliteDataReader reader, int column) => reader.GetFieldValue<byte[]>(column);

    public static byte[]? GetBlobOrNull(this SqliteDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : reader.GetFieldValue<byte[]>(column);

    public static string? GetTextOrNull(this SqliteDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : reader.GetString(column);

    public static long? GetNumberOrNull(this SqliteDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : reader.GetInt64(column);

    public static DateTimeOffset GetTime(this SqliteDataReader reader, int column) =>
        DateTimeOffset.FromUnixTimeMilliseconds(reader.GetInt64(column));

    public static DateTimeOffset? GetTimeOrNull(this SqliteDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : reader.GetTime(column);

    /// <summary>The three columns of a row's code, the first at <paramref name="column"/>.</summary>
    public static StoredCode GetCode(this SqliteDataReader reader, int column) =>
        new(reader.GetInt64(column), reader.GetInt64(column + 1), reader.GetBlob(column + 2));
}
