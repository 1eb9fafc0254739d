using Kmsd.Hosting;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.RootKeys;

/// <summary>Who holds a share of a root generation, on what and where. Nothing of the share itself.</summary>
/// <param name="Generation">Of the root key.</param>
/// <param name="Member">From 1.</param>
/// <param name="Custodian">Whose it is.</param>
/// <param name="Medium">What it is written on.</param>
/// <param name="MediumSerial">Which one.</param>
/// <param name="Seal">The number of the bag's seal.</param>
/// <param name="Safe">In which it lies.</param>
/// <param name="Site">Where that is.</param>
/// <param name="RecordedAt">When these facts were recorded.</param>
/// <param name="VerifiedAt">When it was last proven to be a share of this generation.</param>
internal sealed record StoredShare(
    long Generation, long Member, string Custodian, string Medium, string MediumSerial, string Seal, string Safe, string Site,
    DateTimeOffset RecordedAt, DateTimeOffset VerifiedAt)
{
    /// <summary>Adds the row, or replaces what it said.</summary>
    public void Put(Database database, RowAuthenticator authenticator, RowSet rows) => database.Prepare("""
        INSERT INTO root_shares (generation, member, custodian, medium, medium_serial, seal, safe, site, recorded_at, verified_at,
            mac_generation, encoding_version, row_code)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        ON CONFLICT (generation, member) DO UPDATE SET custodian = excluded.custodian, medium = excluded.medium,
            medium_serial = excluded.medium_serial, seal = excluded.seal, safe = excluded.safe, site = excluded.site,
            recorded_at = excluded.recorded_at, verified_at = excluded.verified_at,
            mac_generation = excluded.mac_generation, encoding_version = excluded.encoding_version, row_code = excluded.row_code
        """).BindAll(
        Generation, Member, Custodian, Medium, MediumSerial, Seal, Safe, Site, RecordedAt.ToUnixTimeMilliseconds(), VerifiedAt.ToUnixTimeMilliseconds(),
        authenticator.Generation, RowEncoding.Version, rows.Put(Row(authenticator))).ExecuteOne();

    /// <summary>Removes the row; its generation is gone.</summary>
    public void Delete(Database database, RowAuthenticator authenticator, RowSet rows)
    {
        database.Prepare("DELETE FROM root_shares WHERE generation = $1 AND member = $2").BindAll(Generation, Member).ExecuteOne();
        rows.Remove(Row(authenticator));
    }

    /// <summary>All shares with their rows' codes, by generation and number.</summary>
    public static IReadOnlyList<(StoredShare Share, StoredCode Code)> ReadAll(Database database)
    {
        List<(StoredShare, StoredCode)> found = [];
        database.Prepare("""
            SELECT generation, member, custodian, medium, medium_serial, seal, safe, site, recorded_at, verified_at,
                mac_generation, encoding_version, row_code
            FROM root_shares ORDER BY generation, member
            """).Query(reader => found.Add((Read(reader), reader.GetCode(10))));
        return found;
    }

    /// <exception cref="StartupException">78: a row was changed from outside.</exception>
    public static IReadOnlyList<StoredShare> ReadVerified(Database database, RowAuthenticator authenticator)
    {
        List<StoredShare> verified = [];
        foreach ((StoredShare share, StoredCode code) in ReadAll(database))
        {
            verified.Add(authenticator.Verify(share.Row(authenticator), code)
                ? share
                : throw new StartupException(
                    ExitCode.Configuration,
                    $"The database's row of share {share.Member} of root generation {share.Generation} doesn't verify: it was changed from outside. {StartupException.RestoreBackup}"));
        }

        return verified;
    }

    private static StoredShare Read(SqliteDataReader reader) => new(
        reader.GetInt64(0), reader.GetInt64(1), reader.GetString(2), reader.GetString(3), reader.GetString(4), reader.GetString(5),
        reader.GetString(6), reader.GetString(7), reader.GetTime(8), reader.GetTime(9));

    private RowEncoding Row(RowAuthenticator authenticator) => authenticator.Row("root_shares")
        .Add(Generation).Add(Member).EndId().Add(Custodian).Add(Medium).Add(MediumSerial).Add(Seal).Add(Safe).Add(Site)
        .Add(RecordedAt).Add(VerifiedAt);
}
