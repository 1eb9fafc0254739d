using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.Hosting;
using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>
/// The record of every use and change: one row an entry, chained, with one sealed head row that each batch overwrites.
/// Appended to by the writer alone.
/// </summary>
internal sealed class HistoryLog : IBatchParticipant
{
    private const string InsertEntry = """
        INSERT INTO history (sequence, at, scope, store_id, tag, version, operation, principal, uid, pid, unit, outcome,
            detail, items, context_digest, salt, digest, link)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
        """;

    private const string UpdateHead = """
        UPDATE history_heads SET sequence = $1, link = $2, mac_generation = $3, encoding_version = $4, row_code = $5 WHERE id = 1
        """;

    private readonly Database _database;
    private readonly RowAuthenticator _authenticator;
    private readonly SecretBytes _key;
    private readonly RowEncoding _encoding = new();

    private Head _committed;
    private Head _staged;
    private Head _mark;

    /// <summary>Takes the chain up where the head row says it ends.</summary>
    /// <exception cref="StartupException">The head row doesn't verify, or the entries don't end where it says. Entries themselves are not read here.</exception>
    public HistoryLog(Database database, RowAuthenticator authenticator, SecretBytes historyKey)
    {
        _database = database;
        _authenticator = authenticator;
        _key = historyKey;
        _committed = _staged = _mark = ReadHead(database, authenticator);
    }

    /// <summary>Writes the head row of an empty history.</summary>
    public static void Begin(Database database, RowAuthenticator authenticator, ReadOnlySpan<byte> instanceId)
    {
        byte[] origin = HistoryChain.Origin(instanceId);
        byte[] code = authenticator.Code(HeadRow(authenticator, new Head(0, origin)));
        database.Prepare("""
            INSERT INTO history_heads (id, sequence, link, ratchet, epoch, set_root, mac_generation, encoding_version, row_code)
            VALUES (1, 0, $1, 0, 0, NULL, $2, $3, $4)
            """).BindAll(origin, authenticator.Generation, RowEncoding.Version, code).Execute();
    }

    /// <summary>Appends an entry to the batch that is being written.</summary>
    public void Append(HistoryEntry entry)
    {
        byte[] salt = RandomNumberGenerator.GetBytes(HistoryChain.SaltLength);
        byte[] digest = HistoryChain.Digest(salt, entry.Encode(_encoding).Bytes);
        long sequence = _staged.Sequence + 1;
        byte[] link;
        using (SecretLease lease = _key.Open())
        {
            link = HistoryChain.Link(lease.Bytes, _staged.Link, sequence, digest);
        }

        _database.Prepare(InsertEntry).BindAll(
            sequence, entry.At.ToUnixTimeMilliseconds(), entry.Scope, entry.StoreId, entry.Tag?.ToBytes(), entry.Version,
            entry.Operation, entry.Caller?.Primary.ToString(), (long?)entry.Caller?.Uid, (long?)entry.Caller?.ProcessId,
            entry.Caller?.Unit?.Text, entry.Outcome, entry.Detail, entry.Items, entry.ContextDigest, salt, digest, link).Execute();
        _staged = new Head(sequence, link);
    }

    public void Mark() => _mark = _staged;

    public void ReturnToMark() => _staged = _mark;

    public void Flush()
    {
        if (_staged.Sequence == _committed.Sequence)
        {
            return;
        }

        byte[] code = _authenticator.Code(HeadRow(_authenticator, _staged));
        _database.Prepare(UpdateHead).BindAll(
            _staged.Sequence, _staged.Link, _authenticator.Generation, RowEncoding.Version, code).ExecuteOne();
    }

    public void Commit() => _committed = _staged;

    public void Rollback() => _staged = _committed;

    private static Head ReadHead(Database database, RowAuthenticator authenticator)
    {
        Head? head = null;
        database.Prepare("SELECT sequence, link, mac_generation, encoding_version, row_code FROM history_heads WHERE id = 1 AND ratchet = 0 AND epoch = 0 AND set_root IS NULL")
            .Query(reader =>
            {
                var stored = new Head(reader.GetInt64(0), reader.GetBlob(1));
                head = authenticator.Verify(HeadRow(authenticator, stored), reader.GetCode(2)) ? stored : null;
            });
        Head verified = head ?? throw Broken("The head of the history doesn't verify");
        Head last = new(0, verified.Link);
        database.Prepare("SELECT sequence, link FROM history ORDER BY sequence DESC LIMIT 1")
            .Query(reader => last = new Head(reader.GetInt64(0), reader.GetBlob(1)));
        if (last.Sequence != verified.Sequence || !last.Link.AsSpan().SequenceEqual(verified.Link))
        {
            throw Broken("The history doesn't end where its head says");
        }

        return verified;
    }

    private static RowEncoding HeadRow(RowAuthenticator authenticator, Head head) =>
        authenticator.Row("history_heads").Add(head.Sequence).Add(head.Link).Add(0L).Add(0L).Add((byte[]?)null);

    private static StartupException Broken(string what) => new(
        ExitCode.Configuration, $"{what}: the database was changed from outside. Restore it from a backup.");

    private readonly record struct Head(long Sequence, byte[] Link);
}
