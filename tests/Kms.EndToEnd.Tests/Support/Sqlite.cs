using Microsoft.Data.Sqlite;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>Reads a database beside the daemon, through a connection of its own.</summary>
internal sealed class Sqlite : IDisposable
{
    private readonly SqliteConnection _connection;

    public Sqlite(string path)
    {
        _connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        _connection.Open();
    }

    /// <summary>Each row's columns as text, NULL as an empty one, joined by '|'.</summary>
    public List<string> Rows(string sql)
    {
        List<string> rows = [];
        using SqliteCommand command = Command(sql);
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            rows.Add(string.Join('|', Enumerable.Range(0, reader.FieldCount).Select(column => reader.IsDBNull(column) ? "" : reader.GetString(column))));
        }

        return rows;
    }

    public long Number(string sql)
    {
        using SqliteCommand command = Command(sql);
        return (long)command.ExecuteScalar()!;
    }

    /// <summary>How many rows it changed.</summary>
    public int Execute(string sql)
    {
        using SqliteCommand command = Command(sql);
        return command.ExecuteNonQuery();
    }

    public void Dispose() => _connection.Dispose();

    private SqliteCommand Command(string sql)
    {
        SqliteCommand command = _connection.CreateCommand();
#pragma warning disable CA2100 // The text is made by a test.
        command.CommandText = sql;
#pragma warning restore CA2100
        return command;
    }
}
