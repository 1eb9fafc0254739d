using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests.Booted;

/// <summary>Real units, users and sessions of a booted systemd: who passes for whom.</summary>
[Collection(BootedHosts.Name)]
public sealed class BootedUnitTests(BootedHost host)
{
    private const int NotFound = 11;
    private const int Usage = 64;

    private const long FirstDynamicUser = 61184;
    private const long LastDynamicUser = 65519;

    private const string WhoAmI = "kmsctl whoami --json";

    [Fact]
    public async Task A_unit_with_a_grant_encrypts_and_another_finds_nothing()
    {
        await host.ServeAsync();
        await MakeKeyAsync("of-vault", "unit:vault.service");
        Identity vault = await host.WhoIsAsync(BootedHost.AsUnit("vault", WhoAmI, "DynamicUser=yes"));
        Assert.Equal("vault.service", vault.Unit);
        Assert.InRange(vault.Uid, FirstDynamicUser, LastDynamicUser);
        Assert.Contains("unit:vault.service", vault.Principals);
        Assert.DoesNotContain($"uid:{vault.Uid}", vault.Principals);

        string sealedText = await host.SucceedAsync(BootedHost.AsUnit("vault", "echo a secret | kmsctl encrypt of-vault -", "DynamicUser=yes"));
        Assert.StartsWith("kms:v1:", sealedText, StringComparison.Ordinal);
        Assert.Equal("unit:vault.service|vault.service|crypto.encrypt\n", await host.QueryAsync(
            "SELECT principal, unit, operation FROM history ORDER BY sequence DESC LIMIT 1"));

        // Whoever runs it: the unit is what was granted to. History names a user who is one for good.
        string opened = await host.SucceedAsync(BootedHost.AsUnit("vault", $"echo '{sealedText.Trim()}' | kmsctl decrypt of-vault -", "User=bob"));
        Assert.Equal("a secret\n", opened);
        Assert.Equal("uid:1001|vault.service|crypto.decrypt\n", await host.QueryAsync(
            "SELECT principal, unit, operation FROM history ORDER BY sequence DESC LIMIT 1"));

        foreach (string script in new[]
        {
            BootedHost.AsUnit("vault2", "echo x | kmsctl encrypt of-vault -", "DynamicUser=yes"),
            BootedHost.AsUnit("vault@1", "echo x | kmsctl encrypt of-vault -", "DynamicUser=yes"),
            BootedHost.As("bob", "kmsctl key show of-vault"),
        })
        {
            Assert.Equal(NotFound, (await host.RunAsync(script)).ExitCode);
        }
    }

    [Theory]
    [InlineData("backup@home.service")]
    [InlineData("my-tool@a-b.service")]
    [InlineData("a:b.service")]
    [InlineData(@"x\x2dy.service")]
    [InlineData("memory.service")]
    [InlineData("_x.service")]
    [InlineData("cgroup.x.service")]
    public async Task However_systemd_writes_a_units_group_its_name_is_found(string unit)
    {
        await host.ServeAsync();
        Assert.Equal(unit, (await host.WhoIsAsync(BootedHost.AsUnit(unit, WhoAmI, "DynamicUser=yes"))).Unit);
    }

    /// <summary>In a slice of its own, a unit is outside of what kmsd takes systemd's word for.</summary>
    [Theory]
    [InlineData("Slice=system-shop.slice", "shop.service")]
    [InlineData("Slice=shop.slice", null)]
    [InlineData("Slice=user.slice", null)]
    [InlineData("Slice=user-1000.slice", null)]
    public async Task Only_below_the_slice_of_the_system_is_a_unit(string slice, string? unit)
    {
        await host.ServeAsync();
        Assert.Equal(unit, (await host.WhoIsAsync(BootedHost.AsUnit("shop", WhoAmI, "DynamicUser=yes", slice))).Unit);
    }

    [Fact]
    public async Task A_group_that_a_unit_makes_below_its_own_is_still_the_unit()
    {
        await host.ServeAsync();
        Identity caller = await host.WhoIsAsync(BootedHost.AsUnit(
            "delegated",
            """
            group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/system.slice/vault.service
            mkdir -p "$group"
            echo $$ > "$group/cgroup.procs"
            grep -q '^0::/system.slice/delegated.service/system.slice/vault.service$' /proc/self/cgroup
            kmsctl whoami --json
            """,
            "User=alice", "Delegate=yes"));
        Assert.Equal((1000, "delegated.service"), (caller.Uid, caller.Unit));
        Assert.DoesNotContain("unit:vault.service", caller.Principals);
    }

