using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>Where the history ends: the number and the link of its last entry. One coded row, which each commit overwrites.</summary>
internal readonly record struct HistoryHead(long Sequence, byte[] Link)
{
    private const string UpdateRow = """
        UPDATE history_heads SET sequence = $1, link = $2, mac_generation = $3, encoding_version = $4, row_code = $5 WHERE id = 1
        """;

    /// <summary>Writes the row of an empty history.</summary>
    public static void Insert(Database database, RowAuthenticator authenticator, ReadOnlySpan<byte> instanceId)
    {
        HistoryHead head = new(0, HistoryChain.Origin(instanceId));
        database.Prepare("""
            INSERT INTO history_heads (id, sequence, link, ratchet, epoch, set_root, mac_generation, encoding_version, row_code)
            VALUES (1, 0, $1, 0, 0, NULL, $2, $3, $4)
            """).BindAll(head.Link, authenticator.Generation, RowEncoding.Version, authenticator.Code(head.Row(authenticator))).Execute();
    }

    public void Update(Database database, RowAuthenticator authenticator) => database.Prepare(UpdateRow).BindAll(
        Sequence, Link, authenticator.Generation, RowEncoding.Version, authenticator.Code(Row(authenticator))).ExecuteOne();

    /// <summary>The row, verified, and the last entry compared with it. Other entries are not read here.</summary>
    /// <exception cref="StartupException">78: the row doesn't verify, or the entries don't end where it says.</exception>
    public static HistoryHead Read(Database database, RowAuthenticator authenticator)
    {
        HistoryHead verified = ReadRow(database, authenticator) ?? throw Broken("The head of the history doesn't verify");
        HistoryHead last = new(0, verified.Link);
        database.Prepare("SELECT sequence, link FROM history ORDER BY sequence DESC LIMIT 1")
            .Query(reader => last = new HistoryHead(reader.GetInt64(0), reader.GetBlob(1)));
        return last.Sequence == verified.Sequence && last.Link.AsSpan().SequenceEqual(verified.Link)
            ? verified
            : throw Broken("The history doesn't end where its head says");
    }

    /// <summary>An entry's number and link as they stand; of 0 what the first entry links to.</summary>
    public static HistoryHead Of(Database database, long sequence, ReadOnlySpan<byte> instanceId)
    {
        HistoryHead found = new(sequence, sequence == 0 ? HistoryChain.Origin(instanceId) : []);
        database.Prepare("SELECT link FROM history WHERE sequence = $1").BindAll(sequence).Query(reader => found = new HistoryHead(sequence, reader.GetBlob(0)));
        return found;
    }

    /// <summary>The row; null if it doesn't verify.</summary>
    public static HistoryHead? ReadRow(Database database, RowAuthenticator authenticator)
    {
        HistoryHead? head = null;
        database.Prepare("SELECT sequence, link, mac_generation, encoding_version, row_code FROM history_heads WHERE id = 1 AND ratchet = 0 AND epoch = 0 AND set_root IS NULL")
            .Query(reader =>
            {
                var stored = new HistoryHead(reader.GetInt64(0), reader.GetBlob(1));
                head = authenticator.Verify(stored.Row(authenticator), reader.GetCode(2)) ? stored : null;
            });
        return head;
    }

    private RowEncoding Row(RowAuthenticator authenticator) =>
        authenticator.Row("history_heads").Add(Sequence).Add(Link).Add(0L).Add(0L).Add((byte[]?)null);

    private static StartupException Broken(string what) => new(
        ExitCode.Configuration, $"{what}: the database was changed from outside. Restore it from a backup.");
}
