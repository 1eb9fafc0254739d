using Kmsd.Hosting;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.Tests.Storage;

public sealed class DatabaseTests : IDisposable
{
    private static readonly string[] s_tables =
    [
        "credentials", "deleted_keys", "grants", "history", "history_heads", "history_segments", "instance", "keys", "last_seen", "members",
        "notification_cursors", "notification_days", "notifications", "refusals", "root_generations", "root_shares", "stores", "usage_mark", "version_material",
        "versions",
    ];

    private readonly TemporaryFolder _folder = new();
    private readonly string _path;

    public DatabaseTests()
    {
        _path = _folder.File(Database.FileName);
        Database.Create(_path).Dispose();
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_new_database_opens_in_wal_mode_with_full_synchrony_and_secure_delete()
    {
        using var database = Database.Open(_path);
        string mode = "";
        database.Prepare("PRAGMA journal_mode").Query(reader => mode = reader.GetString(0));
        Assert.Equal("wal", mode);
        Assert.Equal(2, database.Prepare("PRAGMA synchronous").QueryNumber());
        Assert.Equal(1, database.Prepare("PRAGMA secure_delete").QueryNumber());
        Assert.Equal(0, database.Prepare("PRAGMA trusted_schema").QueryNumber());
        database.SetFullySynchronous(false);
        Assert.Equal(1, database.Prepare("PRAGMA synchronous").QueryNumber());
        database.SetFullySynchronous(true);
        Assert.Equal(2, database.Prepare("PRAGMA synchronous").QueryNumber());
    }

    /// <summary>Whoever reads a copy needn't own it, and knows it by its plain path.</summary>
    [Fact]
    public void A_copy_that_this_user_may_not_read_cant_be_read()
    {
        File.SetUnixFileMode(_path, UnixFileMode.None);
        StartupException refusal = Assert.IsType<StartupException>(
            BoundByRights.Run(() => Database.OpenForReading(_path, mayBeBackup: true, isStill: true).Dispose()));
        Assert.Equal(ExitCode.CannotCreate, refusal.ExitCode);
        Assert.StartsWith($"The database {_path} can't be read.", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Its_tables_are_those_of_the_design_without_triggers_or_views()
    {
        List<string> names = [];
        using var database = Database.Open(_path);
        database.Prepare("SELECT type || ' ' || name FROM sqlite_master WHERE type <> 'index' ORDER BY name").Query(
            reader => names.Add(reader.GetString(0)));
        Assert.Equal(s_tables.Select(name => "table " + name), names);
    }

    [Theory]
    [InlineData("PRAGMA user_version = 2", "newer version")]
    [InlineData("PRAGMA user_version = 0", "schema 0")]
    [InlineData("PRAGMA application_id = 7", "not a database of kmsd")]
    [InlineData("CREATE TABLE more (a)", "changed from outside")]
    [InlineData("CREATE TRIGGER t AFTER INSERT ON keys BEGIN DELETE FROM history; END", "changed from outside")]
    [InlineData("CREATE VIEW v AS SELECT * FROM keys", "changed from outside")]
    [InlineData("DROP INDEX keys_by_name", "changed from outside")]
    [InlineData("ALTER TABLE keys ADD COLUMN more TEXT", "changed from outside")]
    [InlineData("ALTER TABLE keys RENAME COLUMN memo TO note", "changed from outside")]
    public void What_is_newer_not_ours_or_changed_is_refused(string sql, string reason)
    {
        using (SqliteConnection connection = new($"Data Source={_path};Pooling=False"))
        {
            connection.Open();
            using SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // The text is a constant of this test.
            command.CommandText = sql;
#pragma warning restore CA2100
            _ = command.ExecuteNonQuery();
        }

        Assert.Contains(reason, Refused().Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_missing_is_refused_and_not_made()
    {
        File.Delete(_path);
        Assert.Contains("kmsd init", Refused().Message, StringComparison.Ordinal);
        Assert.False(File.Exists(_path));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(5000)]
    public void A_file_that_is_no_database_is_refused(int length)
    {
        File.WriteAllBytes(_path, [.. Enumerable.Repeat((byte)'x', length)]);
        _ = Refused();
    }

    [Fact]
    public void A_database_cut_in_half_is_refused()
    {
        using (FileStream file = new(_path, FileMode.Open))
        {
            file.SetLength(file.Length / 2);
        }

        _ = Refused();
    }

    [Fact]
    public void A_statement_for_one_row_that_touches_another_number_is_our_own_fault()
    {
        using var database = Database.Open(_path);
        _ = Assert.Throws<InvalidOperationException>(() => database.Prepare("DELETE FROM keys WHERE name = $1").BindAll("x").ExecuteOne());
    }

    private StartupException Refused()
    {
        StartupException refusal = Assert.Throws<StartupException>(() => Database.Open(_path).Dispose());
        Assert.Equal(ExitCode.Configuration, refusal.ExitCode);
        return refusal;
    }
}
