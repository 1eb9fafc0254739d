using System.Security.Cryptography;
using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.Notifications;

/// <summary>
/// What vouches for the notices of one day (UTC), as a whole: none of them can be taken away, put in or exchanged. A row of its own, in the
/// set; so the set needn't hold every notice, of which there may be hundreds of thousands.
/// </summary>
/// <param name="Day">Since 1 January 1970.</param>
/// <param name="Notices">How many rows there are.</param>
/// <param name="Digest">SHA-256 over the digest before and the SHA-256 of the row, for each of them in the order in which they were written; first over zeros.</param>
internal sealed record NoticeDay(long Day, long Notices, byte[] Digest)
{
    public const string Columns = "day, notices, digest, mac_generation, encoding_version, row_code";

    private const long MillisecondsADay = 86_400_000;

    public static long Of(DateTimeOffset time) => Math.DivRem(time.ToUnixTimeMilliseconds(), MillisecondsADay).Quotient;

    /// <summary>Where a day begins, as times are stored.</summary>
    public static long BeginningOf(long day) => day * MillisecondsADay;

    public static NoticeDay Empty(long day) => new(day, 0, new byte[SHA256.HashSizeInBytes]);

    /// <summary>With one more.</summary>
    public NoticeDay With(RowEncoding notice)
    {
        Span<byte> text = stackalloc byte[SHA256.HashSizeInBytes * 2];
        Digest.CopyTo(text);
        _ = SHA256.HashData(notice.Bytes, text[SHA256.HashSizeInBytes..]);
        return this with { Notices = Notices + 1, Digest = SHA256.HashData(text) };
    }

    public bool IsSameAs(NoticeDay other) => Day == other.Day && Notices == other.Notices && Digest.AsSpan().SequenceEqual(other.Digest);

    /// <summary>All of them.</summary>
    /// <exception cref="StartupException">78: one doesn't verify.</exception>
    public static IReadOnlyList<NoticeDay> ReadAll(Database database, RowAuthenticator authenticator)
    {
        List<NoticeDay> days = [];
        bool isGood = true;
        database.Prepare($"SELECT {Columns} FROM notification_days").Query(reader =>
        {
            NoticeDay day = new(reader.GetInt64(0), reader.GetInt64(1), reader.GetBlob(2));
            isGood &= authenticator.Verify(day.Row(authenticator), reader.GetCode(3)) && day.Digest.Length == SHA256.HashSizeInBytes;
            days.Add(day);
        });
        return isGood
            ? days
            : throw new StartupException(
                ExitCode.Configuration, $"What vouches for the notifications doesn't verify: the database was changed from outside. {StartupException.RestoreBackup}");
    }

    public void Put(Database database, RowAuthenticator authenticator, RowSet rows) => database.Prepare($"""
        INSERT INTO notification_days ({Columns}) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (day) DO UPDATE SET notices = excluded.notices, digest = excluded.digest, mac_generation = excluded.mac_generation,
            encoding_version = excluded.encoding_version, row_code = excluded.row_code
        """).BindAll(Day, Notices, Digest, authenticator.Generation, RowEncoding.Version, rows.Put(Row(authenticator))).ExecuteOne();

    /// <summary>With its notices.</summary>
    public void Delete(Database database, RowAuthenticator authenticator, RowSet rows)
    {
        database.Prepare("DELETE FROM notification_days WHERE day = $1").BindAll(Day).ExecuteOne();
        database.Prepare("DELETE FROM notifications WHERE at >= $1 AND at < $2").BindAll(BeginningOf(Day), BeginningOf(Day + 1)).Execute();
        rows.Remove(Row(authenticator));
    }

    private RowEncoding Row(RowAuthenticator authenticator) => authenticator.Row("notification_days").Add(Day).EndId().Add(Notices).Add(Digest);
}
