using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>What remains of deleted keys, and deletions that wait. For operators.</summary>
internal static class DeletedCommands
{
    private static readonly Argument<string> s_tag = new("TAG") { Description = "The deleted key's tag; see 'kmsctl deleted list'." };

    public static Command Deleted() => new("deleted", "See and purge what remains of deleted keys; for operators.") { List(), History(), Purge() };

    public static Command Deletions() => new("deletions", "Deletions that wait; for operators.")
    {
        Session.Command(
            "release", "Let deletions run that wait since the clock jumped or kmsd wasn't running for more than a day.",
            async session =>
            {
                await Question.TellAsync(
                    "After a gap of more than 24 hours kmsd holds deletions back for 24 hours of running time: the clock may be wrong.");
                await Question.TellAsync(
                    "Releasing them destroys at once every key whose 72 hours are over by the present clock, and nothing brings them back. Look at 'date' first.");
                if (!session.Get(CommonOptions.Yes))
                {
                    await Question.ConfirmAsync("Release them?", session.CancellationToken);
                }

                await session.Client.ReleaseDeletionsAsync(session.CancellationToken);
                session.Report.WriteLine(new EmptyResult(), ProtocolJsonContext.Default.EmptyResult, "released");
            },
            CommonOptions.Yes),
    };

    private static Command List()
    {
        var store = new Option<string?>("--store") { Description = "Only keys that were in this store.", HelpName = "STORE" };
        return Session.Command(
            "list", "List what is kept of deleted keys, the last deleted first.",
            async session =>
            {
                ListDeletedKeysResult result = await session.Client.ListDeletedKeysAsync(
                    new ListDeletedKeysRequest { Store = session.Get(store) }, session.CancellationToken);
                session.Report.Write(result, ProtocolJsonContext.Default.ListDeletedKeysResult, () =>
                {
                    var sheet = new Sheet(
                        "Deleted keys", "name", "tag", "store", "type", "deleted", "purged on", "versions", "uses", "last use", "last grants");
                    foreach (DeletedKeyDescription key in result.Keys)
                    {
                        sheet.Add(
                            key.Name, key.Tag, key.Store, Wire.KeyTypes[key.Type], Text.Of(key.DeletedAt), Text.Of(key.PurgeAt), Text.Of(key.Versions),
                            Text.Of(key.UsageCount), Text.Of(key.LastUsedAt),
                            key.Grants.Length == 0 ? Text.None : string.Join(' ', key.Grants.Select(grant => $"{grant.Principal}={Wire.KeyRoles[grant.Role]}")));
                    }

                    return sheet;
                });
                if (result.Warnings is { Length: > 0 } warnings)
                {
                    throw new CommandException(ExitCode.Integrity, $"{string.Join(' ', warnings)} Tell the operator; 'kmsctl status' tells him what to do.");
                }
            },
            store);
    }

    private static Command History() => Session.Command(
        "history", "Show who did what with a deleted key, newest first. Each look is itself recorded.",
        async session =>
        {
            string? operation = HistoryOptions.OperationOf(session);
            string? principal = HistoryOptions.PrincipalOf(session);
            HistoryPages pages = new(async (limit, before) => (await session.Client.ReadDeletedKeyHistoryAsync(
                new DeletedKeyHistoryRequest
                {
                    Tag = session.Get(s_tag),
                    Limit = limit,
                    Before = before,
                    Operation = operation,
                    Principal = principal,
                },
                session.CancellationToken)).Entries);
            List<HistoryEntryDescription> newest = await pages.ReadNewestAsync(
                session.Get(HistoryOptions.Limit) ?? HistoryOptions.DefaultLimit, session.Get(HistoryOptions.Before));
            HistoryCommands.Write(session, newest, isOfOneKey: true);
            await HistoryOptions.TellWhatIsLeftAsync(session, newest);
        },
        s_tag, HistoryOptions.Limit, HistoryOptions.Before, HistoryOptions.Operation, HistoryOptions.Principal);

    private static Command Purge()
    {
        var reason = new Option<string>("--reason") { Description = "Why; kept in the history.", HelpName = "TEXT", Required = true };
        return Session.Command(
            "purge", "End what is kept of a deleted key before its year is over.",
            async session =>
            {
                string tag = session.Get(s_tag);
                ListDeletedKeysResult deleted = await session.Client.ListDeletedKeysAsync(new ListDeletedKeysRequest(), session.CancellationToken);
                if (deleted.Keys.FirstOrDefault(key => key.Tag == tag) is DeletedKeyDescription key)
                {
                    await Question.TellAsync(string.Create(
                        CultureInfo.InvariantCulture,
                        $"Key '{key.Name}' of '{key.Store}', deleted on {Text.Of(key.DeletedAt)}, {Text.Count(key.UsageCount, "use")}; kept until {Text.Of(key.PurgeAt)}."));
                }

                await Question.TellAsync("Purging erases its name, dates, counts, last grants and its part of the history. Backups may still hold them.");
                if (!session.Get(CommonOptions.Yes))
                {
                    await Question.ConfirmAsync("Purge it?", session.CancellationToken);
                }

                await session.Client.PurgeDeletedKeyAsync(
                    new PurgeDeletedKeyRequest { Tag = tag, Reason = session.GetRequired(reason) }, session.CancellationToken);
                session.Report.WriteLine(new EmptyResult(), ProtocolJsonContext.Default.EmptyResult, "purged");
            },
            s_tag, reason, CommonOptions.Yes);
    }
}