    [Fact]
    public async Task A_users_cron_job_is_the_user_and_no_unit()
    {
        await host.ServeAsync();
        Identity caller = await host.WhoIsAsync("""
            rm -f /run/crond.reboot /tmp/cron.*
            echo '@reboot alice { grep ^0:: /proc/self/cgroup; kmsctl whoami --json; } > /tmp/cron.out 2>&1; touch /tmp/cron.done' > /etc/cron.d/kms-test
            systemctl restart cron.service
            for i in $(seq 100); do [ ! -e /tmp/cron.done ] || break; sleep 0.1; done
            rm /etc/cron.d/kms-test
            grep -q '^0::/system.slice/cron.service$' /tmp/cron.out
            cat /tmp/cron.out
            """);
        AssertIsAliceAlone(caller);
    }

    [Theory]
    [InlineData("vault", "", "app.slice/vault.service")]
    [InlineData("vault", "--slice=system.slice", "system.slice/vault.service")]
    [InlineData("vault", "--slice=system-vault.slice", "system.slice/system-vault.slice/vault.service")]
    public async Task A_unit_of_a_users_own_manager_is_the_user_and_no_unit(string unit, string options, string group)
    {
        await host.ServeAsync();
        AssertIsAliceAlone(await host.WhoIsAsync(BootedHost.AsUserUnit(
            unit, $"grep -q '^0::/user.slice/user-1000.slice/user@1000.service/{group}$' /proc/self/cgroup\n{WhoAmI}", options)));
    }

    [Fact]
    public async Task A_login_session_is_the_user_and_no_unit()
    {
        await host.ServeAsync();
        AssertIsAliceAlone(await host.WhoIsAsync(BootedHost.AsUnit(
            "vault", $"grep -q '^0::/user.slice/user-1000.slice/session-' /proc/self/cgroup\n{WhoAmI}", "User=alice", "PAMName=login")));
    }

    /// <summary>In the tree that is delegated to her, alice names groups as she likes; elsewhere she makes and enters none.</summary>
    [Theory]
    [InlineData("vault.service")]
    [InlineData("system.slice/vault.service")]
    public async Task A_group_that_a_user_makes_is_no_unit(string name)
    {
        await host.ServeAsync();
        Identity caller = await host.WhoIsAsync("systemctl start cron.service\n" + BootedHost.AsUserUnit(
            "maker",
            $$"""
            ! mkdir /sys/fs/cgroup/system.slice/evil.service 2> /dev/null
            ! { echo $$ > /sys/fs/cgroup/system.slice/cron.service/cgroup.procs; } 2> /dev/null
            group=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/{{name}}
            mkdir -p "$group"
            echo $$ > "$group/cgroup.procs"
            grep -q '^0::/user.slice/user-1000.slice/user@1000.service/{{name}}$' /proc/self/cgroup
            kmsctl whoami --json
            """));
        AssertIsAliceAlone(caller);
    }

    /// <summary>What she sees of herself in namespaces of her own isn't what kmsd sees.</summary>
    [Theory]
    [InlineData("--user", "65534")]
    [InlineData("--user --map-root-user", "0")]
    [InlineData("--user --map-root-user --cgroup", "0")]
    [InlineData("--user --map-root-user --cgroup --mount --pid --fork", "0")]
    public async Task In_a_namespace_of_her_own_a_user_is_nobody_else(string namespaces, string seen)
    {
        await host.ServeAsync();
        AssertIsAliceAlone(await host.WhoIsAsync(BootedHost.AsUserUnit(
            "vault", $"unshare {namespaces} sh -eu -c '[ $(id -u) = {seen} ]; {BootedHost.WhoAmIWithoutClient}'", "--slice=system.slice")));
    }

