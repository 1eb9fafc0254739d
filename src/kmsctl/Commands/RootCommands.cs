using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

internal static class RootCommands
{
    public static Command Make() => new("root", "Look after the root key.")
    {
        Status(),
    };

    private static Command Status() => Session.Command("status", "Show the root key, its generations, and who holds its shares.", async session =>
    {
        RootStatusResult root = await session.Client.ReadRootStatusAsync(session.CancellationToken);
        session.Report.Write(root, ProtocolJsonContext.Default.RootStatusResult, () =>
        {
            var sheet = new Sheet(null, "what", "value");
            sheet.Add("root key", string.Create(CultureInfo.InvariantCulture, $"generation {root.Generation}, origin {root.Origin}"));
            sheet.Add("made", Text.Of(root.CreatedAt));
            sheet.Add("rotate by", Text.Of(root.RotateBy));
            foreach (RootGenerationDescription generation in root.Generations)
            {
                sheet.Add(
                    string.Create(CultureInfo.InvariantCulture, $"generation {generation.Generation}"),
                    string.Create(CultureInfo.InvariantCulture, $"{generation.State}, {generation.Versions} versions"));
            }

            sheet.Add("re-wrapped", string.Create(CultureInfo.InvariantCulture, $"{root.Rewrap.Done} of {root.Rewrap.Total} versions"));
            AddCustody(sheet, root.Custody);
            return sheet;
        });
    });

    private static void AddCustody(Sheet sheet, CustodyDescription custody)
    {
        sheet.Add("custody", custody.Set is null ? custody.Kind : string.Create(
            CultureInfo.InvariantCulture, $"set {custody.Set}, any {custody.Threshold} of {custody.Count} shares"));
        if (custody.VerifiedAt is DateTimeOffset verified)
        {
            sheet.Add("shares last proven", Text.Of(verified));
        }

        foreach (ShareDescription share in custody.Shares ?? [])
        {
            sheet.Add(
                string.Create(CultureInfo.InvariantCulture, $"share {share.Share}"),
                $"{share.Custodian}; {share.Medium}, serial {share.MediumSerial}; seal {share.Seal}; {share.Safe}, {share.Site}; proven {Text.Of(share.VerifiedAt)}");
        }
    }
}
