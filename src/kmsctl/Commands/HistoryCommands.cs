using System.CommandLine;
using System.Globalization;
using Kms.Client;
using Kms.Client.Protocol;
using Kmsctl.Files;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>Who did what: read, followed, verified, exported.</summary>
internal static class HistoryCommands
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private static readonly Argument<string?> s_key = new("KEY")
    {
        Description = "A tag, STORE/NAME, or the name of a key in the store 'default'. Write default/verify for a key of that name.",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Option<string?> s_store = new("--store")
    {
        Description = "Of a store and all its keys, instead of one key.",
        HelpName = "STORE",
    };

    private static readonly Option<bool> s_follow = new("--follow")
    {
        Description = "Then keep looking every second, and print what comes; oldest first.",
    };

    private static readonly string[] s_columns = ["sequence", "time", "operation", "outcome", "principal", "unit", "pid", "version", "items", "key", "detail"];

    public static Command Make()
    {
        Option<string?> scope = new("--scope")
        {
            Description = "Of the service itself, instead of a key: root or system.",
            HelpName = "SCOPE",
            Validators =
            {
                result =>
                {
                    if (result.Tokens is [{ Value: not ("root" or "system") and var other }])
                    {
                        result.AddError($"'{other}' is none of root, system");
                    }
                },
            },
        };
        Command command = Session.Command(
            "history", "Show who did what with a key, in a store, or to the service; newest first.",
            session => ShowAsync(session, new ListHistoryRequest
            {
                Key = session.Find(s_key),
                Store = session.Get(s_store),
                Scope = session.Get(scope),
            }),
            s_key, s_store, scope, HistoryOptions.Limit, HistoryOptions.Before, HistoryOptions.Operation, HistoryOptions.Principal, s_follow);
        command.Subcommands.Add(OfTheWhole(Verify(), scope));
        command.Subcommands.Add(OfTheWhole(Export(), scope));
        return command;
    }

    /// <summary>A key, store or scope before such a command would be ignored: it is refused.</summary>
    private static Command OfTheWhole(Command command, Option<string?> scope)
    {
        command.Validators.Add(result =>
        {
            if (result.GetResult(s_key) is { Tokens.Count: > 0 } || result.GetResult(s_store) is not null || result.GetResult(scope) is not null)
            {
                result.AddError($"'history {command.Name}' is about the whole history, not about a key, store or scope");
            }
        });
        return command;
    }

    /// <summary>Writes entries as one answer.</summary>
    /// <param name="session">The command.</param>
    /// <param name="entries">The entries.</param>
    /// <param name="isOfOneKey">All are of the key that was asked for.</param>
    public static void Write(Session session, IEnumerable<HistoryEntryDescription> entries, bool isOfOneKey)
    {
        var result = new HistoryResult { Entries = [.. entries] };
        session.Report.Write(
            result,
            ProtocolJsonContext.Default.HistoryResult,
            () =>
            {
                var sheet = new Sheet("History", s_columns);
                foreach (HistoryEntryDescription entry in result.Entries)
                {
                    sheet.Add(Cells(entry));
                }

                return sheet;
            },
            () => HistoryTable.Make(result.Entries, isOfOneKey));
    }

    private static async Task ShowAsync(Session session, ListHistoryRequest subject)
    {
        if (new[] { subject.Key, subject.Store, subject.Scope }.Count(given => given is not null) != 1)
        {
            throw new CommandException(ExitCode.Usage, "Name a key, or give --store or --scope; see 'kmsctl history --help'.");
        }

        bool follows = session.Get(s_follow);
        if (follows && session.Get(HistoryOptions.Before) is not null)
        {
            throw new CommandException(ExitCode.Usage, "--follow goes on from the newest entry, so there is nothing for --before to do; leave one of them out.");
        }

        if (follows && subject.Key is not null)
        {
            // The tag: what is followed stays the same key, even if the name moves meanwhile.
            KeyDescription key = await session.Client.GetKeyAsync(new KeyRequest { Key = subject.Key }, session.CancellationToken);
            subject = new ListHistoryRequest { Key = key.Tag };
        }

        string? operation = HistoryOptions.OperationOf(session);
        string? principal = HistoryOptions.PrincipalOf(session);
        HistoryPages pages = new(async (limit, before) => (await session.Client.ListHistoryAsync(
            new ListHistoryRequest
            {
                Key = subject.Key,
                Store = subject.Store,
                Scope = subject.Scope,
                Limit = limit,
                Before = before,
                Operation = operation,
                Principal = principal,
            },
            session.CancellationToken)).Entries);
        List<HistoryEntryDescription> newest = await pages.ReadNewestAsync(
            session.Get(HistoryOptions.Limit) ?? HistoryOptions.DefaultLimit, session.Get(HistoryOptions.Before));
        if (follows)
        {
            await FollowAsync(session, pages, newest, isOfOneKey: subject.Key is not null);
        }
        else
        {
            Write(session, newest, isOfOneKey: subject.Key is not null);
            await HistoryOptions.TellWhatIsLeftAsync(session, newest);
        }
    }

    /// <summary>Until a signal ends it. A daemon that is away is waited for.</summary>
    private static async Task FollowAsync(Session session, HistoryPages pages, List<HistoryEntryDescription> newest, bool isOfOneKey)
    {
        long last = 0;
        foreach (HistoryEntryDescription entry in Enumerable.Reverse(newest))
        {
            WriteLine(entry);
        }

        bool isAway = false;
        while (true)
        {
            await Task.Delay(s_interval, session.CancellationToken);
            try
            {
                await foreach (HistoryEntryDescription entry in pages.ReadAfterAsync(last))
                {
                    WriteLine(entry);
                }

                isAway = false;
            }
            catch (KmsUnreachableException exception)
            {
                if (!isAway)
                {
                    await Failure.WriteAsync($"{exception.Message} Waiting for it.");
                }

                isAway = true;
            }
        }

        void WriteLine(HistoryEntryDescription entry)
        {
            session.Report.WriteRow(
                entry, ProtocolJsonContext.Default.HistoryEntryDescription, Cells(entry), HistoryTable.Line(entry, isOfOneKey));
            last = entry.Sequence;
        }
    }

    private static Command Verify() => Session.Command(
        "verify", "Have the daemon compute the whole history again: exits with 0 if it is as it was written, with 1 if not. May take long.",
        async session =>
        {
            VerifyHistoryResult result = await session.Client.VerifyHistoryAsync(session.CancellationToken);
            session.Report.Write(result, ProtocolJsonContext.Default.VerifyHistoryResult, () =>
            {
                var sheet = new Sheet(null, "what", "value");
                sheet.Add("as it was written", result.Ok ? "yes" : "no");
                sheet.Add("entries read", Text.Of(result.Entries));
                sheet.AddIfKnown("first bad entry", result.FirstBad is long bad ? Text.Of(bad) : null);
                return sheet;
            });
            if (!result.Ok)
            {
                throw new CommandException(ExitCode.No, string.Create(
                    CultureInfo.InvariantCulture,
                    $"The history is not as it was written: entry {result.FirstBad} was changed, is missing, or was erased without a purge. Keep a copy of the database as it is, find out who can write to it, and look at what was recorded: docs/operations.md, \"A history that isn't as it was written\", says how, and what to do then."));
            }
        });

    private static Command Export()
    {
        var output = new Argument<string>("OUT")
        {
            Description = "The file to make (mode 0600), which appears only when it is whole; '-', the default, is standard output.",
            DefaultValueFactory = _ => "-",
        };
        return Session.Command(
            "export", "Write everything that the history holds, oldest first, one JSON object a line.",
            async session =>
            {
                string path = session.Get(output);
                if (path == "-")
                {
                    await using Stream standardOutput = Console.OpenStandardOutput();
                    await HistoryPages.ExportAsync(session.Client, standardOutput, session.CancellationToken);
                }
                else
                {
                    using var file = NewFile.Create(path, session.Get(CommonOptions.Force));
                    await HistoryPages.ExportAsync(session.Client, file.Stream, session.CancellationToken);
                    session.CancellationToken.ThrowIfCancellationRequested();
                    file.Commit();
                }

                // An export of what was changed looks as good as any other.
                StatusResult status = await session.Client.GetStatusAsync(session.CancellationToken);
                if (status.Database == DatabaseState.IntegrityFailure)
                {
                    throw new CommandException(
                        ExitCode.Integrity,
                        "The export was written, but the daemon has found that the database was changed: entries may not be as they were written. 'kmsctl history verify' tells which is the first, 'kmsctl status' what else.");
                }
            },
            output, CommonOptions.Force);
    }

    private static string[] Cells(HistoryEntryDescription entry) =>
    [
        Text.Of(entry.Sequence), Text.Of(entry.At), entry.Operation, entry.Outcome, entry.Principal ?? "kmsd", entry.Unit ?? Text.None,
        entry.Pid is long pid ? Text.Of(pid) : Text.None, entry.KeyVersion is long version ? Text.Of(version) : Text.None, Text.Of(entry.Count),
        entry.Key ?? Text.None, entry.Detail ?? Text.None,
    ];
}
