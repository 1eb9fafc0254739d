using System.Security.Cryptography;
using Kmsd.History;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.Recovery;

/// <summary>What a backup says of itself: one row in a table of its own, coded as every row is.</summary>
/// <param name="CreatedAt">When the copy was made.</param>
/// <param name="Lineage">The database's, then.</param>
/// <param name="Set">The rows that decide something, and their epoch.</param>
/// <param name="History">Where the history ends.</param>
/// <param name="Entries">How many entries it has.</param>
/// <param name="Rows">How many rows all other tables have.</param>
/// <param name="Content">SHA-256 over all rows of all other tables. The history proves itself by its chain.</param>
internal sealed record BackupManifest(
    DateTimeOffset CreatedAt, byte[] Lineage, SetState Set, HistoryHead History, long Entries, long Rows, byte[] Content)
{
    private const string Table = "backup_manifest";

    /// <summary>Reads a copy; null if its head doesn't verify.</summary>
    public static BackupManifest? Measure(Database copy, RowAuthenticator authenticator, DateTimeOffset now)
    {
        if (HistoryHead.ReadRow(copy, authenticator) is not (HistoryHead head, SetState set))
        {
            return null;
        }

        (long rows, byte[] content) = Digest(copy);
        return new BackupManifest(
            DateTimeOffset.FromUnixTimeMilliseconds(now.ToUnixTimeMilliseconds()), Instance.Read(copy).Instance.Lineage, set, head,
            copy.Prepare("SELECT count(*) FROM history").QueryNumber(), rows, content);
    }

    public void Insert(Database copy, RowAuthenticator authenticator) => copy.Prepare("""
        INSERT INTO backup_manifest (id, created_at, lineage, epoch, set_root, sequence, link, entries, rows, content, mac_generation,
            encoding_version, row_code)
        VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """).BindAll(
        CreatedAt.ToUnixTimeMilliseconds(), Lineage, Set.Epoch, Set.Root, History.Sequence, History.Link, Entries, Rows, Content,
        authenticator.Generation, RowEncoding.Version, authenticator.Code(Row(authenticator))).ExecuteOne();

    /// <summary>The row; null if there is none, or it doesn't verify.</summary>
    public static BackupManifest? Read(Database backup, RowAuthenticator authenticator)
    {
        BackupManifest? manifest = null;
        backup.Prepare("""
            SELECT created_at, lineage, epoch, set_root, sequence, link, entries, rows, content, mac_generation, encoding_version, row_code
            FROM backup_manifest WHERE id = 1
            """).Query(reader =>
            {
                BackupManifest stored = new(
                    reader.GetTime(0), reader.GetBlob(1), new SetState(reader.GetInt64(2), reader.GetBlob(3)),
                    new HistoryHead(reader.GetInt64(4), reader.GetBlob(5)), reader.GetInt64(6), reader.GetInt64(7), reader.GetBlob(8));
                manifest = authenticator.Verify(stored.Row(authenticator), reader.GetCode(9)) ? stored : null;
            });
        return manifest;
    }

    /// <summary>What of it isn't as it says, for a person; null if all is.</summary>
    /// <param name="backup">Read again as a whole, but for the links of its history.</param>
    /// <param name="authenticator">Verifies its rows.</param>
    public string? FindDifference(Database backup, RowAuthenticator authenticator)
    {
        BackupManifest? measured = Measure(backup, authenticator, CreatedAt);
        return measured is null ? "the head of its history doesn't verify"
            : !measured.Lineage.AsSpan().SequenceEqual(Lineage) ? "it is of another lineage"
            : !measured.Set.IsSameAs(Set) ? "it holds other rows"
            : measured.History.Sequence != History.Sequence || !measured.History.Link.AsSpan().SequenceEqual(History.Link) || measured.Entries != Entries
                ? "its history ends elsewhere"
            : measured.Rows != Rows || !measured.Content.AsSpan().SequenceEqual(Content) ? "rows were changed"
            : null;
    }

    private static (long Rows, byte[] Content) Digest(Database copy)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        RowEncoding encoding = new();
        long rows = 0;
        foreach (string table in copy.ReadTables().Where(name => name is not (Table or "history")))
        {
            copy.Prepare($"SELECT * FROM {table} ORDER BY rowid").Query(reader =>
            {
                rows++;
                hash.AppendData(Encode(encoding.Start(table), reader).Bytes);
            });
        }

        return (rows, hash.GetHashAndReset());
    }

    private static RowEncoding Encode(RowEncoding row, SqliteDataReader reader)
    {
        for (int column = 0; column < reader.FieldCount; column++)
        {
            // The tables are STRICT: nothing else is stored.
            _ = reader.GetValue(column) switch
            {
                DBNull => row.Add((byte[]?)null),
                long number => row.Add(number),
                string text => row.Add(text),
                object value => row.Add((byte[])value),
            };
        }

        return row;
    }

    private RowEncoding Row(RowAuthenticator authenticator) => authenticator.Row(Table).Add(CreatedAt).Add(Lineage).Add(Set.Epoch).Add(Set.Root)
        .Add(History.Sequence).Add(History.Link).Add(Entries).Add(Rows).Add(Content);
}
