using System.Security.Cryptography;
using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.RootKeys;

/// <summary>The identity of one installation: the row from which every other code begins.</summary>
internal sealed record Instance(byte[] Id, long SchemaVersion, byte[] Lineage, long Epoch, DateTimeOffset CreatedAt, DateTimeOffset LastSeenAt)
{
    public const int IdLength = 16;

    public static Instance New(DateTimeOffset now) => new(
        RandomNumberGenerator.GetBytes(IdLength), Schema.Version, RandomNumberGenerator.GetBytes(IdLength), 0, now, now);

    public void Insert(Database database, RowAuthenticator authenticator) => database.Prepare("""
        INSERT INTO instance (id, instance_id, schema, lineage, epoch, created_at, last_seen_at, mac_generation, encoding_version, row_code)
        VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9)
        """).BindAll(
        Id, SchemaVersion, Lineage, Epoch, CreatedAt.ToUnixTimeMilliseconds(), LastSeenAt.ToUnixTimeMilliseconds(),
        authenticator.Generation, RowEncoding.Version, authenticator.Code(Row(authenticator))).ExecuteOne();

    /// <summary>Writes the time that was last seen; for the writer.</summary>
    public void UpdateLastSeen(Database database, RowAuthenticator authenticator) => database.Prepare(
        "UPDATE instance SET last_seen_at = $1, mac_generation = $2, encoding_version = $3, row_code = $4 WHERE id = 1").BindAll(
        LastSeenAt.ToUnixTimeMilliseconds(), authenticator.Generation, RowEncoding.Version, authenticator.Code(Row(authenticator))).ExecuteOne();

    /// <summary>The row and its code, which can be checked only once the token has derived the key.</summary>
    /// <exception cref="StartupException">78: there is no such row.</exception>
    public static (Instance Instance, StoredCode Code) Read(Database database)
    {
        (Instance, StoredCode)? found = null;
        database.Prepare("""
            SELECT instance_id, schema, lineage, epoch, created_at, last_seen_at, mac_generation, encoding_version, row_code
            FROM instance WHERE id = 1
            """).Query(reader => found = (
                new Instance(
                    reader.GetBlob(0), reader.GetInt64(1), reader.GetBlob(2), reader.GetInt64(3), reader.GetTime(4), reader.GetTime(5)),
                reader.GetCode(6)));
        if (found?.Item1.Id.Length is not (null or IdLength))
        {
            throw new StartupException(ExitCode.Configuration, "The instance row of the database is damaged; restore it from a backup.");
        }

        return found ?? throw new StartupException(ExitCode.Configuration, "The database has no instance row; restore it from a backup.");
    }

    /// <exception cref="StartupException">78: the row was changed from outside.</exception>
    public void Verify(RowAuthenticator authenticator, StoredCode code)
    {
        if (!authenticator.Verify(Row(authenticator), code))
        {
            throw new StartupException(
                ExitCode.Configuration, "The instance row of the database doesn't verify: it was changed from outside. Restore it from a backup.");
        }
    }

    private RowEncoding Row(RowAuthenticator authenticator) => authenticator.Row("instance")
        .Add(SchemaVersion).Add(Lineage).Add(Epoch).Add(CreatedAt).Add(LastSeenAt);
}
