using System.Text.Json;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Notifications;

/// <summary>What concerned the caller and wasn't acknowledged: <c>notifications.list</c>.</summary>
internal sealed class ListNotifications(DatabaseReader database, RowAuthenticator authenticator, ILogger log)
{
    private const int DefaultPage = 100;

    // A caller may be several principals, and a notice may concern more than one of them: it is told once.
    private const string Select = """
        SELECT sequence, min(principal), at, kind, tag, key_name, store, by, detail, mac_generation, encoding_version, row_code
        FROM notifications WHERE principal IN (SELECT value FROM json_each($1)) AND sequence > $2
        GROUP BY sequence ORDER BY sequence LIMIT $3
        """;

    public async Task<ListNotificationsResult> RunAsync(Caller caller, ListNotificationsRequest request, CancellationToken cancellationToken)
    {
        int limit = request.Limit ?? DefaultPage;
        if (limit is < 1 or > Limits.NotificationsPage)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, $"A page has 1 to {Limits.NotificationsPage} notifications.");
        }

        string principals = ToJson(caller);
        return await database.ReadAsync(
            from =>
            {
                long after = Math.Max(request.After ?? 0, NoticeRows.ReadCursor(from, authenticator, caller.PrimaryText));
                List<NotificationDescription> found = [];
                long last = after;
                int rows = 0;
                from.Prepare(Select).BindAll(principals, after, limit + 1).Query(reader =>
                {
                    if (++rows > limit)
                    {
                        return;
                    }

                    last = reader.GetInt64(0);
                    if (NoticeRows.Verify(reader, authenticator) is (NotificationDescription notice, true))
                    {
                        found.Add(notice);
                    }
                    else
                    {
                        NotificationsLog.Bad(log, last, reader.GetString(1));
                    }
                });
                return new ListNotificationsResult { Notifications = [.. found], Next = rows > limit ? last : null };
            },
            cancellationToken);
    }

    private static string ToJson(Caller caller)
    {
        using MemoryStream text = new();
        using (Utf8JsonWriter writer = new(text))
        {
            writer.WriteStartArray();
            foreach (Principal principal in caller.Principals)
            {
                writer.WriteStringValue(principal.ToString());
            }

            writer.WriteEndArray();
        }

        return System.Text.Encoding.UTF8.GetString(text.ToArray());
    }
}

/// <summary>Takes what a reader has seen out of his list: <c>notifications.acknowledge</c>. Kept by uid or unit, also for what came by a gid.</summary>
internal sealed class AcknowledgeNotifications(NoticeLog notices, Writer writer)
{
    public async Task<EmptyResult> RunAsync(Caller caller, AcknowledgeNotificationsRequest request, CancellationToken cancellationToken)
    {
        if (request.UpTo < 0)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, "'upTo' is the number of a notification.");
        }

        return await writer.ChangeAsync(
            () =>
            {
                notices.Acknowledge(caller.PrimaryText, Math.Min(request.UpTo, notices.LastNumber));
                return new EmptyResult();
            },
            cancellationToken);
    }
}
