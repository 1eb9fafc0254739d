using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Hosting;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Kmsd.Storage;

/// <summary>
/// The connection to <c>kms.db</c>: WAL mode, secure delete, schema checked to the letter when opened. Used by one thread at
/// a time: first by the loader, then by the writer.
/// </summary>
internal sealed class Database : IDisposable
{
    public const string FileName = "kms.db";

    /// <summary>Of the write-ahead log's name, behind the database's.</summary>
    public const string LogSuffix = "-wal";

    // Primary result codes of SQLite.
    private const int SqlitePermission = 3;
    private const int SqliteReadOnly = 8;
    private const int SqliteInputOutput = 10;
    private const int SqliteFull = 13;
    private const int SqliteCannotOpen = 14;

    private readonly SqliteConnection _connection;
    private readonly Dictionary<string, Statement> _statements = new(StringComparer.Ordinal);
    private bool _fullySynchronous;

    /// <summary>
    /// Before the first connection: each has one user at a time, and nobody asks for statistics of memory, so SQLite needs no locks
    /// of its own around every call (multi-thread mode). Where somebody has begun with SQLite already, it keeps them.
    /// </summary>
    static Database()
    {
        Batteries_V2.Init();
        _ = raw.sqlite3_config(raw.SQLITE_CONFIG_MULTITHREAD);
        _ = raw.sqlite3_config(raw.SQLITE_CONFIG_MEMSTATUS, 0);
    }

    private Database(SqliteConnection connection) => _connection = connection;

    /// <summary>Where it is.</summary>
    public string FilePath => _connection.DataSource;

    /// <summary>Opens a database that exists and is of this version.</summary>
    /// <exception cref="StartupException">It is missing, no database, somebody else's, newer, or its schema was changed.</exception>
    public static Database Open(string path) => Open(path, isBackup: false);

    /// <summary>Opens a copy that <see cref="Copy"/> made, with its manifest.</summary>
    /// <exception cref="StartupException">As <see cref="Open(string)"/>; or it is no backup.</exception>
    public static Database OpenBackup(string path) => Open(path, isBackup: true);

    private static Database Open(string path, bool isBackup)
    {
        if (!File.Exists(path))
        {
            throw new StartupException(
                ExitCode.Configuration, $"There is no database at {path}. To put a backup back: kmsd restore FILE. On a new installation, 'kmsd init' makes the root key and the database, once.");
        }

        Database database = new(Connect(path, SqliteOpenMode.ReadWrite));
        try
        {
            database.Check(path, isBackup);
            database.Configure();
            return database;
        }
        catch (SqliteException exception)
        {
            database.Dispose();
            throw Unreadable(path, exception);
        }
        catch
        {
            database.Dispose();
            throw;
        }
    }

