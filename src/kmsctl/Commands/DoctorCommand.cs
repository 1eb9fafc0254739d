using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Doctor;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>Looks for rights of those who aren't there any more, and for what the daemon doesn't serve because it was changed from outside.</summary>
internal static class DoctorCommand
{
    public static Command Make() => Session.Command(
        "doctor",
        "Look for grants and members whose account, group or unit isn't on this host (any more), and, for operators, for keys in quarantine: exits with 0 if there are none, with 1 if there are.",
        async session =>
        {
            DoctorReport report = await ExamineAsync(session, new Examination(UnitFiles.OfThisHost));
            if (report.Findings.Length > 0 || report.Quarantine is not null || session.Report.IsJson)
            {
                session.Report.Write(report, KmsctlJsonContext.Default.DoctorReport, () => Describe(report));
            }

            string looked = string.Create(
                CultureInfo.InvariantCulture,
                $"Looked at the grants of {Count(report.Keys, "key")} and the members of {Count(report.Stores, "store")}: accounts and groups by the name service, units by their files.");
            await Question.TellAsync(looked);
            if (report.KeysNotLookedAt > 0)
            {
                await Question.TellAsync($"{Count(report.KeysNotLookedAt, "key")} more that you may see hide their grants from you: a manager sees them.");
            }

            if (report.Findings.Length > 0 || report.Quarantine is not null)
            {
                throw new CommandException(ExitCode.No, string.Join(' ', Sum(report)));
            }
        });

    /// <summary>What was found, and what to do about it.</summary>
    private static IEnumerable<string> Sum(DoctorReport report)
    {
        if (report.Findings.Length > 0)
        {
            yield return $"{Count(report.Findings.Length, "right")} of nobody who is there. Take them away: kmsctl grant remove, kmsctl member remove.";
        }

        if (report.Quarantine is { } quarantine)
        {
            yield return $"{Count(quarantine.Keys, "key")} and {Count(quarantine.Stores.Length, "store")} in quarantine: find out who wrote to the database, and put it back from a backup (kmsd restore FILE).";
        }
    }

    private static async Task<DoctorReport> ExamineAsync(Session session, Examination examination)
    {
        var findings = new List<Finding>();
        StatusResult? status = await TryAsync(() => session.Client.GetStatusAsync(session.CancellationToken));
        ListKeysResult keys = await KeyCommands.ReadAllAsync(session, null, null);
        ListStoresResult stores = await session.Client.ListStoresAsync(session.CancellationToken);
        int storesLookedAt = 0;
        foreach (string store in stores.Stores.Select(store => store.Name))
        {
            MembersResult? members = await TryAsync(
                () => session.Client.ListMembersAsync(new ListMembersRequest { Store = store }, session.CancellationToken));
            storesLookedAt += members is null ? 0 : 1;
            foreach (MemberDescription member in members?.Members ?? [])
            {
                Judge(store, null, member.Principal, member.Display, Wire.StoreRoles[member.Role]);
            }
        }

        int notLookedAt = 0;
        foreach (KeyDescription key in keys.Keys)
        {
            GrantsResult? grants = await TryAsync(
                () => session.Client.ListGrantsAsync(new KeyRequest { Key = key.Tag }, session.CancellationToken));
            notLookedAt += grants is null ? 1 : 0;
            foreach (GrantDescription grant in grants?.Grants ?? [])
            {
                Judge(key.Store, key, grant.Principal, grant.Display, Wire.KeyRoles[grant.Role]);
            }
        }

        return new DoctorReport
        {
            Findings = [.. findings],
            Quarantine = status?.Quarantine,
            Keys = keys.Keys.Length - notLookedAt,
            Stores = storesLookedAt,
            KeysNotLookedAt = notLookedAt,
        };

        void Judge(string store, KeyDescription? key, string principal, string? display, string role)
        {
            (Problem problem, string explanation) = examination.Judge(principal, display);
            if (problem != Problem.None)
            {
                findings.Add(new Finding
                {
                    Store = store,
                    Key = key?.Name,
                    Tag = key?.Tag,
                    Principal = principal,
                    Role = role,
                    Problem = problem,
                    Explanation = explanation,
                });
            }
        }
    }

    /// <summary>Null for what the caller may not see, and for what went away meanwhile or isn't served.</summary>
    private static async Task<T?> TryAsync<T>(Func<Task<T>> call)
        where T : class
    {
        try
        {
            return await call();
        }
        catch (KmsException refusal) when (refusal.Code is KmsErrorCode.Forbidden or KmsErrorCode.NotFound or KmsErrorCode.IntegrityFailure)
        {
            return null;
        }
    }

    private static Sheet Describe(DoctorReport report)
    {
        const string InQuarantine = "in quarantine, so not served: what is stored of it was changed from outside";
        var sheet = new Sheet("What is wrong", "on", "principal", "role", "what is wrong");
        foreach (string store in report.Quarantine?.Stores ?? [])
        {
            sheet.Add($"store {store}", Text.None, Text.None, InQuarantine);
        }

        foreach (string tag in report.Quarantine?.Tags ?? [])
        {
            sheet.Add($"key {tag}", Text.None, Text.None, InQuarantine);
        }

        foreach (Finding finding in report.Findings)
        {
            string on = finding.Key is null ? $"store {finding.Store}" : $"key {finding.Store}/{finding.Key}";
            sheet.Add(on, finding.Principal, finding.Role, finding.Explanation);
        }

        return sheet;
    }

    private static string Count(long number, string noun) =>
        string.Create(CultureInfo.InvariantCulture, $"{number} {noun}{(number == 1 ? string.Empty : "s")}");
}