    /// <summary>With ids that its kernel view doesn't map kmsd can't tell anybody; then a unit's name isn't enough either.</summary>
    [Fact]
    public async Task Unmapped_ids_are_nobody_and_in_no_unit()
    {
        await host.ServeAsync();
        await MakeKeyAsync("of-mapped", "unit:vault.service", "user:alice");
        try
        {
            _ = await host.SucceedAsync("""
                printf '[Service]\nPrivateUsers=yes\n' > /etc/systemd/system/kmsd.service.d/private.conf
                systemctl daemon-reload
                systemctl restart kmsd.service
                """);
            foreach ((string as1, string as2) in new[]
            {
                (BootedHost.As("alice", WhoAmI), BootedHost.As("alice", "kmsctl key show of-mapped")),
                (BootedHost.AsUnit("vault", WhoAmI, "DynamicUser=yes"), BootedHost.AsUnit("vault", "kmsctl key show of-mapped", "DynamicUser=yes")),
            })
            {
                Identity caller = await host.WhoIsAsync(as1);
                Assert.Equal((65534, null), (caller.Uid, caller.Unit));
                Assert.Empty(caller.Principals);
                Assert.Equal(NotFound, (await host.RunAsync(as2)).ExitCode);
            }
        }
        finally
        {
            _ = await host.SucceedAsync("""
                rm /etc/systemd/system/kmsd.service.d/private.conf
                systemctl daemon-reload
                systemctl restart kmsd.service
                """);
        }

        Assert.Equal(Usage, (await host.RunAsync(BootedHost.As("alice", "kmsctl grant add of-mapped uid:65534 encryptor"))).ExitCode);

        // A service that runs as nobody shares that id with every other one, and is in no unit.
        Identity nobody = await host.WhoIsAsync(BootedHost.AsUnit("vault", WhoAmI, "User=nobody"));
        Assert.Equal((65534, null), (nobody.Uid, nobody.Unit));
        Assert.DoesNotContain(nobody.Principals, principal => principal.StartsWith("uid:", StringComparison.Ordinal));
    }

    /// <summary>
    /// kmsd is stopped while somebody connects. He ends, his socket lives on in another process, and a process of the unit gets
    /// his number: only the pidfd tells the two apart. While he lives, his unit is told: so the test would see one.
    /// </summary>
    [Theory]
    [InlineData("alive", true)]
    [InlineData("gone", false)]
    [InlineData("reused", false)]
    public async Task Whoever_ended_before_he_was_seen_is_in_no_unit_even_if_his_number_is(string how, bool isInUnit)
    {
        await host.ServeAsync();
        _ = await host.SucceedAsync("""
            systemctl is-active -q reused.service || systemd-run --quiet --collect --unit=reused -p DynamicUser=yes sleep 600
            mkdir -p /run/proc
            mountpoint -q /run/proc || mount -t proc proc /run/proc
            cat > /run/caller.pl <<'SCRIPT'
            use strict; use Socket; use POSIX ();
            my ($how) = @ARGV;
            my $group = '/sys/fs/cgroup/system.slice/reused.service/cgroup.procs';
            my ($uid, $gid, $kms) = ((getpwnam 'alice')[2, 3], (getgrnam 'kms')[2]);
            my $kmsd = qx(systemctl show -p MainPID --value kmsd.service); chomp $kmsd;
            sub enter { open my $procs, '>', $group or die "$group: $!"; syswrite $procs, $_[0] or die "$group: $!" }

            END { kill 'CONT', $kmsd }
            kill 'STOP', $kmsd;
            select undef, undef, undef, 0.01 until qx(cat /proc/$kmsd/stat) =~ /\) T /;
            pipe my $wait, my $go; pipe my $answer, my $say; pipe my $stay, my $end;
            my $caller = fork;
            if (!$caller) {
                enter $$ unless $how eq 'reused';
                $) = "$gid $kms"; POSIX::setgid($gid); POSIX::setuid($uid);
                socket my $socket, PF_UNIX, SOCK_STREAM, 0 or die $!;
                connect $socket, pack_sockaddr_un('/run/kmsd/kmsd.sock') or die "connect: $!";
                if (!fork) {
                    close $go; readline $wait;
                    syswrite $socket, qq({"jsonrpc":"2.0","id":1,"method":"system.whoAmI"}\n);
                    sysread $socket, my $line, 65536; syswrite $say, $line; POSIX::_exit(0);
                }
                if ($how eq 'alive') { close $end; close $say; readline $stay }
                POSIX::_exit(0);
            }
            close $stay;
            if ($how eq 'alive') { select undef, undef, undef, 0.3 } else { waitpid $caller, 0 }
            my $heir = 0;
            for (1 .. 500) {
                last unless $how eq 'reused';
                open my $last, '>', '/run/proc/sys/kernel/ns_last_pid' or die "ns_last_pid: $!"; syswrite $last, $caller - 1 or die $!; close $last;
                $heir = fork;
                if (!$heir) { close $_ for $go, $say, $end; sleep 60; POSIX::_exit(0) }
                last if $heir == $caller;
                kill 'KILL', $heir; waitpid $heir, 0; $heir = 0;
            }
            if ($how eq 'reused') { $heir or die 'nobody got his number'; enter $heir }
            kill 'CONT', $kmsd;
            syswrite $go, "go\n"; close $say;
            print readline $answer;
            close $end;
            if ($heir) { kill 'KILL', $heir; waitpid $heir, 0 }
            SCRIPT
            """);
        string answer = await host.SucceedAsync($"timeout 60 perl /run/caller.pl {how}");
        var caller = Identity.Parse(System.Text.Json.JsonElement.Parse(answer).GetProperty("result").GetRawText());
        Assert.Equal((1000, isInUnit ? "reused.service" : null), (caller.Uid, caller.Unit));
        Assert.Equal(isInUnit, caller.Principals.Contains("unit:reused.service"));
    }

