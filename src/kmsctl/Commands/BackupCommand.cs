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
            },
            name);
    }
}
