using System.Collections.Immutable;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Kmsd.Notifications;

/// <summary>
/// Keeps each notice once for each principal that it concerns, in the transaction of what it tells; after the commit it goes
/// to those who listen, and to the journal. Numbers rise and are never used again, also after everything older was removed.
/// Of each day a row in the set vouches for them. For the writer alone.
/// </summary>
internal sealed class NoticeLog : IBatchParticipant
{
    /// <summary>How long a notice is kept.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromDays(90);

    /// <summary>The row of the cursors that belongs to no reader: the last number given out.</summary>
    public const string Nobody = "";

    private readonly Database _database;
    private readonly RowAuthenticator _authenticator;
    private readonly RowSet _rows;
    private readonly NoticeHub _hub;
    private readonly ILogger _log;
    private readonly List<(long Sequence, Notice Notice)> _staged = [];
    private ImmutableSortedDictionary<long, NoticeDay> _days;
    private ImmutableSortedDictionary<long, NoticeDay> _committedDays;
    private ImmutableSortedDictionary<long, NoticeDay> _markedDays;
    private long _committedLast;
    private long _last;
    private int _mark;

    public NoticeLog(Database database, RowAuthenticator authenticator, RowSet rows, NoticeHub hub, ILogger log)
    {
        _database = database;
        _authenticator = authenticator;
        _rows = rows;
        _hub = hub;
        _log = log;
        _committedLast = _last = ReadLast();
        _days = _committedDays = _markedDays = NoticeDay.ReadAll(database, authenticator).ToImmutableSortedDictionary(day => day.Day, day => day);
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
        NoticeDay day = _days.GetValueOrDefault(NoticeDay.Of(notice.At)) ?? NoticeDay.Empty(NoticeDay.Of(notice.At));
        foreach (Principal recipient in notice.Recipients)
        {
            RowEncoding row = NoticeRows.Notice(_authenticator, sequence, recipient.ToString(), notice.Describe(sequence));
            byte[] code = _authenticator.Code(row);
            day = day.With(row);
            _database.Prepare("""
                INSERT INTO notifications (sequence, principal, at, kind, tag, key_name, store, by, detail, mac_generation, encoding_version, row_code)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                """).BindAll(
                sequence, recipient.ToString(), notice.At.ToUnixTimeMilliseconds(), notice.Kind, notice.Tag?.ToBytes(), notice.KeyName, notice.Store,
                notice.By?.ToString(), notice.Detail, _authenticator.Generation, RowEncoding.Version, code).ExecuteOne();
        }

        _days = _days.SetItem(day.Day, day);

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

    /// <summary>Removes the days that are older than notices are kept.</summary>
    public void RemoveOld(DateTimeOffset now)
    {
        long first = NoticeDay.Of(now - Kept);
        foreach (NoticeDay day in _days.Values.TakeWhile(day => day.Day < first))
        {
            day.Delete(_database, _authenticator, _rows);
            _days = _days.Remove(day.Day);
        }
    }

    /// <summary>
    /// Codes notices anew under the current root generation, and once through with them the days and the cursors. What doesn't verify stays as it is.
    /// </summary>
    /// <param name="after">The row after which to begin.</param>
    /// <param name="most">How many rows to look at.</param>
    /// <returns>The last row that was looked at; null once there are no more.</returns>
    public long? Recode(long after, int most)
    {
        List<(long Row, string Principal, NotificationDescription? Notice)> found = [];
        _database.Prepare($"SELECT {NoticeRows.Columns}, rowid FROM notifications WHERE rowid > $1 ORDER BY rowid LIMIT $2").BindAll(after, most).Query(reader =>
            found.Add((
                reader.GetInt64(NoticeRows.ColumnCount), reader.GetString(1), NoticeRows.Verify(reader, _authenticator) is (NotificationDescription notice, true) ? notice : null)));
        foreach ((long row, string principal, NotificationDescription? notice) in found)
        {
            if (notice is not null)
            {
                _database.Prepare("UPDATE notifications SET mac_generation = $2, encoding_version = $3, row_code = $4 WHERE rowid = $1").BindAll(
                    row, _authenticator.Generation, RowEncoding.Version,
                    _authenticator.Code(NoticeRows.Notice(_authenticator, notice.Sequence, principal, notice))).ExecuteOne();
            }
        }

        if (found.Count == most)
        {
            return found[^1].Row;
        }

        foreach (NoticeDay day in _days.Values)
        {
            day.Put(_database, _authenticator, _rows);
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

    public void Mark() => (_mark, _markedDays) = (_staged.Count, _days);

    public void ReturnToMark()
    {
        _days = _markedDays;
        _staged.RemoveRange(_mark, _staged.Count - _mark);
        _last = _staged.Count > 0 ? _staged[^1].Sequence : _committedLast;
    }

    public void Flush(bool isFull)
    {
        if (_last != _committedLast)
        {
            PutCursor(Nobody, _last);
        }

        foreach (NoticeDay day in _days.Values.Where(day => !ReferenceEquals(day, _committedDays.GetValueOrDefault(day.Day))))
        {
            day.Put(_database, _authenticator, _rows);
        }
    }

    public void Commit()
    {
        foreach ((long sequence, Notice notice) in _staged)
        {
            NotificationsLog.Noticed(_log, sequence, notice);
            _hub.Publish(notice.Describe(sequence), notice.Recipients);
        }

        _staged.Clear();
        _committedLast = _last;
        _committedDays = _days;
    }

    public void Rollback()
    {
        _staged.Clear();
        _last = _committedLast;
        _days = _committedDays;
    }

    private void PutCursor(string reader, long sequence) => _database.Prepare("""
        INSERT INTO notification_cursors (reader, sequence, mac_generation, encoding_version, row_code) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (reader) DO UPDATE SET sequence = excluded.sequence, mac_generation = excluded.mac_generation,
            encoding_version = excluded.encoding_version, row_code = excluded.row_code
        """).BindAll(
        reader, sequence, _authenticator.Generation, RowEncoding.Version,
        _rows.Put(NoticeRows.Cursor(_authenticator, reader, sequence))).Execute();

    /// <summary>At least as high as every number that stands anywhere, whatever became of the row that says it.</summary>
    private long ReadLast() => _database.Prepare("""
        SELECT max(coalesce((SELECT max(sequence) FROM notification_cursors), 0), coalesce((SELECT max(sequence) FROM notifications), 0))
        """).QueryNumber();
}

/// <summary>How notices and cursors are encoded for their codes.</summary>
internal static class NoticeRows
{
    /// <summary>The columns of a notice, from the first on.</summary>
    public const string Columns = "sequence, principal, at, kind, tag, key_name, store, by, detail, mac_generation, encoding_version, row_code";

    /// <summary>How many <see cref="Columns"/> there are.</summary>
    public const int ColumnCount = 12;

    private const int CodeColumn = 9;

    /// <summary>A row of <see cref="Columns"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The time can't be.</exception>
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

    /// <summary>A row of <see cref="Columns"/>, and whether it is as it was written; null if it can't be read.</summary>
    public static (NotificationDescription? Notice, bool IsGood) Verify(SqliteDataReader reader, RowAuthenticator authenticator)
    {
        NotificationDescription notice;
        try
        {
            notice = Read(reader);
        }
        catch (ArgumentOutOfRangeException)
        {
            return (null, false);
        }

        return (notice, authenticator.Verify(Notice(authenticator, reader.GetInt64(0), reader.GetString(1), notice), reader.GetCode(CodeColumn)));
    }

    /// <summary>0 where there is none, and where somebody moved it on to hide what its reader hasn't seen: then all is shown again.</summary>
    public static long ReadCursor(Database database, RowAuthenticator authenticator, string reader)
    {
        long cursor = 0;
        database.Prepare("SELECT sequence, mac_generation, encoding_version, row_code FROM notification_cursors WHERE reader = $1").BindAll(reader).Query(row =>
            cursor = authenticator.Verify(Cursor(authenticator, reader, row.GetInt64(0)), row.GetCode(1)) ? row.GetInt64(0) : 0);
        return cursor;
    }

    public static RowEncoding Cursor(RowAuthenticator authenticator, string reader, long sequence) =>
        authenticator.Row("notification_cursors").Add(reader).EndId().Add(sequence);
}

internal static partial class NotificationsLog
{
    // A key may have as many holders as it has grants: a line names the first of them.
    private const int MostNamed = 5;

    public static void Noticed(ILogger log, long sequence, Notice notice)
    {
        string about = notice.Tag is KeyTag tag ? $": key {tag} '{notice.KeyName}' of store '{notice.Store}'" : "";
        string named = string.Join(", ", notice.Recipients.Take(MostNamed));
        string recipients = notice.Recipients.Count > MostNamed ? $"{named} and {notice.Recipients.Count - MostNamed} more" : named;
        Noticed(log, sequence, notice.Kind, about, recipients, notice.By?.ToString() ?? "kmsd", notice.Detail is null ? "" : $" {notice.Detail}");
    }

    [LoggerMessage(6001, LogLevel.Information, "Notice {Sequence} {Kind}{About}, to {Recipients}, by {By}.{Detail}")]
    private static partial void Noticed(ILogger log, long sequence, string kind, string about, string recipients, string by, string detail);

    [LoggerMessage(6002, LogLevel.Critical, "Notice {Sequence} for {Principal} doesn't match its authentication code; it isn't shown.")]
    public static partial void Bad(ILogger log, long sequence, string principal);

    [LoggerMessage(6004, LogLevel.Critical, "What {Reader} has acknowledged doesn't match its authentication code; all its notifications are shown again.")]
    public static partial void BadCursor(ILogger log, string reader);

    [LoggerMessage(6006, LogLevel.Critical, "The row that keeps the last notification's number doesn't match its authentication code; the next ones are numbered after the highest number that stands anywhere. The database was changed from outside.")]
    public static partial void BadLastNumber(ILogger log);

    [LoggerMessage(6005, LogLevel.Critical, "Notices of {Day} are missing, or were put in or exchanged. The database was changed from outside.")]
    public static partial void BadDay(ILogger log, string day);

    [LoggerMessage(6003, LogLevel.Warning, "{Caller} doesn't take its notifications; its connection is closed.")]
    public static partial void SlowSubscriber(ILogger log, string caller);
}
