using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

internal static class KeyCommands
{
    public static Command Make()
    {
        var command = new Command("key", "Make, see and manage keys.") { Create(), List(), Show() };
        foreach (Command change in KeyChangeCommands.All())
        {
            command.Subcommands.Add(change);
        }

        return command;
    }

    private static Command Create()
    {
        var name = new Argument<string>("NAME") { Description = "3 to 64 letters, digits, '-' and '_'; starts with a letter. Or STORE/NAME." };
        Option<KeyType?> type = CommonOptions.WireOption("--type", "What it can do; default AES256-GCM96.", Wire.KeyTypes);
        var store = new Option<string?>("--store") { Description = "Its store; default 'default'.", HelpName = "STORE" };
        Option<KeyProtection?> protection = CommonOptions.WireOption(
            "--protection", "Where its bytes are in use; default: the daemon's.", Wire.Protections);
        var period = new Option<int?>("--rotate-days", "--period") { Description = "It rotates every 1 to 730 days; default 90.", HelpName = "DAYS" };
        var memo = new Option<string?>("--memo") { Description = "At most 100 characters.", HelpName = "TEXT" };
        var grants = new Option<GrantInput[]>("--grant")
        {
            Description = $"A grant to start with; may be repeated. Roles: {string.Join(", ", Wire.KeyRoles.All)}.",
            HelpName = "PRINCIPAL=ROLE",
            CustomParser = ParseGrants,
            Arity = ArgumentArity.OneOrMore,
        };
        return Session.Command(
            "create", "Make a key. Nobody may use it without a grant, its maker and the store's managers included.",
            async session =>
            {
                (string? inStore, string bareName) = Split(session.Get(name), session.Get(store));
                KeyDescription key = await session.Client.CreateKeyAsync(
                    new CreateKeyRequest
                    {
                        Name = bareName,
                        Type = session.Get(type) ?? KeyType.Aes256Gcm96,
                        Store = inStore,
                        Protection = session.Get(protection),
                        RotationPeriodDays = session.Get(period),
                        Memo = session.Get(memo),
                        Grants = session.Get(grants) is { Length: > 0 } given ? given : null,
                    },
                    session.CancellationToken);
                Write(session, key);
            },
            name, type, store, protection, period, memo, grants);
    }

    /// <summary>A name as other commands take it says the store, too.</summary>
    private static (string? Store, string Name) Split(string name, string? store)
    {
        if (name.Split('/') is not [string before, string after])
        {
            return (store, name);
        }

        return store is null || store == before ? (before, after) : throw new CommandException(
            ExitCode.Usage, $"'{name}' is in '{before}', but --store says '{store}'; leave one of them out.");
    }

    private static Command List()
    {
        var store = new Option<string?>("--store") { Description = "Only keys of this store.", HelpName = "STORE" };
        Option<KeyState?> state = CommonOptions.WireOption("--state", "Only keys in this state", Wire.KeyStates);
        return Session.Command(
            "list", "List the keys that you may see.",
            async session =>
            {
                ListKeysResult keys = await ReadAllAsync(session, session.Get(store), session.Get(state));
                session.Report.Write(keys, ProtocolJsonContext.Default.ListKeysResult, () => Lines(keys), () => Table(keys));
                await KeyWarnings.TellAsync(session, keys.Keys, session.Get(store));
            },
            store, state);
    }

    private static Sheet Lines(ListKeysResult keys)
    {
        var sheet = new Sheet("Keys", "name", "tag", "state", "last use", "type", "version", "period", "uses");
        foreach (KeyDescription key in keys.Keys)
        {
            sheet.Add(
                Name(key), key.Tag, Wire.KeyStates[key.State], Text.Of(key.LastUsedAt), Wire.KeyTypes[key.Type],
                Text.Of(key.CurrentVersion), Period(key), Text.Of(key.UsageCount));
        }

        return sheet;
    }

