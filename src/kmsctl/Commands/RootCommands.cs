using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>The root key, for its administrators.</summary>
internal static class RootCommands
{
    // A minute.
    private const int MostLooksWithoutProgress = 300;

    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(200);

    private static readonly Option<string> s_reason = new("--reason")
    {
        Description = "Why, 1 to 100 characters; it is kept in the history.",
        HelpName = "TEXT",
        Required = true,
    };

    public static Command All() => new("root", "The root key, for its administrators.")
    {
        Session.Command("status", "Show the root key, its generations, and who holds shares of it.", async session =>
            Write(session, await session.Client.ReadRootStatusAsync(session.CancellationToken))),
        Rotate(),
        Retire(),
    };

    private static Command Rotate()
    {
        var noWait = new Option<bool>("--no-wait") { Description = "Don't wait until every version is carried over to it." };
        return Session.Command(
            "rotate", "Make a new generation of a root key that the token makes, and carry every version over to it.",
            async session =>
            {
                RootStatusResult root = await session.Client.RotateRootAsync(session.GetRequired(s_reason), session.CancellationToken);
                if (!session.Get(noWait))
                {
                    await Question.TellAsync(string.Create(
                        CultureInfo.InvariantCulture,
                        $"Generation {root.Generation} is in use. {Text.Count(root.Rewrap.Total - root.Rewrap.Done, "version")} {(root.Rewrap.Total - root.Rewrap.Done == 1 ? "is" : "are")} being carried over; requests go on meanwhile, and so does this without kmsctl."));
                    root = await ProgressBar.RunAsync("carried over", root.Rewrap.Total, progress => WaitAsync(session, progress), shortest: 1000);
                }

                Write(session, root);
            },
            s_reason, noWait);
    }

    private static Command Retire()
    {
        var generation = new Argument<long>("GENERATION") { Description = "The number of an old generation; see 'kmsctl root status'." };
        return Session.Command(
            "retire", "Destroy the keys of an old generation, from 7 days after it was replaced; nothing brings them back.",
            async session =>
            {
                RootStatusResult root = await session.Client.ReadRootStatusAsync(session.CancellationToken);
                if (root.Left?.Contains(session.Get(generation)) == true)
                {
                    await Question.TellAsync(string.Create(
                        CultureInfo.InvariantCulture,
                        $"The database doesn't need generation {session.Get(generation)}: its keys stayed in the token when an older backup, or the token, was put back. The database that was set aside then, and backups made under that generation, can't be read any more once they are destroyed."));
                }
                else if (root.Generations.FirstOrDefault(one => one.Generation == session.Get(generation))?.State != "old")
                {
                    // Refused by the daemon, which says why: nothing to warn of.
                    Write(session, await session.Client.RetireRootAsync(session.Get(generation), session.GetRequired(s_reason), session.CancellationToken));
                    return;
                }
                else
                {
                    await WarnAsync(root, session.Get(generation));
                }

                if (!session.Get(CommonOptions.Yes))
                {
                    await Question.ConfirmAsync(string.Create(CultureInfo.InvariantCulture, $"Destroy generation {session.Get(generation)}?"), session.CancellationToken);
                }

                Write(session, await session.Client.RetireRootAsync(session.Get(generation), session.GetRequired(s_reason), session.CancellationToken));
            },
            generation, s_reason, CommonOptions.Yes);
    }

    private static async Task WarnAsync(RootStatusResult root, long generation)
    {
        await Question.TellAsync(string.Create(
            CultureInfo.InvariantCulture,
            $"No backup that was made before now can be restored any more once generation {generation} is retired. A new one is made then, in the daemon's folder 'backups' (after-root-retirement-TIME-XXXX.db): copy it to where the others are."));
        if (root.Generations.FirstOrDefault(one => one.Generation == generation)?.Origin == "ceremony")
        {
            await Question.TellAsync("Whoever holds enough of its shares can still read such a backup: destroy them as well.");
        }

        if (root.Custody.Kind == "none")
        {
            await Question.TellAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"Nobody holds a share of this root key: if the token is lost, every key is. Is the token backed up with generation {root.Generation} in it?"));
        }
    }

    /// <exception cref="CommandException">Nothing moves any more.</exception>
    private static async Task<RootStatusResult> WaitAsync(Session session, IProgress<long>? progress)
    {
        long last = -1;
        int looks = 0;
        while (true)
        {
            RootStatusResult root = await session.Client.ReadRootStatusAsync(session.CancellationToken);
            progress?.Report(root.Rewrap.Done);
            if (root.Rewrap.Done == root.Rewrap.Total)
            {
                return root;
            }

            if (root.Rewrap.Done != last)
            {
                (last, looks) = (root.Rewrap.Done, 0);
            }
            else if (++looks == MostLooksWithoutProgress)
            {
                throw new CommandException(
                    ExitCode.Refused + (int)KmsErrorCode.InvalidState,
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"Generation {root.Generation} is in use, but {Text.Count(root.Rewrap.Total - root.Rewrap.Done, "version")} {(root.Rewrap.Total - root.Rewrap.Done == 1 ? "stays" : "stay")} with an older one. The daemon's journal says why (5201, 5202)."));
            }

            await Task.Delay(s_interval, session.CancellationToken);
        }
    }

    private static void Write(Session session, RootStatusResult root) => session.Report.Write(root, ProtocolJsonContext.Default.RootStatusResult, () =>
    {
        var sheet = new Sheet(null, "what", "value");
        sheet.Add("generation", Text.Of(root.Generation));
        sheet.Add("origin", root.Origin);
        sheet.Add("made", Text.Of(root.CreatedAt));
        sheet.Add("rotate by", Text.Of(root.RotateBy));
        AddCustody(sheet, string.Empty, root.Custody);
        sheet.Add("versions under it", string.Create(CultureInfo.InvariantCulture, $"{root.Rewrap.Done} of {root.Rewrap.Total}"));
        foreach (RootGenerationDescription generation in root.Generations)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"generation {generation.Generation}");
            sheet.Add(
                name,
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{generation.State}, from the {generation.Origin}, made {Text.Of(generation.CreatedAt)}, carries {Text.Count(generation.Versions, "version")}"));

            // The current one's stands above.
            if (generation.Custody is { } custody && generation.Generation != root.Generation)
            {
                AddCustody(sheet, $"{name} ", custody);
            }
        }

        foreach (long left in root.Left ?? [])
        {
            sheet.Add(
                string.Create(CultureInfo.InvariantCulture, $"generation {left}"),
                string.Create(CultureInfo.InvariantCulture, $"left in the token; this database doesn't need it: kmsctl root retire {left}"));
        }

        return sheet;
    });

    private static void AddCustody(Sheet sheet, string prefix, CustodyDescription custody)
    {
        sheet.Add($"{prefix}custody", custody.Set is null ? custody.Kind : string.Create(
            CultureInfo.InvariantCulture, $"set {custody.Set}, any {custody.Threshold} of {custody.Count} shares"));
        if (custody.VerifiedAt is DateTimeOffset verified)
        {
            sheet.Add($"{prefix}shares last proven", Text.Of(verified));
        }

        foreach (ShareDescription share in custody.Shares ?? [])
        {
            sheet.Add(
                string.Create(CultureInfo.InvariantCulture, $"{prefix}share {share.Share}"),
                $"{share.Custodian}; {share.Medium}, serial {share.MediumSerial}; seal {share.Seal}; {share.Safe}, {share.Site}; proven {Text.Of(share.VerifiedAt)}");
        }
    }
}
