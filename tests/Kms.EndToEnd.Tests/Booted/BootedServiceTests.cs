using System.Diagnostics;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests.Booted;

/// <summary>The shipped units in a booted systemd: what is in force, how it starts, and when it stays down.</summary>
[Collection(BootedHosts.Name)]
public sealed class BootedServiceTests(BootedHost host)
{
    [Fact]
    public async Task It_serves_on_the_managers_socket_and_is_ready_only_then()
    {
        await host.ServeAsync();
        string since = await host.SecondsAsync();
        _ = await host.SucceedAsync("systemctl restart kmsd.service");
        string state = await host.SucceedAsync("systemctl show kmsd.service -p Type,ActiveState,SubState,NRestarts,User,TriggeredBy");
        Assert.Equal(
            ["ActiveState=active", "NRestarts=0", "SubState=running", "TriggeredBy=kmsd.socket", "Type=notify", "User=kmsd"],
            state.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal));
        Assert.Equal(1, await host.CountInJournalAsync(since, "Serving on /run/kmsd/kmsd.sock."));
        Assert.Equal("root:kms 660\n", await host.SucceedAsync("stat -c '%U:%G %a' /run/kmsd/kmsd.sock"));
        Assert.Equal("kmsd:kmsd 700\n", await host.SucceedAsync("stat -c '%U:%G %a' /var/lib/kmsd"));

