using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Kmsd.Storage;

/// <summary>
/// A prepared statement with positional parameters <c>$1</c>, <c>$2</c> and so on. The database keeps it and closes it. What
/// writes goes to SQLite's own functions, since a use costs little else; what reads goes through the driver.
/// </summary>
[SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP006", Justification = "Whoever borrows a statement must not close it; the database does.")]
[SuppressMessage("Design", "CA1001", Justification = "Whoever borrows a statement must not close it; the database does.")]
internal sealed class Statement(SqliteConnection connection, string sql)
{
    // SQLITE_CORRUPT: what stands there is no table or index any more.
    private const int Corrupt = 11;

    private object?[] _values = [];
    private int[] _positions = [];
    private sqlite3_stmt? _prepared;
    private SqliteCommand? _command;

    /// <summary>Sets every parameter, in order. Null is SQL's NULL.</summary>
    public Statement BindAll(params ReadOnlySpan<object?> values)
    {
        if (_values.Length != values.Length)
        {
            _values = new object?[values.Length];
        }

        values.CopyTo(_values);
        return this;
    }

    /// <summary>Binds a row that comes as bytes, without making objects of it: the way of every use.</summary>
    /// <param name="position">Of the row's first parameter, from 1.</param>
    /// <param name="number">The first parameter.</param>
    /// <param name="blobs">The next ones.</param>
    /// <param name="encoding">The last ones: the fields of a row's encoding.</param>
    /// <param name="skipped">How many fields of it are left out at its beginning.</param>
    /// <returns>The position of the next row's first parameter.</returns>
    public int BindEncoded(int position, long number, Blobs blobs, ReadOnlySpan<byte> encoding, int skipped)
    {
        sqlite3_stmt statement = _prepared ??= Prepare();
        Check(raw.sqlite3_bind_int64(statement, position++, number));
        Check(raw.sqlite3_bind_blob(statement, position++, blobs.First));
        Check(raw.sqlite3_bind_blob(statement, position++, blobs.Second));
        Check(raw.sqlite3_bind_blob(statement, position++, blobs.Third));
        RowEncoding.FieldReader fields = RowEncoding.Read(encoding);
        while (fields.MoveNext())
        {
            if (skipped > 0)
            {
                skipped--;
                continue;
            }

            Check(fields switch
            {
                { IsNull: true } => raw.sqlite3_bind_null(statement, position),
                { IsNumber: true } => raw.sqlite3_bind_int64(statement, position, fields.Integer),
                { IsText: true } => raw.sqlite3_bind_text(statement, position, fields.Value),
                _ => raw.sqlite3_bind_blob(statement, position, fields.Value),
            });
            position++;
        }

        return position;
    }

    /// <summary>Runs with what was bound by <see cref="BindEncoded"/>.</summary>
    public void ExecuteBound()
    {
        sqlite3_stmt statement = _prepared ??= Prepare();
        try
        {
            Step(statement);
        }
        finally
        {
            _ = raw.sqlite3_reset(statement); // Says again what the step said.
        }
    }

    public void Execute() => Run();

    /// <summary>Runs a statement that must touch exactly one row.</summary>
    /// <exception cref="InvalidOperationException">It touched none or several: memory and database disagree.</exception>
    public void ExecuteOne()
    {
        Run();
        int rows = raw.sqlite3_changes(connection.Handle);
        if (rows != 1)
        {
            throw new InvalidOperationException($"A statement for one row touched {rows}.");
        }
    }

    public long QueryNumber() => Convert.ToInt64(Command().ExecuteScalar(), CultureInfo.InvariantCulture);

    public void Query(Action<SqliteDataReader> row)
    {
        using SqliteDataReader reader = Command().ExecuteReader();
        while (reader.Read())
        {
            row(reader);
        }
    }

    /// <summary>As long as the row says true. False if it came to where the file is damaged.</summary>
    public bool TryQueryWhile(Func<SqliteDataReader, bool> row)
    {
        try
        {
            using SqliteDataReader reader = Command().ExecuteReader();
            while (reader.Read() && row(reader))
            {
            }

            return true;
        }
        catch (SqliteException exception) when (exception.SqliteErrorCode == Corrupt)
        {
            return false;
        }
    }

    /// <summary>For the database that made it.</summary>
    public void Close()
    {
        _command?.Dispose();
        _prepared?.Dispose();
    }

    private void Run()
    {
        sqlite3_stmt statement = _prepared ??= Prepare();
        try
        {
            for (int i = 0; i < _values.Length; i++)
            {
                Check(Bind(statement, _positions[i], _values[i]));
            }

            Step(statement);
        }
        finally
        {
            _ = raw.sqlite3_reset(statement); // Says again what the step said.
        }
    }

    private void Step(sqlite3_stmt statement)
    {
        int result;
        do
        {
            result = raw.sqlite3_step(statement);
        }
        while (result == raw.SQLITE_ROW);
        if (result != raw.SQLITE_DONE)
        {
            Check(result);
        }
    }

    private sqlite3_stmt Prepare()
    {
        Check(raw.sqlite3_prepare_v3(connection.Handle, sql, raw.SQLITE_PREPARE_PERSISTENT, out sqlite3_stmt statement));

        // SQLite numbers named parameters as they first come in the text.
        _positions = [.. Enumerable.Range(1, raw.sqlite3_bind_parameter_count(statement))
            .Select(number => raw.sqlite3_bind_parameter_index(statement, string.Create(CultureInfo.InvariantCulture, $"${number}")))];
        return statement;
    }

    private static int Bind(sqlite3_stmt statement, int position, object? value) => value switch
    {
        null => raw.sqlite3_bind_null(statement, position),
        byte[] bytes => raw.sqlite3_bind_blob(statement, position, bytes),
        string text => raw.sqlite3_bind_text(statement, position, text),
        long number => raw.sqlite3_bind_int64(statement, position, number),
        int number => raw.sqlite3_bind_int64(statement, position, number),
        uint number => raw.sqlite3_bind_int64(statement, position, number),
        _ => throw new ArgumentException($"A {value.GetType()} isn't stored.", nameof(value)),
    };

    private void Check(int result) => SqliteException.ThrowExceptionForRC(result, connection.Handle);

    private SqliteCommand Command()
    {
        if (_command is null)
        {
            _command = connection.CreateCommand();
#pragma warning disable CA2100 // Every text is a constant of this program; values are parameters.
            _command.CommandText = sql;
#pragma warning restore CA2100
        }

        for (int i = 0; i < _values.Length; i++)
        {
            if (_command.Parameters.Count == i)
            {
                _ = _command.Parameters.Add(new SqliteParameter { ParameterName = string.Create(CultureInfo.InvariantCulture, $"${i + 1}") });
            }

            _command.Parameters[i].Value = _values[i] ?? DBNull.Value;
        }

        return _command;
    }
}

/// <summary>Three values of a row that are bytes.</summary>
internal readonly ref struct Blobs(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, ReadOnlySpan<byte> third)
{
    public ReadOnlySpan<byte> First { get; } = first;

    public ReadOnlySpan<byte> Second { get; } = second;

    public ReadOnlySpan<byte> Third { get; } = third;
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
