using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.RootKeys;

/// <summary>The time that the daemon last saw, as the database holds it.</summary>
internal static class SeenTime
{
    /// <exception cref="StartupException">78: the row doesn't verify.</exception>
    public static DateTimeOffset Read(Database database, RowAuthenticator authenticator)
    {
        DateTimeOffset? seen = null;
        database.Prepare("SELECT at, mac_generation, encoding_version, row_code FROM last_seen WHERE id = 1").Query(reader =>
            seen = authenticator.Verify(Row(authenticator, reader.GetTime(0)), reader.GetCode(1)) ? reader.GetTime(0) : null);
        return seen ?? throw new StartupException(
            ExitCode.Configuration, $"The time that was last seen doesn't verify: the database was changed from outside. {StartupException.RestoreBackup}");
    }

    public static void Put(Database database, RowAuthenticator authenticator, DateTimeOffset at) => database.Prepare("""
        INSERT INTO last_seen (id, at, mac_generation, encoding_version, row_code) VALUES (1, $1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET at = excluded.at, mac_generation = excluded.mac_generation,
            encoding_version = excluded.encoding_version, row_code = excluded.row_code
        """).BindAll(at.ToUnixTimeMilliseconds(), authenticator.Generation, RowEncoding.Version, authenticator.Code(Row(authenticator, at))).ExecuteOne();

    private static RowEncoding Row(RowAuthenticator authenticator, DateTimeOffset at) => authenticator.Row("last_seen").Add(at);
}