    [Fact]
    public async Task Units_that_the_configuration_takes_out_are_never_granted_and_never_matched()
    {
        await host.ServeAsync();
        await MakeKeyAsync("of-lent", "unit:lent.service", "unit:ci@1.service", "unit:kept.service");
        try
        {
            _ = await host.SucceedAsync("""
                printf '[access]\nnever_units = lent ci@.service\n' > /etc/kmsd/kmsd.conf.d/never.conf
                systemctl restart kmsd.service
                """);
            foreach ((string unit, int exitCode) in new[] { ("lent", NotFound), ("ci@1", NotFound), ("kept", 0) })
            {
                Identity caller = await host.WhoIsAsync(BootedHost.AsUnit(unit, WhoAmI, "DynamicUser=yes"));
                Assert.Equal(exitCode == 0 ? unit + ".service" : null, caller.Unit);
                Assert.Equal(exitCode, (await host.RunAsync(BootedHost.AsUnit(unit, "echo x | kmsctl encrypt of-lent -", "DynamicUser=yes"))).ExitCode);
            }

            Finished refused = await host.RunAsync(BootedHost.As("alice", "kmsctl grant add of-lent unit:ci@2.service encryptor"));
            Assert.Equal(Usage, refused.ExitCode);
            Assert.Contains("never_units", refused.Error, StringComparison.Ordinal);
            _ = await host.SucceedAsync(BootedHost.As("alice", "kmsctl grant remove of-lent unit:lent.service encryptor"));
        }
        finally
        {
            _ = await host.SucceedAsync("rm /etc/kmsd/kmsd.conf.d/never.conf; systemctl restart kmsd.service");
        }
    }

    [Fact]
    public async Task A_name_is_a_unit_exactly_where_systemd_says_so()
    {
        await host.ServeAsync();
        await MakeKeyAsync("names");
        string[] names =
        [
            "a", "a-b_c.d", "a:b", "-", ".", "..", "_a", "a@b", "a@b@c", "a@@", "@", "@a", "a@", "a b", "a%i", "a*", "a/b", "a+b", "a=b", "a,b", "a~b", "a!b",
            "a'b", "a\"b", @"a\x2db", @"a\", "A", "\u00e4", "a.service", "a.socket", "", " a", new('a', 247), new('a', 248),
        ];
        string script = string.Concat(names.Select(name => $"""
            manager=no; console=no
            busctl call -- org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager LoadUnit s {Quoted(name + ".service")} > /dev/null 2>&1 && manager=yes
            {BootedHost.As("alice", $"kmsctl grant add names {Quoted($"unit:{name}.service")} reviewer")} > /dev/null 2>&1 && console=yes
            printf '%s %s %s\n' $manager $console {Quoted(name)}

            """));
        string[] answers = (await host.SucceedAsync("set +e\n" + script)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(names.Length, answers.Length);
        Assert.All(answers, answer => Assert.True(answer.StartsWith("yes yes", StringComparison.Ordinal) || answer.StartsWith("no no", StringComparison.Ordinal), answer));
        Assert.InRange(answers.Count(answer => answer.StartsWith("yes", StringComparison.Ordinal)), 10, 24);

        static string Quoted(string text) => $"'{text.Replace("'", @"'\''", StringComparison.Ordinal)}'";
    }

    private static void AssertIsAliceAlone(Identity caller)
    {
        Assert.Equal((1000, null), (caller.Uid, caller.Unit));
        Assert.Contains("uid:1000", caller.Principals);
        Assert.DoesNotContain(caller.Principals, principal => principal.StartsWith("unit:", StringComparison.Ordinal));
    }

    private async Task MakeKeyAsync(string name, params string[] principals) => _ = await host.SucceedAsync(BootedHost.As(
        "alice", $"kmsctl key create {name} {string.Concat(principals.Select(principal => $" --grant {principal}=encryptorDecryptor"))}"));
}