    /// <summary>Opens another connection that only reads: beside the writer, in the same process or another.</summary>
    /// <param name="path">Of the database.</param>
    /// <param name="mayBeBackup">A copy with its manifest will do.</param>
    /// <param name="isStill">Nobody writes it: where it needs no log, nothing is made beside it.</param>
    /// <exception cref="StartupException">As <see cref="Open(string)"/>.</exception>
    public static Database OpenForReading(string path, bool mayBeBackup = false, bool isStill = false)
    {
        if (!File.Exists(path))
        {
            throw new StartupException(ExitCode.Configuration, $"There is no database at {path}.");
        }

        // Even a reader makes a log and an index of it otherwise (SQLite, "Read-Only WAL-Mode Databases"), and can't take them away again.
        bool needsNoLog = isStill && !File.Exists(path + LogSuffix);
        string source = needsNoLog ? $"{new Uri(Path.GetFullPath(path)).AbsoluteUri}?immutable=1" : path;
        Database database = new(Connect(source, SqliteOpenMode.ReadOnly, exception => UnreadableByReader(path, exception)));
        try
        {
            database.Check(path, mayBeBackup && database.ReadTables().Contains("backup_manifest"));
            database.Execute("PRAGMA cache_size = -512"); // KiB: what it reads is read once.
            database.Execute("PRAGMA trusted_schema = OFF");
            database.Execute("PRAGMA temp_store = MEMORY");
            return database;
        }
        catch (SqliteException exception)
        {
            database.Dispose();
            throw UnreadableByReader(path, exception);
        }
        catch
        {
            database.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Requires that this user may read and write the file and what SQLite left beside it, whatever they hold: one that is another
    /// user's isn't a lost one.
    /// </summary>
    /// <exception cref="StartupException">73</exception>
    public static void RequireAccess(string path)
    {
        foreach (string file in new[] { path, path + LogSuffix, path + "-shm" }.Where(File.Exists))
        {
            try
            {
                using FileStream opened = new(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            }
            catch (UnauthorizedAccessException exception)
            {
                throw NotWritable(path, exception);
            }
        }
    }

    /// <summary>
    /// Copies what is committed into another file, in one snapshot, beside the writer. Only rows are copied: what was destroyed in free
    /// pages isn't in it. Then completes the copy, and leaves one file that needs no log.
    /// </summary>
    /// <param name="path">Of the database.</param>
    /// <param name="to">Of the copy: an empty file.</param>
    /// <param name="complete">Reads the copy, and writes the row of its manifest, whose table is there.</param>
    /// <exception cref="KmsException"><c>storageUnavailable</c>.</exception>
    public static void Copy(string path, string to, Action<Database> complete)
    {
        try
        {
            using (Database from = OpenForReading(path))
            {
                from.Prepare("VACUUM INTO $1").BindAll(to).Execute();
            }

            using Database copy = new(Connect(to, SqliteOpenMode.ReadWrite));
            copy.Configure();
            copy.Execute("BEGIN IMMEDIATE");
            copy.ExecuteScript(Schema.BackupManifest);
            complete(copy);
            copy.Execute("COMMIT");
            copy.Execute("PRAGMA journal_mode = DELETE");
        }
        catch (SqliteException exception)
        {
            throw new KmsException(KmsErrorCode.StorageUnavailable, "The copy could not be written; is the disk full?", exception);
        }
        catch (StartupException exception)
        {
            throw new KmsException(KmsErrorCode.StorageUnavailable, "The copy could not be read back.", exception);
        }
    }

    /// <summary>A backup becomes the database: its manifest goes.</summary>
    public void RemoveManifest() => Execute("DROP TABLE backup_manifest");

    /// <summary>What is wrong with the file itself, such as an index that doesn't fit its table (PRAGMA integrity_check); null if nothing is.</summary>
    /// <param name="table">Of one table and its indexes; null: of all.</param>
    public string? FindDamage(string? table = null)
    {
        string? damage = null;
        try
        {
            Prepare(table is null ? "PRAGMA integrity_check(1)" : $"PRAGMA integrity_check({table})").Query(reader => damage ??= reader.GetString(0) is "ok" ? null : reader.GetString(0));
        }
        catch (SqliteException exception)
        {
            return exception.Message;
        }

        return damage;
    }

    /// <summary>The names of the tables, in order.</summary>
    public IReadOnlyList<string> ReadTables()
    {
        List<string> names = [];
        Prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name").Query(reader => names.Add(reader.GetString(0)));
        return names;
    }

    /// <summary>Brings a database into one file without a log. False if it can't be opened or read: then it is left as it is.</summary>
    /// <exception cref="StartupException">73: another process reads it.</exception>
    public static bool TryMakeOneFile(string path)
    {
        bool isEmptied;
        try
        {
            using Database database = Open(path);
            isEmptied = database.TryEmptyLog();
        }
        catch (Exception exception) when (exception is StartupException or SqliteException)
        {
            return false;
        }

        return isEmptied ? true : throw new StartupException(ExitCode.CannotCreate, $"Another process reads {path}: end it, and run this again. Nothing was changed.");
    }

    /// <summary>Opens another connection that only reads, of a database that this process has opened and checked.</summary>
    /// <exception cref="StartupException">It can't be opened.</exception>
    public static Database OpenBeside(string path) => new(Connect(path, SqliteOpenMode.ReadOnly));

    /// <summary>Reads in one snapshot: what others commit meanwhile isn't seen.</summary>
    public T ReadSnapshot<T>(Func<Database, T> read)
    {
        Execute("BEGIN");
        try
        {
            return read(this);
        }
        finally
        {
            Execute("ROLLBACK");
        }
    }

    /// <summary>Makes an empty database; the file must not exist.</summary>
    public static Database Create(string path)
    {
        Database database = new(Connect(path, SqliteOpenMode.ReadWriteCreate));
        try
        {
            database.Configure();
            database.Execute("BEGIN IMMEDIATE");
            database.ExecuteScript(Schema.Migration1);
            database.ExecuteScript(string.Create(
                CultureInfo.InvariantCulture,
                $"PRAGMA application_id = {Schema.ApplicationId}; PRAGMA user_version = {Schema.Version};"));
            database.Execute("COMMIT");
            return database;
        }
        catch
        {
            database.Dispose();
            throw;
        }
    }

    /// <summary>Reads at start, where whatever can't be read means that the file is damaged.</summary>
    /// <exception cref="StartupException">78: it is damaged.</exception>
    public T Load<T>(Func<Database, T> read)
    {
        try
        {
            return read(this);
        }
        catch (Exception exception) when (exception is SqliteException or ArgumentException or FormatException or OverflowException
            or InvalidCastException or InvalidOperationException)
        {
            throw new StartupException(
                ExitCode.Configuration, $"The database is damaged: {exception.Message} {StartupException.RestoreBackup}", exception);
        }
    }

    /// <summary>Writes at start, before anybody is served.</summary>
    /// <exception cref="StartupException">It can't be written; nothing of it stands.</exception>
    public void WriteAtStart(Action<Database> write)
    {
        try
        {
            write(this);
        }
        catch (SqliteException exception)
        {
            throw Unreadable(_connection.DataSource, exception);
        }
    }

    /// <summary>A statement that is prepared once and kept.</summary>
    public Statement Prepare(string sql)
    {
        if (!_statements.TryGetValue(sql, out Statement? statement))
        {
            statement = new Statement(_connection, sql);
            _statements.Add(sql, statement);
        }

        return statement;
    }

    public void Execute(string sql) => Prepare(sql).Execute();

    /// <summary>
    /// How the next commit reaches the disk: in full (fsync before the answer: survives a power cut) or not (survives the
    /// death of the process). Outside a transaction only.
    /// </summary>
    public void SetFullySynchronous(bool full)
    {
        if (full != _fullySynchronous)
        {
            Execute(full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
            _fullySynchronous = full;
        }
    }

    /// <summary>Brings the write-ahead log into the file and empties it. False if readers were in the way for too long.</summary>
    public bool TryEmptyLog() => Prepare("PRAGMA wal_checkpoint(TRUNCATE)").QueryNumber() == 0; // The first column: busy.

    public void Dispose()
    {
        foreach (Statement statement in _statements.Values)
        {
            statement.Close();
        }

        _statements.Clear();
        _connection.Dispose();
    }

    private static SqliteConnection Connect(string path, SqliteOpenMode mode) => Connect(path, mode, exception => Unreadable(path, exception));

    private static SqliteConnection Connect(string path, SqliteOpenMode mode, Func<SqliteException, StartupException> explain)
    {
        SqliteConnection connection = new(new SqliteConnectionStringBuilder
        {
            DataSource = path,
            Mode = mode,
            Pooling = false,
            DefaultTimeout = 5,
        }.ToString());
        try
        {
            connection.Open();
            return connection;
        }
        catch (SqliteException exception)
        {
            connection.Dispose();
            throw explain(exception);
        }
    }

    /// <summary>A disk that is full or a file of another owner isn't a damaged database: nobody should restore an old copy for it.</summary>
    private static StartupException Unreadable(string path, SqliteException exception) => exception.SqliteErrorCode switch
    {
        SqliteFull or SqliteInputOutput => new StartupException(
            ExitCode.CannotCreate,
            $"The database {path} can't be written ({exception.Message}). Is the disk full? See: df {Path.GetDirectoryName(path)}",
            exception),
        SqliteCannotOpen or SqliteReadOnly or SqlitePermission => NotWritable(path, exception),
        _ => new StartupException(ExitCode.Configuration, $"The database {path} can't be read: {exception.Message}", exception),
    };

    /// <summary>Whoever only reads needn't own it.</summary>
    private static StartupException UnreadableByReader(string path, SqliteException exception) => exception.SqliteErrorCode switch
    {
        SqliteCannotOpen or SqliteReadOnly or SqlitePermission => new StartupException(
            ExitCode.CannotCreate,
            $"The database {path} can't be read. The user that runs kmsd must be allowed to read it, with its -wal and -shm if they are there.",
            exception),
        _ => Unreadable(path, exception),
    };

    private static StartupException NotWritable(string path, Exception exception) => new(
        ExitCode.CannotCreate,
        $"The database {path} can't be opened for writing. It must belong to the user that runs kmsd: chown it, with its -wal and -shm if they are there.",
        exception);

    private void Check(string path, bool isBackup)
    {
        long application = Prepare("PRAGMA application_id").QueryNumber();
        if (application != Schema.ApplicationId)
        {
            throw new StartupException(ExitCode.Configuration, $"{path} is not a database of kmsd.");
        }

        long version = Prepare("PRAGMA user_version").QueryNumber();
        if (version != Schema.Version)
        {
            throw new StartupException(ExitCode.Configuration, string.Create(
                CultureInfo.InvariantCulture,
                $"{path} has schema {version}; this kmsd knows schema {Schema.Version}. It was made by a newer version: install that one."));
        }

        using Database expected = new(Connect(":memory:", SqliteOpenMode.Memory));
        expected.ExecuteScript(Schema.Migration1);
        if (isBackup)
        {
            expected.ExecuteScript(Schema.BackupManifest);
        }

        if (!isBackup && ReadTables().Contains("backup_manifest"))
        {
            throw new StartupException(ExitCode.Configuration, $"{path} is a backup as 'kmsctl backup' makes it; put it back with: kmsd restore FILE");
        }

        if (!expected.ReadSchema().SequenceEqual(ReadSchema()))
        {
            throw new StartupException(
                ExitCode.Configuration,
                isBackup ? $"The tables of {path} aren't those of a backup." : $"The tables of {path} were changed from outside. {StartupException.RestoreBackup}");
        }
    }

    private void Configure()
    {
        // KiB, of pages that are kept: half of the default. The kernel keeps the others.
        Execute("PRAGMA cache_size = -1024");
        Execute("PRAGMA journal_mode = WAL");
        Execute("PRAGMA secure_delete = ON");
        Execute("PRAGMA trusted_schema = OFF");
        Execute("PRAGMA temp_store = MEMORY");
        Execute("PRAGMA synchronous = FULL");
        Execute("PRAGMA busy_timeout = 5000"); // How long an emptying of the log waits for readers.
        Execute("PRAGMA wal_autocheckpoint = 0"); // Its fsync would stall a use; see LogKeeper.
        _fullySynchronous = true;
    }

    private List<string> ReadSchema()
    {
        List<string> rows = [];
        Statement select = Prepare("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY type, name");
        select.Query(reader => rows.Add(reader.GetString(0)));
        return rows;
    }

    private void ExecuteScript(string sql)
    {
        using SqliteCommand command = _connection.CreateCommand();
#pragma warning disable CA2100 // The text is a constant of this program.
        command.CommandText = sql;
#pragma warning restore CA2100
        _ = command.ExecuteNonQuery();
    }
}
