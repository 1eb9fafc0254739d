using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests.Booted;

/// <summary>Accounts that were deleted and units that were removed, on a host that has both.</summary>
[Collection(BootedHosts.Name)]
public sealed class BootedDoctorTests(BootedHost host)
{
    [Fact]
    public async Task What_went_away_after_it_was_granted_is_found_and_what_is_there_is_not()
    {
        await host.ServeAsync();
        _ = await host.SucceedAsync($"""
            systemctl start user@1000.service
            useradd --uid 1777 carol
            groupadd --gid 1888 crew
            for unit in kept gone real masked job@; do
                printf '[Service]\nExecStart=/bin/true\n' > /etc/systemd/system/doctor-$unit.service
            done
            ln -s /etc/systemd/system/doctor-real.service /etc/systemd/system/doctor-alias.service
            systemctl daemon-reload
            {BootedHost.As("alice", "kmsctl key create doctored")} > /dev/null
            for principal in user:carol group:crew user:bob unit:doctor-kept.service unit:doctor-gone.service unit:doctor-alias.service \
                unit:doctor-masked.service unit:doctor-job@1.service unit:systemd-journald.service; do
                {BootedHost.As("alice", "kmsctl grant add doctored $principal reviewer")} > /dev/null
            done
            """);
        Assert.DoesNotContain(await FindAsync("alice"), finding => !finding.StartsWith("aliasUnit", StringComparison.Ordinal));

        _ = await host.SucceedAsync("""
            userdel carol
            groupdel crew
            rm /etc/systemd/system/doctor-gone.service /etc/systemd/system/doctor-masked.service
            systemctl mask -q doctor-masked.service
            systemctl daemon-reload
            """);
        string[] expected =
        [
            "aliasUnit unit:doctor-alias.service", "maskedUnit unit:doctor-masked.service", "noAccount uid:1777", "noGroup gid:1888",
            "noUnit unit:doctor-gone.service",
        ];
        Assert.Equal(
            expected.SelectMany(finding => new[] { $"{finding} in default", $"{finding} on doctored" }).Order(StringComparer.Ordinal),
            (await FindAsync("alice")).Order(StringComparer.Ordinal));

        // An operator sees the members, and no key; bob sees the key, and not who else has rights on it.
        Assert.Equal(
            expected.Select(finding => $"{finding} in default").Order(StringComparer.Ordinal), (await FindAsync("root")).Order(StringComparer.Ordinal));
        Assert.Empty(await FindAsync("bob"));
        Finished bob = await host.RunAsync(BootedHost.As("bob", "kmsctl doctor"));
        Assert.Equal(0, bob.ExitCode);
        Assert.Contains("1 key more that you may see hide", bob.Error, StringComparison.Ordinal);
        Assert.Equal(1, (await host.RunAsync(BootedHost.As("alice", "kmsctl doctor"))).ExitCode);
    }

    /// <summary>Findings of other tests' units aside: their units lived only while they ran.</summary>
    private async Task<string[]> FindAsync(string user)
    {
        Finished finished = await host.RunAsync(BootedHost.As(user, "kmsctl doctor --json"));
        var report = JsonElement.Parse(finished.Output);
        JsonElement[] findings = [.. report.GetProperty("findings").EnumerateArray()];
        Assert.Equal(findings.Length > 0 ? 1 : 0, finished.ExitCode);
        return
        [
            .. findings
                .Select(finding =>
                    $"{finding.GetProperty("problem").GetString()} {finding.GetProperty("principal").GetString()} "
                    + (finding.TryGetProperty("key", out JsonElement key) ? $"on {key.GetString()}" : "in " + finding.GetProperty("store").GetString()))
                .Where(finding => finding.Contains("unit:doctor-", StringComparison.Ordinal) || finding.Contains("id:1", StringComparison.Ordinal)),
        ];
    }
}