    /// <summary>Tags are in <c>key show</c>: people use names.</summary>
    private static Sheet Table(ListKeysResult keys)
    {
        var sheet = new Sheet(Text.Count(keys.Total, "key"), "name", "state", "last use", "type", "version", "uses", "period") { IsWide = true };
        foreach (KeyDescription key in keys.Keys)
        {
            sheet.Add(
                Name(key), Wire.KeyStates[key.State], Text.Brief(key.LastUsedAt), Wire.KeyTypes[key.Type],
                Text.Of(key.CurrentVersion), Text.Of(key.UsageCount), Period(key));
        }

        return sheet;
    }

    private static Command Show() => Session.Command(
        "show", "Show one key.",
        async session => Write(session, await session.Client.GetKeyAsync(
            new KeyRequest { Key = session.Get(CommonOptions.Key) }, session.CancellationToken)),
        CommonOptions.Key);

    /// <summary>All pages of the list.</summary>
    public static async Task<ListKeysResult> ReadAllAsync(Session session, string? store, KeyState? state)
    {
        var keys = new List<KeyDescription>();
        string? after = null;
        while (true)
        {
            ListKeysResult page = await session.Client.ListKeysAsync(
                new ListKeysRequest { Store = store, State = state, Limit = Limits.KeysPage, After = after },
                session.CancellationToken);
            keys.AddRange(page.Keys);
            if (page.Next is null || page.Keys.Length == 0)
            {
                return new ListKeysResult { Keys = [.. keys], Total = page.Total };
            }

            after = page.Next;
        }
    }

    /// <summary>One key, with what its managers should know and do next.</summary>
    public static void Write(Session session, KeyDescription key) =>
        session.Report.Write(key, ProtocolJsonContext.Default.KeyDescription, () =>
        {
            var sheet = new Sheet(null, "what", "value");
            sheet.Add("name", key.Name);
            sheet.Add("store", key.Store);
            sheet.Add("tag", key.Tag);
            sheet.Add("type", Wire.KeyTypes[key.Type]);
            sheet.Add("protection", Wire.Protections[key.Protection]);
            sheet.Add("state", Wire.KeyStates[key.State]);
            sheet.Add("version", Text.Of(key.CurrentVersion));
            sheet.Add("created", Text.Of(key.CreatedAt));
            sheet.Add("period", Period(key));
            sheet.Add("next rotation", Text.Of(key.NextRotationAt));
            sheet.AddIfKnown("to be destroyed at", key.DeleteAt is { } at ? Text.Of(at) : null);
            sheet.Add("uses", Text.Of(key.UsageCount));
            sheet.Add("last use", Text.Of(key.LastUsedAt));
            sheet.Add("your roles", string.Join(' ', key.MyRoles));
            sheet.AddIfKnown("memo", key.Memo.Length == 0 ? null : key.Memo);
            foreach (string warning in key.Warnings ?? [])
            {
                sheet.Add("warning", warning);
            }

            sheet.AddIfKnown("advice", key.Advice is { } advice ? CommandWords.Translate(advice) : null);

            return sheet;
        });

    /// <summary>As it may be given again: without the store where that is <c>default</c>.</summary>
    public static string Name(KeyDescription key) => key.Store == "default" ? key.Name : $"{key.Store}/{key.Name}";

    private static string Period(KeyDescription key) => string.Create(
        CultureInfo.InvariantCulture,
        $"{key.RotationPeriodDays} d{(key.PendingRotationPeriodDays is int next ? $", then {next} d" : string.Empty)}");

    private static GrantInput[] ParseGrants(ArgumentResult result)
    {
        var grants = new List<GrantInput>();
        foreach (Token token in result.Tokens)
        {
            int at = token.Value.LastIndexOf('=');
            if (at > 0 && Wire.KeyRoles.TryParse(token.Value[(at + 1)..], out KeyRole role))
            {
                grants.Add(new GrantInput { Principal = token.Value[..at], Role = role });
            }
            else
            {
                result.AddError($"'{token.Value}' is not PRINCIPAL=ROLE with a role of {string.Join(", ", Wire.KeyRoles.All)}");
            }
        }

        return [.. grants];
    }
}
