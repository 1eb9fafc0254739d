using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

internal static class VersionCommands
{
    public static Command Make()
    {
        var version = new Argument<long>("VERSION") { Description = "An older version; never the newest." };
        VersionRequest Request(Session session) =>
            new() { Key = session.Get(CommonOptions.Key), Version = session.Get(version) };

        return new("version", "See, disable and enable the versions of a key.")
        {
            Session.Command("list", "List a key's versions, newest first.", ListAsync, CommonOptions.Key),
            Session.Command(
                "disable", "Make an older version unusable until it is enabled again; shows first when it was last used.",
                async session =>
                {
                    VersionRequest request = Request(session);
                    await ShowUseAsync(session, request);
                    if (!session.Get(CommonOptions.Yes))
                    {
                        await Question.ConfirmAsync("Disable it?", session.CancellationToken);
                    }

                    Write(session, await session.Client.DisableVersionAsync(request, session.CancellationToken));
                },
                CommonOptions.Key, version, CommonOptions.Yes),
            Session.Command(
                "enable", "Make a disabled version usable again.",
                async session => Write(
                    session, await session.Client.EnableVersionAsync(Request(session), session.CancellationToken)),
                CommonOptions.Key, version),
        };
    }

    private static async Task ListAsync(Session session)
    {
        var versions = new List<VersionDescription>();
        ListVersionsResult page;
        do
        {
            page = await session.Client.ListVersionsAsync(
                new ListVersionsRequest
                {
                    Key = session.Get(CommonOptions.Key),
                    Limit = Limits.VersionsPage,
                    After = versions.Count == 0 ? null : versions[^1].Version,
                },
                session.CancellationToken);
            versions.AddRange(page.Versions);
        }
        while (page.Versions.Length == Limits.VersionsPage);

        var all = new ListVersionsResult { Versions = [.. versions] };
        session.Report.Write(all, ProtocolJsonContext.Default.ListVersionsResult, () =>
        {
            var sheet = new Sheet("Versions", "version", "state", "in effect", "created", "last use", "uses", "items", "root generation");
            foreach (VersionDescription version in versions)
            {
                sheet.Add(
                    Text.Of(version.Version), Wire.VersionStates[version.State], Wire.KeyStates[version.EffectiveState],
                    Text.Of(version.CreatedAt), Text.Of(version.LastUsedAt), Text.Of(version.UsageCount), Text.Of(version.ItemCount),
                    Text.Of(version.RootGeneration));
            }

            return sheet;
        });
    }

    private static async Task ShowUseAsync(Session session, VersionRequest request)
    {
        if (request.Version is < 1 or long.MaxValue)
        {
            throw new CommandException(ExitCode.Usage, "Versions count from 1; see 'kmsctl version list'.");
        }

        ListVersionsResult page = await session.Client.ListVersionsAsync(
            new ListVersionsRequest { Key = request.Key, Limit = 1, After = request.Version + 1 }, session.CancellationToken);
        if (page.Versions is [VersionDescription found, ..] && found.Version == request.Version)
        {
            await Question.TellAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"Version {found.Version} of '{request.Key}': last used {Text.Of(found.LastUsedAt)}, {Text.Count(found.UsageCount, "use")}."));
        }
    }

    private static void Write(Session session, VersionDescription version) =>
        session.Report.Write(version, ProtocolJsonContext.Default.VersionDescription, () =>
        {
            var sheet = new Sheet(null, "what", "value");
            sheet.Add("version", Text.Of(version.Version));
            sheet.Add("state", Wire.VersionStates[version.State]);
            sheet.Add("in effect", Wire.KeyStates[version.EffectiveState]);
            sheet.Add("created", Text.Of(version.CreatedAt));
            sheet.Add("changed", Text.Of(version.StateChangedAt));
            sheet.Add("last use", Text.Of(version.LastUsedAt));
            sheet.Add("uses", Text.Of(version.UsageCount));
            sheet.Add("items", Text.Of(version.ItemCount));
            sheet.Add("root generation", Text.Of(version.RootGeneration));
            return sheet;
        });
}
