using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>Key stores, and what a bill is made from.</summary>
internal static class StoreCommands
{
    public static Command Make()
    {
        var name = new Argument<string>("NAME") { Description = "3 to 64 letters, digits, '-' and '_'; starts with a letter." };
        var manager = new Option<string>("--manager")
        {
            Description = "Its first manager: uid:1000, gid:34, unit:nginx.service, user:alice or group:backup.",
            HelpName = "PRINCIPAL",
            Required = true,
        };
        return new("store", "Make and list key stores.")
        {
            Session.Command(
                "create", "Make a key store with its first manager; for operators.",
                async session => Write(session, await session.Client.CreateStoreAsync(
                    new CreateStoreRequest { Name = session.Get(name), Manager = session.GetRequired(manager) }, session.CancellationToken)),
                name, manager),
            Session.Command(
                "list", "List the stores that you are a member of; operators see all.",
                async session =>
                {
                    ListStoresResult result = await session.Client.ListStoresAsync(session.CancellationToken);
                    session.Report.Write(result, ProtocolJsonContext.Default.ListStoresResult, () =>
                    {
                        var sheet = new Sheet("Stores", "name", "created", "your role");
                        foreach (StoreDescription store in result.Stores)
                        {
                            sheet.Add(store.Name, Text.Of(store.CreatedAt), Role(store));
                        }

                        return sheet;
                    });
                }),
        };
    }

    public static Command Usage()
    {
        var store = new Option<string>("--store")
        {
            Description = "The key store; default 'default'.",
            HelpName = "STORE",
            DefaultValueFactory = _ => "default",
        };
        var month = new Option<string?>("--month") { Description = "A month in UTC, as 2026-11; default: the present one, so far.", HelpName = "MONTH" };
        return Session.Command(
            "usage", "Show what the keys of a store were and did in a month: what a bill is made from. For managers of the store.",
            async session =>
            {
                UsageReportResult result = await session.Client.ReportUsageAsync(
                    new UsageReportRequest { Store = session.GetRequired(store), Month = session.Get(month) ?? PresentMonth() }, session.CancellationToken);
                session.Report.Write(result, ProtocolJsonContext.Default.UsageReportResult, () =>
                {
                    var sheet = new Sheet(
                        $"{result.Store}, {result.Month}", "name", "tag", "type", "days enabled", "disabled", "pending deletion", "billed", "calls");
                    foreach (KeyUsageReport key in result.Keys)
                    {
                        sheet.Add(
                            key.Name, key.Tag, Wire.KeyTypes[key.Type], Days(key.EnabledDays), Days(key.DisabledDays), Days(key.PendingDeletionDays),
                            Days(key.BillableDays), Text.Of(key.Calls));
                    }

                    return sheet;
                });
            },
            store, month);
    }

    private static void Write(Session session, StoreDescription store) =>
        session.Report.Write(store, ProtocolJsonContext.Default.StoreDescription, () =>
        {
            var sheet = new Sheet(null, "what", "value");
            sheet.Add("name", store.Name);
            sheet.Add("created", Text.Of(store.CreatedAt));
            sheet.Add("your role", Role(store));
            return sheet;
        });

    private static string Role(StoreDescription store) => store.MyRole is StoreRole role ? Wire.StoreRoles[role] : Text.None;

    private static string Days(double days) => days.ToString("0.###", CultureInfo.InvariantCulture);

    private static string PresentMonth() => TimeProvider.System.GetUtcNow().ToString("yyyy-MM", CultureInfo.InvariantCulture);
}
