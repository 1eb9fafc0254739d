using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>How entries are picked; for keys that are there and for deleted ones.</summary>
internal static class HistoryOptions
{
    public const int DefaultLimit = 100;

    // What the first part of an operation's name may be: families of methods, and of what the daemon does by itself.
    private static readonly string[] s_whole = ["crypto", "keys", "versions", "grants", "stores", "members"];
    private static readonly string[] s_open = ["backup", "deletedKeys", "deletion", "deletions", "history", "notifications", "root", "rotation", "system", "usage"];
    private static readonly string[] s_others = ["crypto.encryptBatch", "crypto.decryptBatch", "init"];

    public static Option<int?> Limit { get; } = new("--limit")
    {
        Description = "How many at most; default 100.",
        HelpName = "N",
        Validators =
        {
            result =>
            {
                if (result.Tokens is [{ Value: var text }] && (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int limit) || limit < 1))
                {
                    result.AddError("--limit is a whole number from 1 on");
                }
            },
        },
    };

    public static Option<long?> Before { get; } = new("--before") { Description = "Only entries with a smaller sequence number: the last one of the page before.", HelpName = "SEQUENCE" };

    public static Option<string?> Operation { get; } = new("--operation") { Description = "Only this operation, such as crypto.decrypt or rotation.automatic; a command such as decrypt means its method.", HelpName = "OPERATION" };

    public static Option<string?> Principal { get; } = new("--principal") { Description = "Only what this one did: uid:1000, user:alice or unit:nginx.service.", HelpName = "PRINCIPAL" };

    /// <summary>The operation that is asked for: a command's word means its method.</summary>
    /// <exception cref="CommandException">There is none of this name, so that no entry could ever match.</exception>
    public static string? OperationOf(Session session)
    {
        if (session.Get(Operation) is not string given)
        {
            return null;
        }

        string operation = CommandWords.MethodOf(given) ?? given;
        string family = operation.Split('.')[0];
        bool isKnown = CommandWords.IsMethod(operation) || s_others.Contains(operation)
            || (s_open.Contains(family) && operation.Length > family.Length + 1); // Of these the daemon records some that are no methods.
        return isKnown ? operation : throw new CommandException(
            ExitCode.Usage,
            $"'{given}' is no operation, so no entry matches; give a method such as crypto.encrypt, {(s_whole.Contains(family) ? "spelt as docs/api.md does" : "or rotation.automatic and the like")}.");
    }

    /// <summary>Whose entries are asked for.</summary>
    /// <exception cref="CommandException">A group, as which nobody ever asks.</exception>
    public static string? PrincipalOf(Session session)
    {
        string? principal = session.Get(Principal);
        bool isGroup = principal is not null
            && (principal.StartsWith("gid:", StringComparison.Ordinal) || principal.StartsWith("group:", StringComparison.Ordinal));
        return !isGroup ? principal : throw new CommandException(
            ExitCode.Usage,
            "Uses and changes are recorded by uid and unit, also where a group's grant allowed them; give uid:N, user:NAME or unit:NAME.");
    }

    /// <summary>An end that only the default limit made isn't the history's; and nothing at all may be due to the filters.</summary>
    public static async Task TellWhatIsLeftAsync(Session session, IReadOnlyList<HistoryEntryDescription> entries)
    {
        if (session.Get(Limit) is null && entries.Count == DefaultLimit)
        {
            await Question.TellAsync(
                $"These are the newest {Text.Of((long)entries.Count)}; there may be more: --before {Text.Of(entries[^1].Sequence)} shows what is older, --limit N more at a time.");
        }
        else if (entries.Count == 0)
        {
            await Question.TellAsync("No entries match.");
        }
    }
}
