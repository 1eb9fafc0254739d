using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>
/// Up to which entry of the history the counters on the disk have counted, and what they are in all: so that a start can make
/// up for what they lack, and an older row put in place of a counter's shows. Its code covers the link of that entry, so that it is the
/// mark of this history alone, and of none that parted from it earlier.
/// </summary>
/// <param name="Sequence">Of the last use that is counted.</param>
/// <param name="Calls">Of all keys that are.</param>
/// <param name="Items">Of all their versions.</param>
internal readonly record struct UsageMark(long Sequence, long Calls, long Items)
{
    /// <exception cref="StartupException">78: the row doesn't verify.</exception>
    public static UsageMark Read(Database database, RowAuthenticator authenticator)
    {
        UsageMark? found = null;
        database.Prepare("SELECT sequence, calls, items, mac_generation, encoding_version, row_code FROM usage_mark WHERE id = 1").Query(reader =>
        {
            UsageMark mark = new(reader.GetInt64(0), reader.GetInt64(1), reader.GetInt64(2));
            found = authenticator.Verify(mark.Row(database, authenticator), reader.GetCode(3)) ? mark : null;
        });
        return found ?? throw new StartupException(
            ExitCode.Configuration, $"The mark of the counters doesn't verify: the database was changed from outside. {StartupException.RestoreBackup}");
    }

    public void Put(Database database, RowAuthenticator authenticator) => database.Prepare("""
        INSERT INTO usage_mark (id, sequence, calls, items, mac_generation, encoding_version, row_code) VALUES (1, $1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, calls = excluded.calls, items = excluded.items,
            mac_generation = excluded.mac_generation, encoding_version = excluded.encoding_version, row_code = excluded.row_code
        """).BindAll(Sequence, Calls, Items, authenticator.Generation, RowEncoding.Version, authenticator.Code(Row(database, authenticator))).ExecuteOne();

    private RowEncoding Row(Database database, RowAuthenticator authenticator) =>
        authenticator.Row("usage_mark").Add(Sequence).Add(Calls).Add(Items).Add(HistoryHead.FindLink(database, Sequence, []));
}
