using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Notifications;

/// <summary>
/// Looks whether every notice, and every reader's mark, is as it was written, and whether the notices of each day are those that its row
/// vouches for; in pieces, beside whatever is told and removed meanwhile.
/// </summary>
internal sealed class ProveNotices(DatabaseReader database, RowAuthenticator authenticator, TimeProvider clock, ILogger<ProveNotices> log)
{
    // Each of these is a line of the journal; how many there are in all is in the status.
    private const int MostTold = 20;

    private long _bad;

    /// <summary>How many notices, days of notices and marks weren't as they were written, by the last look that came to its end.</summary>
    public long Bad => Interlocked.Read(ref _bad);

    /// <param name="rowsAtOnce">How many rows a piece has.</param>
    /// <param name="rest">How long to rest after each piece, in times of what it took.</param>
    /// <param name="cancellationToken">Ends it after a piece.</param>
    public async Task RunAsync(int rowsAtOnce, int rest, CancellationToken cancellationToken)
    {
        Look look = new(authenticator, log);
        bool isMore = true;
        while (isMore)
        {
            TimeSpan took = TimeSpan.Zero;
            isMore = await database.ReadAsync(
                from =>
                {
                    long began = clock.GetTimestamp();
                    bool goesOn = look.ReadPage(from, rowsAtOnce);
                    took = clock.GetElapsedTime(began);
                    return goesOn;
                },
                cancellationToken);
            if (isMore && rest > 0)
            {
                await Task.Delay(took * rest, clock, cancellationToken);
            }
        }

        _ = Interlocked.Exchange(ref _bad, look.Bad);
    }

    /// <summary>One that is under way.</summary>
    private sealed class Look(RowAuthenticator authenticator, ILogger log)
    {
        private readonly Dictionary<long, NoticeDay> _days = [];
        private readonly HashSet<long> _explained = [];
        private long _last;

        public long Bad { get; private set; }

        /// <summary>False after the last page; with it, in the same snapshot, the days and the marks are looked at.</summary>
        public bool ReadPage(Database from, int most)
        {
            int rows = 0;
            from.Prepare($"SELECT {NoticeRows.Columns}, rowid FROM notifications WHERE rowid > $1 ORDER BY rowid LIMIT $2").BindAll(_last, most).Query(reader =>
            {
                rows++;
                _last = reader.GetInt64(NoticeRows.ColumnCount);
                (NotificationDescription? notice, bool isGood) = NoticeRows.Verify(reader, authenticator);
                if (notice is not null)
                {
                    long day = NoticeDay.Of(notice.At);
                    _days[day] = (_days.GetValueOrDefault(day) ?? NoticeDay.Empty(day)).With(NoticeRows.Notice(authenticator, reader.GetInt64(0), reader.GetString(1), notice));
                }

                if (!isGood)
                {
                    _ = notice is not null && _explained.Add(NoticeDay.Of(notice.At));
                    Tell(() => NotificationsLog.Bad(log, reader.GetInt64(0), reader.GetString(1)));
                }
            });
            if (rows == most)
            {
                return true;
            }

            CompareDays(from);
            ReadCursors(from);
            return false;
        }

        private void CompareDays(Database from)
        {
            var kept = NoticeDay.ReadAll(from, authenticator).ToDictionary(day => day.Day);
            foreach (long day in kept.Keys.Union(_days.Keys))
            {
                // Days that were removed meanwhile have neither a row nor notices any more.
                bool isGood = kept.TryGetValue(day, out NoticeDay? told)
                    ? _days.GetValueOrDefault(day)?.IsSameAs(told) == true
                    : from.Prepare("SELECT count(*) FROM notifications WHERE at >= $1 AND at < $2")
                        .BindAll(NoticeDay.BeginningOf(day), NoticeDay.BeginningOf(day + 1)).QueryNumber() == 0;
                if (!isGood && !_explained.Contains(day))
                {
                    Tell(() => NotificationsLog.BadDay(
                        log, DateTimeOffset.FromUnixTimeMilliseconds(NoticeDay.BeginningOf(day)).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)));
                }
            }
        }

        private void ReadCursors(Database from) => from.Prepare(
            "SELECT reader, sequence, mac_generation, encoding_version, row_code FROM notification_cursors").Query(reader =>
            {
                if (!authenticator.Verify(NoticeRows.Cursor(authenticator, reader.GetString(0), reader.GetInt64(1)), reader.GetCode(2)))
                {
                    string name = reader.GetString(0);
                    Tell(() =>
                    {
                        if (name == NoticeLog.Nobody)
                        {
                            NotificationsLog.BadLastNumber(log);
                        }
                        else
                        {
                            NotificationsLog.BadCursor(log, name);
                        }
                    });
                }
            });

        private void Tell(Action line)
        {
            if (++Bad <= MostTold)
            {
                line();
            }
        }
    }
}
