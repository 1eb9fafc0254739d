using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Files;
using Kmsctl.Output;

namespace Kmsctl.Commands;

internal static class SystemCommands
{
    // node_exporter runs as somebody else.
    private const UnixFileMode TextfileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    public static Command Status() => Session.Command("status", "Show whether the service is well.", async session =>
    {
        StatusResult status = await session.Client.GetStatusAsync(session.CancellationToken);
        session.Report.Write(status, ProtocolJsonContext.Default.StatusResult, () =>
        {
            var sheet = new Sheet(null, "what", "value");
            sheet.Add("status", status.Status);
            sheet.Add("version", status.Version);
            sheet.Add("token", status.Token);
            sheet.Add("database", status.Database);
            if (status.Root is { } root)
            {
                sheet.Add("root key", string.Create(CultureInfo.InvariantCulture, $"generation {root.Generation}, from the {root.Origin}"));
                sheet.Add("root key made", Text.Of(root.CreatedAt));
                sheet.Add("rotate root by", Text.Of(root.RotateBy));
                sheet.Add("custody", root.Custody);
            }

            if (status.Quarantine is { } quarantine)
            {
                sheet.Add("keys in quarantine", Text.Of(quarantine.Keys));
                foreach (string tag in quarantine.Tags)
                {
                    sheet.Add("key in quarantine", tag);
                }

                foreach (string store in quarantine.Stores)
                {
                    sheet.Add("store in quarantine", store);
                }
            }

            sheet.AddIfKnown("connections", Text.Of(status.Connections));
            sheet.AddIfKnown("queue", Text.Of(status.Queue));
            foreach (string weakness in status.Weaknesses ?? [])
            {
                sheet.Add("weakness", weakness);
            }

            return sheet;
        });
    });

    public static Command Metrics()
    {
        var file = new Option<string?>("--textfile")
        {
            Description = "Write to FILE instead (mode 0644), which is replaced whole: for the textfile collector of Prometheus' node_exporter.",
            HelpName = "FILE",
        };
        return Session.Command(
            "metrics", "Print what the daemon counts and measures, in Prometheus' text format; for operators.",
            async session =>
            {
                using NewFile? output = session.Get(file) is string path ? NewFile.Create(path, replace: true, TextfileMode) : null;
                MetricsResult metrics = await session.Client.ReadMetricsAsync(session.CancellationToken);
                if (output is null)
                {
                    session.Report.WriteLines(metrics, ProtocolJsonContext.Default.MetricsResult, metrics.Text);
                    return;
                }

                output.Write(System.Text.Encoding.UTF8.GetBytes(metrics.Text));
                output.Commit();
            },
            file);
    }

    public static Command WhoAmI() => Session.Command("whoami", "Show what the kernel tells the daemon of you.", async session =>
    {
        WhoAmIResult caller = await session.Client.WhoAmIAsync(session.CancellationToken);
        session.Report.Write(caller, ProtocolJsonContext.Default.WhoAmIResult, () =>
        {
            var sheet = new Sheet(null, "what", "value");
            sheet.Add("uid", Text.Of(caller.Uid));
            sheet.Add("gid", Text.Of(caller.Gid));
            sheet.Add("groups", string.Join(' ', caller.Groups.Select(Text.Of)));
            sheet.AddIfKnown("unit", caller.Unit);
            sheet.Add("principals", string.Join(' ', caller.Principals));
            sheet.Add("operator", caller.Operator ? "yes" : "no");
            foreach (StoreMembership store in caller.Stores)
            {
                sheet.Add("store", $"{store.Name} ({Wire.StoreRoles[store.Role]})");
            }

            return sheet;
        });
    });
}
