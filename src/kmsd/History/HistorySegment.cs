using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>The part of the history that the mac key of one root generation links.</summary>
/// <param name="Generation">The root generation.</param>
/// <param name="First">The number of its first entry.</param>
/// <param name="Last">Of its last; null while it goes on.</param>
/// <param name="Checkpoint">
/// Once the generation is retired, what vouches for the segment in place of its key: SHA-256 over the digest and the link of
/// each of its entries.
/// </param>
internal sealed record HistorySegment(long Generation, long First, long? Last = null, byte[]? Checkpoint = null)
{
    /// <summary>All of them, in order, and their codes verified.</summary>
    /// <exception cref="StartupException">78: a row doesn't verify, or they don't follow each other.</exception>
    public static IReadOnlyList<HistorySegment> ReadAll(Database database, RowAuthenticator authenticator)
    {
        List<HistorySegment> segments = [];
        bool isGood = true;
        database.Prepare("""
            SELECT generation, first_sequence, last_sequence, checkpoint, mac_generation, encoding_version, row_code
            FROM history_segments ORDER BY first_sequence
            """).Query(reader =>
            {
                HistorySegment segment = new(reader.GetInt64(0), reader.GetInt64(1), reader.GetNumberOrNull(2), reader.GetBlobOrNull(3));
                long expected = segments.Count == 0 ? 1 : segments[^1].Last + 1 ?? 0;
                isGood &= authenticator.Verify(segment.Row(authenticator), reader.GetCode(4)) && segment.First == expected;
                segments.Add(segment);
            });
        return isGood && segments.Count > 0 && segments[^1].Last is null
            ? segments
            : throw new StartupException(
                ExitCode.Configuration, $"The segments of the history don't verify: the database was changed from outside. {StartupException.RestoreBackup}");
    }

    /// <summary>Adds the row, or replaces what it said.</summary>
    public void Put(Database database, RowAuthenticator authenticator, RowSet rows) => database.Prepare("""
        INSERT INTO history_segments (generation, first_sequence, last_sequence, checkpoint, mac_generation, encoding_version, row_code)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (generation) DO UPDATE SET first_sequence = excluded.first_sequence, last_sequence = excluded.last_sequence,
            checkpoint = excluded.checkpoint, mac_generation = excluded.mac_generation, encoding_version = excluded.encoding_version,
            row_code = excluded.row_code
        """).BindAll(
        Generation, First, Last, Checkpoint, authenticator.Generation, RowEncoding.Version, rows.Put(Row(authenticator))).ExecuteOne();

    private RowEncoding Row(RowAuthenticator authenticator) =>
        authenticator.Row("history_segments").Add(Generation).EndId().Add(First).Add(Last).Add(Checkpoint);
}
