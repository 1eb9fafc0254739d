using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>Has the daemon copy its database. For operators.</summary>
internal static class BackupCommand
{
    public static Command Make()
    {
        var name = new Argument<string?>("NAME")
        {
            Description = "The file's name in the daemon's backup folder (state_dir/backups); default: one made of the time.",
            DefaultValueFactory = _ => null,
        };
        return Session.Command(
            "backup", "Copy the database, while kmsd serves, into its backup folder; for operators.",
            async session =>
            {
                CreateBackupResult made = await session.Client.CreateBackupAsync(
                    new CreateBackupRequest { Path = session.Find(name) }, session.CancellationToken);
                session.Report.Write(made, ProtocolJsonContext.Default.CreateBackupResult, () =>
                {
                    var sheet = new Sheet(null, "what", "value");
                    sheet.Add("backed up", "kmsd's database, without the root key");
                    sheet.Add("file", made.Folder is null ? made.Path : Path.Combine(made.Folder, made.Path));
                    if (made.Size is long size)
                    {
                        sheet.Add("size", string.Create(CultureInfo.InvariantCulture, $"{size} bytes"));
                    }

                    sheet.Add("sha256", made.Sha256);
                    sheet.Add("history entries", made.Entries.ToString(CultureInfo.InvariantCulture));
                    return sheet;
                });

                // A backup that can't be put back looks as good as any other, and the clean-up removes those that can.
                StatusResult status = await session.Client.GetStatusAsync(session.CancellationToken);
                if (status.Database == DatabaseState.IntegrityFailure)
                {
                    throw new CommandException(
                        ExitCode.Integrity,
                        "The backup was made, but the daemon has found that the database was changed: 'kmsd restore' may refuse this backup."
                            + " Keep the older ones, and suspend whatever removes them; the daemon's journal says what was changed (journalctl -u kmsd).");
                }
            },
            name);
    }
}
