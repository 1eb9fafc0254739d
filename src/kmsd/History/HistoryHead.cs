using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>Where the history ends: the number and the link of its last entry. One coded row, which each commit overwrites.</summary>
internal readonly record struct HistoryHead(long Sequence, byte[] Link)
{
    private const string UpdateRow = """
        UPDATE history_heads SET sequence = $1, link = $2, epoch = $3, set_root = $4, mac_generation = $5, encoding_version = $6, row_code = $7
        WHERE id = 1
        """;

    /// <summary>Writes the row of an empty history.</summary>
    public static void Insert(Database database, RowAuthenticator authenticator, SetState set, ReadOnlySpan<byte> instanceId)
    {
        HistoryHead head = new(0, HistoryChain.Origin(instanceId));
        database.Prepare("""
            INSERT INTO history_heads (id, sequence, link, epoch, set_root, mac_generation, encoding_version, row_code)
            VALUES (1, 0, $1, $2, $3, $4, $5, $6)
            """).BindAll(
            head.Link, set.Epoch, set.Root, authenticator.Generation, RowEncoding.Version, authenticator.Code(head.Row(authenticator, set))).Execute();
    }

    /// <summary>Writes the row: where the history ends, and which set of rows there is.</summary>
    public void Update(Database database, RowAuthenticator authenticator, SetState set) => database.Prepare(UpdateRow).BindAll(
        Sequence, Link, set.Epoch, set.Root, authenticator.Generation, RowEncoding.Version, authenticator.Code(Row(authenticator, set))).ExecuteOne();

    /// <summary>The row, verified, and the last entry compared with it. Other entries are not read here.</summary>
    /// <exception cref="StartupException">78: the row doesn't verify, or the entries don't end where it says.</exception>
    public static (HistoryHead Head, SetState Set) Read(Database database, RowAuthenticator authenticator)
    {
        (HistoryHead verified, SetState set) = ReadRow(database, authenticator) ?? throw Broken("The head of the history doesn't verify");
        HistoryHead last = new(0, verified.Link);
        database.Prepare("SELECT sequence, link FROM history ORDER BY sequence DESC LIMIT 1")
            .Query(reader => last = new HistoryHead(reader.GetInt64(0), reader.GetBlob(1)));
        return last.Sequence == verified.Sequence && last.Link.AsSpan().SequenceEqual(verified.Link)
            ? (verified, set)
            : throw Broken("The history doesn't end where its head says");
    }

    /// <summary>An entry's number and link as they stand; of 0 what the first entry links to.</summary>
    public static HistoryHead Of(Database database, long sequence, ReadOnlySpan<byte> instanceId) =>
        new HistoryHead(sequence, FindLink(database, sequence, instanceId) ?? []);

    /// <summary>An entry's link as it stands, of 0 what the first entry links to; null if there is no such entry.</summary>
    public static byte[]? FindLink(Database database, long sequence, ReadOnlySpan<byte> instanceId)
    {
        byte[]? link = sequence == 0 ? HistoryChain.Origin(instanceId) : null;
        database.Prepare("SELECT link FROM history WHERE sequence = $1").BindAll(sequence).Query(reader => link = reader.GetBlob(0));
        return link;
    }

    /// <summary>The row; null if it doesn't verify.</summary>
    public static (HistoryHead Head, SetState Set)? ReadRow(Database database, RowAuthenticator authenticator)
    {
        (HistoryHead, SetState)? head = null;
        database.Prepare("SELECT sequence, link, epoch, set_root, mac_generation, encoding_version, row_code FROM history_heads WHERE id = 1")
            .Query(reader =>
            {
                HistoryHead stored = new(reader.GetInt64(0), reader.GetBlob(1));
                SetState set = new(reader.GetInt64(2), reader.GetBlob(3));
                head = authenticator.Verify(stored.Row(authenticator, set), reader.GetCode(4)) ? (stored, set) : null;
            });
        return head;
    }

    private RowEncoding Row(RowAuthenticator authenticator, SetState set) =>
        authenticator.Row("history_heads").Add(Sequence).Add(Link).Add(set.Epoch).Add(set.Root);

    private static StartupException Broken(string what) => new(
        ExitCode.Configuration, $"{what}: the database was changed from outside. {StartupException.RestoreBackup}");
}
