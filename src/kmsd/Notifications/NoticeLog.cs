using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Kmsd.Notifications;

/// <summary>
/// Keeps each notice once for each principal that it concerns, in the transaction of what it tells; after the commit it goes
/// to those who listen, and to the journal. Numbers rise and are never used again, also after everything older was removed.
/// For the writer alone.
/// </summary>
internal sealed class NoticeLog : IBatchParticipant
{
    /// <summary>How long a notice is kept.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromDays(90);

    // The row of the cursors that belongs to no reader: the last number given out.
    private const string Nobody = "";

    private readonly Database _database;
    private readonly RowAuthenticator _authenticator;
    private readonly NoticeHub _hub;
    private readonly ILogger _log;
    private readonly List<(long Sequence, Notice Notice)> _staged = [];
    private long _committedLast;
    private long _last;
    private int _mark;

    public NoticeLog(Database database, RowAuthenticator authenticator, NoticeHub hub, ILogger log)
    {
        _database = database;
        _authenticator = authenticator;
        _hub = hub;
        _log = log;
        _committedLast = _last = ReadLast();
    }

    /// <summary>The last number given out.</summary>
    public long LastNumber => _last;

    /// <summary>Adds a notice to the batch that is being written; one that concerns nobody is none.</summary>
    public void Append(Notice notice)
    {
        if (notice.Recipients.Count == 0)
        {
            return;
        }

        long sequence = ++_last;
        foreach (Principal recipient in notice.Recipients)
        {
            _database.Prepare("""
                INSERT INTO notifications (sequence, principal, at, kind, tag, key_name, store, by, detail, mac_generation, encoding_version, row_code)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                """).BindAll(
                sequence, recipient.ToString(), notice.At.ToUnixTimeMilliseconds(), notice.Kind, notice.Tag?.ToBytes(), notice.KeyName, notice.Store,
                notice.By?.ToString(), notice.Detail, _authenticator.Generation, RowEncoding.Version,
                _authenticator.Code(NoticeRows.Notice(_authenticator, sequence, recipient.ToString(), notice.Describe(sequence)))).ExecuteOne();
        }

        _staged.Add((sequence, notice));
    }

    /// <summary>Notes up to where a reader has seen what concerned him. It never goes back.</summary>
    public void Acknowledge(string reader, long upTo)
    {
        if (upTo > NoticeRows.ReadCursor(_database, _authenticator, reader))
        {
            PutCursor(reader, upTo);
        }
    }

    /// <summary>Removes what is older than it is kept.</summary>
    public void RemoveOld(DateTimeOffset now) => _database.Prepare("DELETE FROM notifications WHERE at < $1")
        .BindAll((now - Kept).ToUnixTimeMilliseconds()).Execute();

    /// <summary>
    /// Codes notices anew under the current root generation, and once through with them the cursors. What doesn't verify stays as it is.
    /// </summary>
    /// <param name="after">The row after which to begin.</param>
    /// <param name="most">How many rows to look at.</param>
    /// <returns>The last row that was looked at; null once there are no more.</returns>
    public long? Recode(long after, int most)
    {
        List<(long Row, string Principal, NotificationDescription Notice, StoredCode Code)> found = [];
        _database.Prepare("""
            SELECT sequence, principal, at, kind, tag, key_name, store, by, detail, mac_generation, encoding_version, row_code, rowid
            FROM notifications WHERE rowid > $1 ORDER BY rowid LIMIT $2
            """).BindAll(after, most).Query(reader => found.Add((reader.GetInt64(12), reader.GetString(1), NoticeRows.Read(reader), reader.GetCode(9))));
        foreach ((long row, string principal, NotificationDescription notice, StoredCode code) in found)
        {
            RowEncoding encoding() => NoticeRows.Notice(_authenticator, notice.Sequence, principal, notice);
            if (_authenticator.Verify(encoding(), code))
            {
                _database.Prepare("UPDATE notifications SET mac_generation = $2, encoding_version = $3, row_code = $4 WHERE rowid = $1").BindAll(
                    row, _authenticator.Generation, RowEncoding.Version, _authenticator.Code(encoding())).ExecuteOne();
            }
        }

        if (found.Count == most)
        {
            return found[^1].Row;
        }

        List<string> readers = [];
        _database.Prepare("SELECT reader FROM notification_cursors").Query(reader => readers.Add(reader.GetString(0)));
        foreach (string reader in readers)
        {
            // The one that belongs to nobody says more than its code: it never goes back.
            PutCursor(reader, reader == Nobody ? _last : NoticeRows.ReadCursor(_database, _authenticator, reader));
        }

        return null;
    }

