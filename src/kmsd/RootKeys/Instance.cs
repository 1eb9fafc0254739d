using System.Security.Cryptography;
using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.RootKeys;

/// <summary>The identity of one installation: the row from which every other code begins.</summary>
/// <param name="Id">16 bytes.</param>
/// <param name="SchemaVersion">Of the database.</param>
/// <param name="Lineage">16 bytes, drawn anew whenever an operator accepts that the database went back.</param>
/// <param name="IsAnchored">The token holds an anchor for it.</param>
/// <param name="CreatedAt">When it was made.</param>
/// <param name="Supersedes">The name of the one anchor that an operator accepted to replace by this lineage; null if there was none.</param>
internal sealed record Instance(byte[] Id, long SchemaVersion, byte[] Lineage, bool IsAnchored, DateTimeOffset CreatedAt, byte[]? Supersedes = null)
{
    public const int IdLength = 16;

    public static Instance New(DateTimeOffset now, bool isAnchored) => new(
        RandomNumberGenerator.GetBytes(IdLength), Schema.Version, NewLineage(), isAnchored, now);

    public static byte[] NewLineage() => RandomNumberGenerator.GetBytes(IdLength);

    public void Insert(Database database, RowAuthenticator authenticator, RowSet rows) => database.Prepare("""
        INSERT INTO instance (id, instance_id, schema, lineage, supersedes, anchored, created_at, mac_generation, encoding_version, row_code)
        VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9)
        """).BindAll(
        Id, SchemaVersion, Lineage, Supersedes, IsAnchored ? 1 : 0, CreatedAt.ToUnixTimeMilliseconds(), authenticator.Generation, RowEncoding.Version,
        rows.Put(Row(authenticator))).ExecuteOne();

    /// <summary>Writes another lineage, or whether there is an anchor; for the writer.</summary>
    public void Update(Database database, RowAuthenticator authenticator, RowSet rows) => database.Prepare(
        "UPDATE instance SET lineage = $1, supersedes = $2, anchored = $3, mac_generation = $4, encoding_version = $5, row_code = $6 WHERE id = 1").BindAll(
        Lineage, Supersedes, IsAnchored ? 1 : 0, authenticator.Generation, RowEncoding.Version, rows.Put(Row(authenticator))).ExecuteOne();

    /// <summary>The row and its code, which can be checked only once the token has derived the key.</summary>
    /// <exception cref="StartupException">78: there is no such row.</exception>
    public static (Instance Instance, StoredCode Code) Read(Database database)
    {
        (Instance, StoredCode)? found = null;
        database.Prepare("""
            SELECT instance_id, schema, lineage, anchored, created_at, supersedes, mac_generation, encoding_version, row_code FROM instance WHERE id = 1
            """).Query(reader => found = (
                new Instance(reader.GetBlob(0), reader.GetInt64(1), reader.GetBlob(2), ReadFlag(reader.GetInt64(3)), reader.GetTime(4), reader.GetBlobOrNull(5)),
                reader.GetCode(6)));
        if (found?.Item1 is { } instance && (instance.Id.Length != IdLength || instance.Lineage.Length != IdLength))
        {
            throw Damaged();
        }

        return found ?? throw new StartupException(ExitCode.Configuration, $"The database has no instance row. {StartupException.RestoreBackup}");
    }

    private static bool ReadFlag(long stored) => stored is 0 or 1
        ? stored == 1
        : throw Damaged();

    private static StartupException Damaged() => new(ExitCode.Configuration, $"The instance row of the database is damaged. {StartupException.RestoreBackup}");

    /// <exception cref="StartupException">78: the row was changed from outside.</exception>
    public void Verify(RowAuthenticator authenticator, StoredCode code)
    {
        if (!authenticator.Verify(Row(authenticator), code))
        {
            throw new StartupException(
                ExitCode.Configuration, $"The instance row of the database doesn't verify: it was changed from outside. {StartupException.RestoreBackup}");
        }
    }

    private RowEncoding Row(RowAuthenticator authenticator) => authenticator.Row("instance")
        .Add(1L).EndId().Add(SchemaVersion).Add(Lineage).Add(IsAnchored ? 1L : 0L).Add(CreatedAt).Add(Supersedes);
}
