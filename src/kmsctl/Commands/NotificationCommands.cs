using System.CommandLine;
using Kms.Client;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>What concerned the caller: shown, followed, or handed to a command.</summary>
internal static class NotificationCommands
{
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(1);

    private static readonly string[] s_columns = ["sequence", "time", "kind", "store", "key", "tag", "by", "detail"];

    public static Command Make()
    {
        var follow = new Option<bool>("--follow") { Description = "Then wait for more, and print each as it comes." };
        var exec = new Option<string?>("--exec")
        {
            Description = "Run COMMAND by /bin/sh for each: the notification is one line of JSON on its standard input, and KMS_NOTICE_KIND and the like are in"
                + " its environment. What it ends with 0 is acknowledged; anything else stops.",
            HelpName = "COMMAND",
            Validators =
            {
                result =>
                {
                    // A shell that is given nothing to do ends with 0, and all would be acknowledged.
                    if (result.Tokens is [{ Value: var command }] && string.IsNullOrWhiteSpace(command))
                    {
                        result.AddError("--exec needs a command");
                    }
                },
            },
        };
        var acknowledge = new Option<bool>("--acknowledge") { Description = "What was shown isn't shown again." };
        return Session.Command(
            "notifications", "Show what concerned you and wasn't acknowledged: grants, states, rotations, deletions of keys; the root key.",
            session => (session.Get(exec), session.Get(follow)) switch
            {
                (string command, true) => FollowAsync(session, notice => NoticeCommand.RunAsync(command, notice, session.CancellationToken), acknowledge: true),
                (string command, false) => EachAsync(session, command),
                (null, true) => FollowAsync(session, notice => WriteLineAsync(session, notice), session.Get(acknowledge)),
                _ => ShowAsync(session, session.Get(acknowledge)),
            },
            follow, exec, acknowledge);
    }

    private static async Task ShowAsync(Session session, bool acknowledge)
    {
        List<NotificationDescription> notices = [];
        await foreach (NotificationDescription notice in ListAsync(session))
        {
            notices.Add(notice);
        }

        var result = new ListNotificationsResult { Notifications = [.. notices] };
        session.Report.Write(result, ProtocolJsonContext.Default.ListNotificationsResult, () =>
        {
            var sheet = new Sheet("Notifications", s_columns);
            foreach (NotificationDescription notice in notices)
            {
                sheet.Add(Cells(notice));
            }

            return sheet;
        },
        () =>
        {
            var sheet = new Sheet("Notifications", "no", "time (UTC)", "kind", "key or store", "by", "detail") { IsWide = true };
            foreach (NotificationDescription notice in notices)
            {
                sheet.Add([.. CellsOnTerminal(notice).Select(column => column.Cell)]);
            }

            return sheet;
        });
        if (acknowledge && notices.Count > 0)
        {
            await AcknowledgeAsync(session, notices[^1]);
        }
    }

    private static async Task EachAsync(Session session, string command)
    {
        await foreach (NotificationDescription notice in ListAsync(session))
        {
            await NoticeCommand.RunAsync(command, notice, session.CancellationToken);
            await AcknowledgeAsync(session, notice);
            session.CancellationToken.ThrowIfCancellationRequested();
        }
    }

    private static async Task FollowAsync(Session session, Func<NotificationDescription, Task> take, bool acknowledge)
    {
        await foreach (NotificationDescription notice in session.Client.SubscribeToNotificationsAsync(0, session.CancellationToken))
        {
            await take(notice);
            while (acknowledge && !await TryAcknowledgeAsync(session, notice))
            {
                await Task.Delay(s_pause, session.CancellationToken);
            }

            session.CancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>False while the daemon is away.</summary>
    private static async Task<bool> TryAcknowledgeAsync(Session session, NotificationDescription notice)
    {
        try
        {
            await AcknowledgeAsync(session, notice);
            return true;
        }
        catch (KmsUnreachableException)
        {
            return false;
        }
    }

    /// <summary>Also when a signal has come meanwhile: what was done must not be done again.</summary>
    private static Task AcknowledgeAsync(Session session, NotificationDescription notice) => session.Client.AcknowledgeNotificationsAsync(
        new AcknowledgeNotificationsRequest { UpTo = notice.Sequence }, CancellationToken.None);

    private static async IAsyncEnumerable<NotificationDescription> ListAsync(Session session)
    {
        long? after = 0;
        while (after is not null)
        {
            ListNotificationsResult page = await session.Client.ListNotificationsAsync(
                new ListNotificationsRequest { After = after }, session.CancellationToken);
            foreach (NotificationDescription notice in page.Notifications)
            {
                yield return notice;
            }

            after = page.Next;
        }
    }

    private static Task WriteLineAsync(Session session, NotificationDescription notice)
    {
        session.Report.WriteRow(notice, ProtocolJsonContext.Default.NotificationDescription, Cells(notice), CellsOnTerminal(notice));
        return Task.CompletedTask;
    }

    private static string[] Cells(NotificationDescription notice) =>
    [
        Text.Of(notice.Sequence), Text.Of(notice.At), notice.Kind, notice.Store ?? Text.None, notice.KeyName ?? Text.None, notice.Key ?? Text.None,
        notice.By ?? "kmsd", notice.Detail is { } detail ? CommandWords.Translate(detail) : Text.None,
    ];

    /// <summary>With the widths they have at least, where lines are printed one by one; what is longer takes its place. Tags are for programs.</summary>
    private static (string Cell, int Width)[] CellsOnTerminal(NotificationDescription notice) =>
    [
        (Text.Of(notice.Sequence), 4), (Text.Brief(notice.At), 16), (notice.Kind, 18), (About(notice), 12), (notice.By ?? "kmsd", 8),
        (notice.Detail is { } detail ? CommandWords.Translate(detail) : Text.None, 1),
    ];

    private static string About(NotificationDescription notice) => (notice.Store, notice.KeyName) switch
    {
        (null or "default", string key) => key,
        (string store, string key) => $"{store}/{key}",
        _ => notice.Store ?? Text.None,
    };
}
