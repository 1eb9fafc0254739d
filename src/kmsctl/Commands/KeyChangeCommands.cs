using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>What changes a key, or ends it.</summary>
internal static class KeyChangeCommands
{
    private delegate Task<KeyDescription> Change(Session session, KeyRequest key);

    public static IEnumerable<Command> All()
    {
        yield return Simple(
            "rotate", "Make a new version, which seals and signs from now on; the schedule stays.",
            (session, key) => session.Client.RotateKeyAsync(key, session.CancellationToken));
        yield return Simple(
            "enable", "Make a disabled key usable again.",
            (session, key) => session.Client.EnableKeyAsync(key, session.CancellationToken));
        yield return Session.Command(
            "disable", "Make a key unusable until it is enabled again; shows first whom that hits.",
            DisableAsync, CommonOptions.Key, CommonOptions.Yes);
        yield return Delete();
        yield return Simple(
            "undelete", "Call a pending deletion off; the key is disabled then.",
            (session, key) => session.Client.CancelDeletionAsync(key, session.CancellationToken));
        yield return DeleteNow();
        yield return Rename();
        yield return Memo();
        yield return RotationPeriod();
        yield return PublicKey();
    }

    private static KeyRequest Key(Session session) => new() { Key = session.Get(CommonOptions.Key) };

    private static Command Simple(string name, string description, Change change) => Session.Command(
        name, description, async session => KeyCommands.Write(session, await change(session, Key(session))), CommonOptions.Key);

    private static async Task DisableAsync(Session session)
    {
        (KeyDescription key, _) = await ShowUseAsync(session);
        if (!session.Get(CommonOptions.Yes))
        {
            await Question.ConfirmAsync($"Disable '{key.Name}'?", session.CancellationToken);
        }

        // The tag: what was shown is what is changed, even if the name moves meanwhile.
        KeyCommands.Write(
            session, await session.Client.DisableKeyAsync(new KeyRequest { Key = key.Tag }, session.CancellationToken));
    }

    private static Command Delete()
    {
        Option<string?> name = ConfirmName();
        return Session.Command(
            "delete", "Have a key destroyed in 72 hours; shows first whom that hits.",
            async session => KeyCommands.Write(session, await session.Client.RequestDeletionAsync(
                await ConfirmAsync(session, "Have it destroyed in 72 hours?", name), session.CancellationToken)),
            CommonOptions.Key, name, CommonOptions.Yes);
    }

    private static Command DeleteNow()
    {
        Option<string?> name = ConfirmName();
        return Session.Command(
            "delete-now", "Destroy a key whose deletion is pending, without waiting; nothing brings it back.",
            async session =>
            {
                DeleteNowResult result = await session.Client.DeleteNowAsync(
                    await ConfirmAsync(session, "Destroy it now, for ever?", name), session.CancellationToken);
                session.Report.Write(result, ProtocolJsonContext.Default.DeleteNowResult, () =>
                {
                    var sheet = new Sheet(null, "what", "value");
                    sheet.Add("in backups until the root key retires generation", Text.Of(result.RecoverableUntil));
                    return sheet;
                });
            },
            CommonOptions.Key, name, CommonOptions.Yes);
    }

    private static Option<string?> ConfirmName() => new("--confirm-name")
    {
        Description = "The key's name, with its store or without, for programs: where somebody has a grant on the key, it is asked for.",
        HelpName = "NAME",
    };

    /// <summary>Where somebody would lose something, the name has to be typed; a mere yes is too quick.</summary>
    private static async Task<DeleteKeyRequest> ConfirmAsync(Session session, string question, Option<string?> nameOption)
    {
        (KeyDescription key, bool hasGrants) = await ShowUseAsync(session);
        string? name = session.Get(nameOption);
        if (hasGrants)
        {
            // With --yes nobody sits there, unless at a terminal: the name may come in a pipe, but isn't asked for.
            bool isAsked = !session.Get(CommonOptions.Yes) || !Console.IsInputRedirected;
            name ??= await Question.AskAsync(isAsked ? $"{question} Type the key's name: " : string.Empty, session.CancellationToken);
        }
        else if (name is null && !session.Get(CommonOptions.Yes))
        {
            await Question.ConfirmAsync($"{question} ('{key.Name}')", session.CancellationToken);
        }

        return new DeleteKeyRequest { Key = key.Tag, ConfirmName = name == $"{key.Store}/{key.Name}" ? key.Name : name };
    }

    /// <summary>Who may use the key, and when it was used last.</summary>
    private static async Task<(KeyDescription Key, bool HasGrants)> ShowUseAsync(Session session)
    {
        KeyDescription key = await session.Client.GetKeyAsync(Key(session), session.CancellationToken);
        GrantsResult grants = await session.Client.ListGrantsAsync(new KeyRequest { Key = key.Tag }, session.CancellationToken);
        await Question.TellAsync(string.Create(
            CultureInfo.InvariantCulture,
            $"Key '{key.Name}' in '{key.Store}' ({Wire.KeyStates[key.State]}): last used {Text.Of(key.LastUsedAt)}, {Text.Count(key.UsageCount, "use")}."));
        await Question.TellAsync(grants.Grants.Length == 0 ? "Nobody has a grant on it." : "Grants on it:");
        foreach (GrantDescription grant in grants.Grants)
        {
            string display = grant.Display is null ? string.Empty : $" ({grant.Display})";
            await Question.TellAsync($"  {grant.Principal}{display}: {Wire.KeyRoles[grant.Role]}");
        }

        return (key, grants.Grants.Length > 0);
    }

    private static Command Rename()
    {
        var name = new Argument<string>("NAME") { Description = "The new name." };
        return Session.Command(
            "rename", "Give a key another name; its tag stays.",
            async session => KeyCommands.Write(session, await session.Client.UpdateKeyAsync(
                new UpdateKeyRequest { Key = session.Get(CommonOptions.Key), Name = session.Get(name) }, session.CancellationToken)),
            CommonOptions.Key, name);
    }

    private static Command Memo()
    {
        var text = new Argument<string>("TEXT") { Description = "At most 100 characters; '' for none." };
        return Session.Command(
            "memo", "Change a key's memo.",
            async session => KeyCommands.Write(session, await session.Client.UpdateKeyAsync(
                new UpdateKeyRequest { Key = session.Get(CommonOptions.Key), Memo = session.Get(text) }, session.CancellationToken)),
            CommonOptions.Key, text);
    }

    private static Command RotationPeriod()
    {
        var days = new Argument<int>("DAYS") { Description = "1 to 730." };
        return Session.Command(
            "rotation-period", "Change how often a key rotates; it counts from the rotation that is already due.",
            async session => KeyCommands.Write(session, await session.Client.SetRotationPeriodAsync(
                new SetRotationPeriodRequest { Key = session.Get(CommonOptions.Key), Days = session.Get(days) },
                session.CancellationToken)),
            CommonOptions.Key, days);
    }

    private static Command PublicKey()
    {
        var version = new Option<long?>("--version") { Description = "Of this version; default: the newest.", HelpName = "VERSION" };
        return Session.Command(
            "public-key", "Print the public key of an RSA or ECDSA key (SubjectPublicKeyInfo, PEM).",
            async session =>
            {
                PublicKeyResult result = await session.Client.GetPublicKeyAsync(
                    new GetPublicKeyRequest { Key = session.Get(CommonOptions.Key), Version = session.Get(version) },
                    session.CancellationToken);
                session.Report.WriteLines(result, ProtocolJsonContext.Default.PublicKeyResult, result.PublicKey);
            },
            CommonOptions.Key, version);
    }
}