        // Only systemd listens there: kmsd holds the same socket, and made none.
        Assert.Equal("1\n", await host.SucceedAsync("grep -c '/run/kmsd/kmsd.sock$' /proc/net/unix | sed 's/^[1-9][0-9]*$/1/'"));
        Assert.Equal("", (await host.RunAsync("systemd-analyze verify --man=no kmsd.service kmsd.socket")).Error);
    }

    /// <summary>What the kernel says of the process; the settings alone could have been passed over with a warning.</summary>
    [Fact]
    public async Task Its_whole_sandbox_is_in_force()
    {
        await host.ServeAsync();
        string status = await host.SucceedAsync("cat /proc/$(systemctl show -p MainPID --value kmsd.service)/status");
        Assert.Contains("NoNewPrivs:\t1\n", status, StringComparison.Ordinal);
        Assert.Contains("Seccomp:\t2\n", status, StringComparison.Ordinal);
        foreach (string set in new[] { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" })
        {
            Assert.Contains($"{set}:\t0000000000000000\n", status, StringComparison.Ordinal);
        }

        // The same sandbox around a shell of root: what it can't do there no right of a file has refused. And without, for comparison.
        string tried = await host.SucceedAsync("""
            cat > /run/try.sh <<'SCRIPT'
            try() { name=$1; if "$@" > /dev/null 2>&1; then echo "$name $2 allowed"; else echo "$name $2 refused"; fi; }
            write() { echo x > "$1/kmsd-tried" && rm "$1/kmsd-tried"; }
            group() { mkdir /sys/fs/cgroup/kmsd-tried && rmdir /sys/fs/cgroup/kmsd-tried; }
            network() { [ "$(readlink /proc/self/ns/net)" = "$(cat /run/network)" ]; }
            devices() { [ -e /dev/marker ]; }
            homes() { [ -d /home/alice ]; }
            system_call() { perl -e 'my $n = "x"; my @call = map { /^x$/ ? $n : 0 + $_ } @ARGV; exit(syscall(shift @call, @call) == -1 ? 1 : 0)' "$@"; }
            inet() { perl -MSocket -e 'socket(my $s, PF_INET, SOCK_STREAM, 0) or exit 1'; }
            callers() { grep -q /init.scope /proc/1/cgroup && [ "$(stat -c %u /proc/$(cat /run/alices))" = 1000 ]; }
            for folder in /usr /etc /run /run/lock /root /dev/shm; do try write $folder; done
            try group; try network; try devices; try homes; try inet
            try mount -t tmpfs x /mnt; try unshare --user true
            try system_call 9 0 4096 7 34 -1 0; try system_call 319 x 0
            try write /var/lib/tried; try write /tmp; try callers
            SCRIPT
            : > /dev/marker
            readlink /proc/self/ns/net > /run/network
            setpriv --reuid=alice --regid=alice --clear-groups sleep 60 > /dev/null 2>&1 &
            echo $! > /run/alices
            settings='/^Type=/d; /^ExecSt/d; /^LoadCredential/d; /^Restart/d; /^Requires=/d; /^User=/d; /^Group=/d; /^StateDirectory/d'
            sed -e "$settings" /usr/lib/systemd/system/kmsd.service > /run/systemd/system/tried.service
            printf '[Service]\n' > /run/systemd/system/open.service
            for unit in tried open; do
                printf '[Service]\nType=oneshot\nStateDirectory=tried\nStandardOutput=file:/run/%s\nExecStart=/bin/sh /run/try.sh\n' $unit \
                    >> /run/systemd/system/$unit.service
                : > /run/$unit
            done
            systemctl daemon-reload
            systemctl start tried.service open.service
            rm /run/systemd/system/tried.service /run/systemd/system/open.service
            systemctl daemon-reload
            kill $(cat /run/alices)
            paste -d' ' /run/tried /run/open | cut -d' ' -f1-3,6
            """);
        Assert.Equal(
            [
                .. "/usr /etc /run /run/lock /root /dev/shm".Split(' ').Select(folder => $"write {folder} refused allowed"),
                "group  refused allowed", "network  refused allowed", "devices  refused allowed", "homes  refused allowed", "inet  refused allowed",
                "mount -t refused allowed", "unshare --user refused allowed",

                // mmap of memory to write and to execute, memfd_create: by their numbers on x86-64.
                "system_call 9 refused allowed", "system_call 319 refused allowed",

                // What it needs: its own folders, and to see who its callers are.
                "write /var/lib/tried allowed allowed", "write /tmp allowed allowed", "callers  allowed allowed",
            ],
            tried.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task A_connection_starts_it_and_none_is_lost_while_it_starts_anew()
    {
        await host.ServeAsync();
        _ = await host.SucceedAsync("systemctl stop kmsd.service; ! systemctl is-active -q kmsd.service; kmsctl status");
        string answers = await host.SucceedAsync("""
            (for i in $(seq 40); do kmsctl status > /dev/null && echo answered; done) &
            sleep 0.2
            systemctl restart kmsd.service
            wait
            """);
        Assert.Equal(40, answers.Split("answered").Length - 1);
    }

    [Fact]
    public async Task After_it_was_killed_it_comes_back_by_itself()
    {
        await host.ServeAsync();
        _ = await host.SucceedAsync("""
            before=$(systemctl show -p MainPID --value kmsd.service)
            systemctl kill -s KILL kmsd.service
            for i in $(seq 100); do
                [ "$(systemctl show -p MainPID --value kmsd.service)" != "$before" ] && systemctl is-active -q kmsd.service && break
                sleep 0.1
            done
            systemctl is-active -q kmsd.service
            [ "$(systemctl show -p MainPID --value kmsd.service)" != "$before" ]
            kmsctl status | grep -q '^status.ok$'
            """);
    }

    /// <summary>Most tokens lock after three wrong tries. Callers who wait on the socket would have it started over and over.</summary>
    [Fact]
    public async Task A_wrong_PIN_is_tried_once_however_many_callers_wait()
    {
        await host.ServeAsync();
        string since = await host.SecondsAsync();
        try
        {
            string refusals = await host.SucceedAsync("""
                cp -p /etc/kmsd/token-pin /root/pin
                systemctl stop kmsd.service
                echo another-pin > /etc/kmsd/token-pin
                for i in 1 2 3; do (timeout 10 kmsctl status > /dev/null 2>&1 || echo refused) & done
                wait
                sleep 0.5
                timeout 10 kmsctl status > /dev/null 2>&1 || echo refused
                """);
            Assert.Equal(4, refusals.Split("refused").Length - 1);
            Assert.Equal(1, await host.CountInJournalAsync(since, "kmsd: The token refuses the PIN."));
            Assert.Equal("inactive\nfailed\n", (await host.RunAsync("systemctl is-active kmsd.socket kmsd.service")).Output);
        }
        finally
        {
            _ = await host.SucceedAsync("cp -p /root/pin /etc/kmsd/token-pin");
        }

        // With the right one both are started, as docs/operations.md says.
        _ = await host.SucceedAsync("systemctl start kmsd.socket kmsd.service; kmsctl status");
    }

    [Fact]
    public async Task While_the_token_is_away_it_is_tried_without_haste_and_a_caller_waits_for_it()
    {
        await host.ServeAsync();
        const string NoToken = "kmsd: No token has the label 'kmsd'";
        string since = await host.SecondsAsync();
        Task<Finished> caller = host.RunAsync("""
            systemctl stop kmsd.service
            cd /var/lib/kmsd/softhsm
            mv tokens.copy copy-away; mv tokens away; install -d -o kmsd -g kmsd -m 0700 tokens
            timeout 60 kmsctl status
            """);
        try
        {
            long began = Stopwatch.GetTimestamp();
            while (await host.CountInJournalAsync(since, NoToken) == 0)
            {
                Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(20), "It isn't started.");
                await Task.Delay(200, TestContext.Current.CancellationToken);
            }

            await Task.Delay(2000, TestContext.Current.CancellationToken);
            Assert.Equal(1, await host.CountInJournalAsync(since, NoToken));
        }
        finally
        {
            _ = await host.SucceedAsync("cd /var/lib/kmsd/softhsm; rmdir tokens; mv away tokens; mv copy-away tokens.copy");
        }

        Finished answered = await caller;
        Assert.True(answered.ExitCode == 0, answered.Error);
        Assert.StartsWith("status\tok\n", answered.Output, StringComparison.Ordinal);
    }
}
