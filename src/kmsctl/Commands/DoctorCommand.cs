using System.CommandLine;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsctl.Doctor;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>Looks for rights of those who aren't there any more, for stores that nobody manages, and for what the daemon finds wrong with itself.</summary>
internal static class DoctorCommand
{
    public static Command Make() => Session.Command(
        "doctor",
        "Look for grants and members whose account, group or unit isn't on this host (any more), for stores without a manager, and for what the daemon finds wrong with itself (operators see it by name): exits with 0 if there is nothing, with 21 if the database was changed from outside, else with 1.",
        async session =>
        {
            DoctorReport report = await ExamineAsync(session, new Examination(UnitFiles.OfThisHost));
            Sheet sheet = Describe(report);
            if (sheet.Rows.Count > 0 || session.Report.IsJson)
            {
                session.Report.Write(report, KmsctlJsonContext.Default.DoctorReport, () => sheet);
            }

            foreach (string line in Scope(report))
            {
                await Question.TellAsync(line);
            }

            string[] sum = [.. Sum(report)];
            if (sum.Length > 0)
            {
                throw new CommandException(IsForged(report) ? ExitCode.Integrity : ExitCode.No, string.Join(' ', sum));
            }
        });

    private static bool IsForged(DoctorReport report) =>
        report.Quarantine is not null || report.KeysInQuarantine > 0 || report.Database == DatabaseState.IntegrityFailure;

    /// <summary>How much was looked at, and what not, and why.</summary>
    private static IEnumerable<string> Scope(DoctorReport report)
    {
        yield return $"Looked at the grants of {Text.Count(report.Keys, "key")} and the members of {Text.Count(report.Stores, "store")}: accounts and groups by the name service, units by their files.";
        if (report.KeysThatHideTheirGrants > 0)
        {
            yield return $"{Text.Count(report.KeysThatHideTheirGrants, "key")} more that you may see {(report.KeysThatHideTheirGrants == 1 ? "hides its" : "hide their")} grants from you: a manager sees them.";
        }

        if (report.KeysNotSeen > 0)
        {
            yield return $"{Text.Count(report.KeysNotSeen, "key")} more {(report.KeysNotSeen == 1 ? "is" : "are")} hidden from operators without a role on them: a manager of the key, or of its store, runs this for their grants.";
        }
    }

    /// <summary>What was found, and what to do about it. Nothing: all is well.</summary>
    private static IEnumerable<string> Sum(DoctorReport report)
    {
        int rights = report.Findings.Count(finding => finding.Problem != Problem.NoManager);
        if (rights > 0)
        {
            yield return $"{Text.Count(rights, "right")} of nobody who is there. Take them away: kmsctl grant remove, kmsctl member remove.";
        }

        if (rights < report.Findings.Length)
        {
            yield return $"{Text.Count(report.Findings.Length - rights, "store")} without a manager. An operator names one: kmsctl member add STORE PRINCIPAL manager.";
        }

        if (report.Quarantine is { } quarantine)
        {
            yield return $"{Text.Count(quarantine.Keys, "key")} and {Text.Count(quarantine.Stores.Length, "store")} in quarantine: find out who wrote to the database, and put it back from a backup (kmsd restore FILE).";
        }
        else if (report.KeysInQuarantine > 0)
        {
            yield return $"{Text.Count(report.KeysInQuarantine, "key")} in quarantine: what is stored of {(report.KeysInQuarantine == 1 ? "it" : "them")} was changed from outside. Tell an operator; 'kmsctl status' tells him what to do.";
        }
        else if (report.Database == DatabaseState.IntegrityFailure)
        {
            yield return report.Weaknesses is null
                ? "The daemon's database was changed from outside. Tell an operator; 'kmsctl status' tells him what was."
                : "The database was changed from outside: find out who wrote to it; docs/operations.md, \"A history that isn't as it was written\", says what to do.";
        }
        else if (report.Degraded)
        {
            yield return "The service is degraded; see 'kmsctl status'.";
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
            if (members is null)
            {
                continue;
            }

            storesLookedAt++;
            foreach (MemberDescription member in members.Members)
            {
                Judge(store, null, member.Principal, member.Display, Wire.StoreRoles[member.Role]);
            }

            if (!members.Members.Any(member => member.Role == StoreRole.Manager))
            {
                findings.Add(new Finding
                {
                    Store = store,
                    Problem = Problem.NoManager,
                    Explanation = "nobody manages it: nobody can make keys in it",
                });
            }
        }

        int hidden = 0;
        int inQuarantine = 0;
        foreach (KeyDescription key in keys.Keys)
        {
            try
            {
                GrantsResult grants = await session.Client.ListGrantsAsync(new KeyRequest { Key = key.Tag }, session.CancellationToken);
                foreach (GrantDescription grant in grants.Grants)
                {
                    Judge(key.Store, key, grant.Principal, grant.Display, Wire.KeyRoles[grant.Role]);
                }
            }
            catch (KmsException refusal) when (refusal.Code is KmsErrorCode.Forbidden or KmsErrorCode.NotFound)
            {
                hidden++;
            }
            catch (KmsException refusal) when (refusal.Code == KmsErrorCode.IntegrityFailure)
            {
                inQuarantine++;
            }
        }

        // Only operators are told of weaknesses, and only they may read the metrics.
        long notSeen = status?.Weaknesses is null ? 0
            : Math.Max(0, CountKeys((await session.Client.ReadMetricsAsync(session.CancellationToken)).Text) - keys.Keys.Length);
        return new DoctorReport
        {
            Findings = [.. findings],
            Quarantine = status?.Quarantine,
            Database = status?.Database,
            Degraded = status is not null and not { Status: "ok" },
            Weaknesses = status?.Weaknesses,
            Keys = keys.Keys.Length - hidden - inQuarantine,
            Stores = storesLookedAt,
            KeysNotLookedAt = hidden + inQuarantine + notSeen,
            KeysThatHideTheirGrants = hidden,
            KeysInQuarantine = inQuarantine,
            KeysNotSeen = notSeen,
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

    /// <summary>All keys that there are, but for what remains of deleted ones: <c>kmsd_keys{state="…"} N</c>.</summary>
    private static long CountKeys(string metrics)
    {
        const string Gauge = "kmsd_keys{state=\"";
        long keys = 0;
        foreach (string line in metrics.Split('\n').Where(line => line.StartsWith(Gauge, StringComparison.Ordinal)))
        {
            bool isDeleted = line.StartsWith($"{Gauge}{Wire.KeyStates[KeyState.Deleted]}\"", StringComparison.Ordinal);
            string value = line[(line.LastIndexOf(' ') + 1)..];
            keys += !isDeleted && long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out long count) ? count : 0;
        }

        return keys;
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

        foreach (string weakness in report.Weaknesses ?? [])
        {
            sheet.Add("the service", Text.None, Text.None, weakness);
        }

        foreach (Finding finding in report.Findings)
        {
            string on = finding.Key is null ? $"store {finding.Store}" : $"key {finding.Store}/{finding.Key}";
            sheet.Add(on, finding.Principal ?? Text.None, finding.Role ?? Text.None, finding.Explanation);
        }

        return sheet;
    }
}