    public void Mark() => _mark = _staged.Count;

    public void ReturnToMark()
    {
        _staged.RemoveRange(_mark, _staged.Count - _mark);
        _last = _staged.Count > 0 ? _staged[^1].Sequence : _committedLast;
    }

    public void Flush(bool isFull)
    {
        if (_last != _committedLast)
        {
            PutCursor(Nobody, _last);
        }
    }

    public void Commit()
    {
        foreach ((long sequence, Notice notice) in _staged)
        {
            NotificationsLog.Noticed(
                _log, sequence, notice.Kind, notice.Tag?.Text ?? "-", notice.KeyName ?? "-", notice.Store ?? "-", notice.Recipients.Count,
                notice.By?.ToString() ?? "kmsd", notice.Detail ?? "");
            _hub.Publish(notice.Describe(sequence), notice.Recipients);
        }

        _staged.Clear();
        _committedLast = _last;
    }

    public void Rollback()
    {
        _staged.Clear();
        _last = _committedLast;
    }

    private void PutCursor(string reader, long sequence) => _database.Prepare("""
        INSERT INTO notification_cursors (reader, sequence, mac_generation, encoding_version, row_code) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (reader) DO UPDATE SET sequence = excluded.sequence, mac_generation = excluded.mac_generation,
            encoding_version = excluded.encoding_version, row_code = excluded.row_code
        """).BindAll(
        reader, sequence, _authenticator.Generation, RowEncoding.Version,
        _authenticator.Code(NoticeRows.Cursor(_authenticator, reader, sequence))).Execute();

    /// <summary>At least as high as every number that stands anywhere, whatever became of the row that says it.</summary>
    private long ReadLast() => _database.Prepare("""
        SELECT max(coalesce((SELECT max(sequence) FROM notification_cursors), 0), coalesce((SELECT max(sequence) FROM notifications), 0))
        """).QueryNumber();
}

/// <summary>How notices and cursors are encoded for their codes.</summary>
internal static class NoticeRows
{
    /// <summary>A row: sequence, principal, at, kind, tag, key_name, store, by, detail.</summary>
    public static NotificationDescription Read(SqliteDataReader reader) => new()
    {
        Sequence = reader.GetInt64(0),
        At = reader.GetTime(2),
        Kind = reader.GetString(3),
        Key = reader.GetBlobOrNull(4) is byte[] tag ? Convert.ToHexStringLower(tag) : null,
        KeyName = reader.GetTextOrNull(5),
        Store = reader.GetTextOrNull(6),
        By = reader.GetTextOrNull(7),
        Detail = reader.GetTextOrNull(8),
    };

    public static RowEncoding Notice(RowAuthenticator authenticator, long sequence, string principal, NotificationDescription notice) =>
        authenticator.Row("notifications").Add(sequence).Add(principal).Add(notice.At).Add(notice.Kind).Add(notice.Key)
            .Add(notice.KeyName).Add(notice.Store).Add(notice.By).Add(notice.Detail);

    /// <summary>0 where there is none, and where somebody moved it on to hide what its reader hasn't seen: then all is shown again.</summary>
    public static long ReadCursor(Database database, RowAuthenticator authenticator, string reader)
    {
        long cursor = 0;
        database.Prepare("SELECT sequence, mac_generation, encoding_version, row_code FROM notification_cursors WHERE reader = $1").BindAll(reader).Query(row =>
            cursor = authenticator.Verify(Cursor(authenticator, reader, row.GetInt64(0)), row.GetCode(1)) ? row.GetInt64(0) : 0);
        return cursor;
    }

    public static RowEncoding Cursor(RowAuthenticator authenticator, string reader, long sequence) =>
        authenticator.Row("notification_cursors").Add(reader).Add(sequence);
}

internal static partial class NotificationsLog
{
    [LoggerMessage(6001, LogLevel.Information, "Notice {Sequence} {Kind}: key {Tag} '{KeyName}' of store '{Store}', to {Recipients} principals, by {By}. {Detail}")]
    public static partial void Noticed(
        ILogger log, long sequence, string kind, string tag, string keyName, string store, int recipients, string by, string detail);

    [LoggerMessage(6002, LogLevel.Critical, "Notice {Sequence} for {Principal} doesn't match its authentication code; it isn't shown.")]
    public static partial void Bad(ILogger log, long sequence, string principal);

    [LoggerMessage(6003, LogLevel.Warning, "{Caller} doesn't take its notifications; its connection is closed.")]
    public static partial void SlowSubscriber(ILogger log, string caller);
}
