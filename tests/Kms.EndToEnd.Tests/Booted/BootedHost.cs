using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests.Booted;

/// <summary>
/// A Debian 12 booted by systemd-nspawn, with kmsd installed as docs/operations.md says, served by the units of
/// packaging/systemd. Its root is made once by <c>tests/boot-root.sh</c>; what a run changes lies in memory and is gone at its end.
/// Commands run as its root, from outside its services; <c>alice</c> manages the store, <c>bob</c> may connect.
/// </summary>
public sealed class BootedHost : IAsyncLifetime
{
    /// <summary>A client of ten lines, in what every Debian has.</summary>
    private const string Client = """

        cat > /run/whoami.pl <<'SCRIPT'
        use strict; use Socket;
        socket my $kmsd, PF_UNIX, SOCK_STREAM, 0 or die $!;
        connect $kmsd, pack_sockaddr_un('/run/kmsd/kmsd.sock') or die "connect: $!";
        syswrite $kmsd, qq({"jsonrpc":"2.0","id":1,"method":"system.whoAmI"}\n);
        my $answer = <$kmsd>;
        print $answer =~ /"result":(\{.*\})\}/, "\n";
        SCRIPT
        """;

    private static readonly TimeSpan s_longestBoot = TimeSpan.FromSeconds(60);

    // Nothing is left behind for longer than this, even if the tests are killed.
    private const string LongestLife = "900";
    private const string CannotBeMade = "69";

    private readonly StringBuilder _console = new();
    private Process? _container;
    private string? _leader;
    private string? _whyNot;

    /// <summary>Where the files of the booted system are, seen from here.</summary>
    private string Root => $"/proc/{_leader}/root";

    public async ValueTask InitializeAsync()
    {
        _whyNot = await BootAsync();
        if (_whyNot is null)
        {
            await InstallAsync();
        }
    }

    /// <summary>Skips the test where no system can be booted; otherwise serves, whatever the test before has left.</summary>
    internal async Task ServeAsync()
    {
        Assert.SkipWhen(_whyNot is not null, $"Needs a booted systemd: {_whyNot}");
        _ = await SucceedAsync("""
            systemctl reset-failed
            systemctl is-active -q kmsd.socket kmsd.service || systemctl start kmsd.socket kmsd.service
            """);
    }

    /// <summary>Runs a script as root; <c>kmsd</c> sees a caller outside every unit.</summary>
    internal Task<Finished> RunAsync(string script) =>
        Shell.RunAsync("nsenter", ["--target", _leader!, "--all", "sh", "-eu", "-s"], [], Encoding.UTF8.GetBytes(script));

    internal async Task<string> SucceedAsync(string script)
    {
        Finished finished = await RunAsync(script);
        return finished.ExitCode == 0
            ? finished.Output
            : throw new InvalidOperationException($"{script}\n{finished.ExitCode}: {finished.Output}{finished.Error}");
    }

    /// <summary>Asks <c>system.whoAmI</c> without a look at who serves; for callers who can't see that.</summary>
    internal const string WhoAmIWithoutClient = "perl /run/whoami.pl";

    /// <summary>What <c>kmsctl whoami --json</c> printed as the last line of a script.</summary>
    internal async Task<Identity> WhoIsAsync(string script)
    {
        string output = await SucceedAsync(script);
        return Identity.Parse(output.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1]);
    }

    /// <summary>Runs a script as a service of its own, and waits for its end.</summary>
    /// <param name="unit">Its name, with or without <c>.service</c>.</param>
    /// <param name="script">What it does.</param>
    /// <param name="properties">systemd's, such as <c>User=alice</c>; every one may connect to kmsd.</param>
    internal static string AsUnit(string unit, string script, params string[] properties) => $"""
        systemd-run --quiet --collect --pipe --wait --unit='{unit}' -p SupplementaryGroups=kms {string.Join(' ', properties.Select(property => $"-p '{property}'"))} sh -eu -s <<'END-OF-UNIT'
        {script}
        END-OF-UNIT
        """;

    /// <summary>Runs a script as alice, by her own service manager, in a user unit of any name she likes.</summary>
    internal static string AsUserUnit(string unit, string script, params string[] options) => $"""
        systemctl start user@1000.service
        setpriv --reuid=alice --regid=alice --init-groups env XDG_RUNTIME_DIR=/run/user/1000 HOME=/home/alice \
            systemd-run --user --quiet --collect --pipe --wait --unit='{unit}' {string.Join(' ', options)} sh -eu -s <<'END-OF-UNIT'
        {script}
        END-OF-UNIT
        """;

    /// <summary>Runs a command as one of the accounts, outside every unit.</summary>
    internal static string As(string user, string command) => $"setpriv --reuid={user} --regid={user} --init-groups {command}";

    /// <summary>Runs SQL on a copy of the database, as it is while nothing is asked of the daemon, with all that it answered.</summary>
    internal async Task<string> QueryAsync(string sql)
    {
        _ = await SucceedAsync("kmsctl history verify");
        string folder = Directory.CreateTempSubdirectory("kms-boot-").FullName;
        try
        {
            foreach (string file in new[] { "kms.db", "kms.db-wal" })
            {
                File.Copy($"{Root}/var/lib/kmsd/{file}", Path.Combine(folder, file));
            }

            return await Shell.SucceedAsync("sqlite3", Path.Combine(folder, "kms.db"), sql);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>How often the journal of kmsd holds a text since a time that <see cref="SecondsAsync"/> gave.</summary>
    internal async Task<int> CountInJournalAsync(string since, string text) =>
        (await SucceedAsync($"journalctl --sync; journalctl -u kmsd.service --since '@{since}' -o cat --no-pager")).Split(text).Length - 1;

    internal async Task<string> SecondsAsync() => (await SucceedAsync("date +%s.%6N")).Trim();

    public async ValueTask DisposeAsync()
    {
        if (_container is not null)
        {
            if (!_container.HasExited)
            {
                _ = await Shell.RunAsync("kill", "-TERM", _container.Id.ToString(CultureInfo.InvariantCulture));
                using CancellationTokenSource patience = new(TimeSpan.FromSeconds(20));
                try
                {
                    await _container.WaitForExitAsync(patience.Token);
                }
                catch (OperationCanceledException)
                {
                    _container.Kill(entireProcessTree: true);
                }
            }

            _container.Dispose();
        }
    }

    /// <summary>Why nothing can be booted here; null once it has.</summary>
    private async Task<string?> BootAsync()
    {
        if (Environment.UserName != "root")
        {
            return "only root can boot one";
        }

        if (!File.Exists("/usr/bin/systemd-nspawn"))
        {
            return "systemd-nspawn is missing: apt-get install systemd-container";
        }

        Finished root = await Shell.RunAsync(Repository.Script("tests/boot-root.sh"));
        if (root.ExitCode != 0)
        {
            return root.ExitCode.ToString(CultureInfo.InvariantCulture) == CannotBeMade ? root.Error.Trim() : throw new InvalidOperationException(root.Error);
        }

        _container ??= Start();
        long began = Stopwatch.GetTimestamp();
        while (!_container.HasExited)
        {
            // timeout → systemd-nspawn → the first process of the system.
            _leader = ChildOf(ChildOf(_container.Id.ToString(CultureInfo.InvariantCulture)));
            if (_leader is not null && (await RunAsync("systemctl is-system-running || true")).Output.Trim() is "running" or "degraded")
            {
                return null;
            }

            if (Stopwatch.GetElapsedTime(began) > s_longestBoot)
            {
                throw new InvalidOperationException($"It doesn't boot: {Console}");
            }

            await Task.Delay(50);
        }

        return $"systemd-nspawn can't run here: {Console}";
    }

    private string Console
    {
        get
        {
            lock (_console)
            {
                return _console.ToString().Trim();
            }
        }
    }

    private Process Start()
    {
        List<string> arguments =
        [
            "--kill-after=10", LongestLife, "systemd-nspawn", "--quiet", "--boot", $"--directory={Repository.Script("artifacts/boot/root")}", "--volatile=overlay",
            $"--machine=kms-boot-{Environment.ProcessId}", "--register=no", "--private-network", "--console=pipe",
            $"--bind-ro={Path.GetDirectoryName(Repository.Kmsd)}:/kms/artifacts/native",
            $"--bind-ro={Repository.Script("packaging")}:/kms/packaging", $"--bind-ro={Repository.Script("softhsm")}:/kms/softhsm",

            // Containers may not lock memory unless they are told so; hosts may.
            "--system-call-filter=@memlock",
        ];
        if (!Directory.Exists("/run/systemd/system"))
        {
            // There is no service manager outside that would make a scope for it.
            arguments.Add("--keep-unit");
        }

        ProcessStartInfo start = new("timeout", arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"; // As every Debian boots by itself.
        start.Environment["SYSTEMD_NSPAWN_LOCK"] = "0"; // Nothing writes to the root, so two runs may share it.
        Process container = Process.Start(start)!;
        container.OutputDataReceived += Keep;
        container.ErrorDataReceived += Keep;
        container.BeginOutputReadLine();
        container.BeginErrorReadLine();
        return container;
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        lock (_console)
        {
            _ = _console.AppendLine(line.Data);
        }
    }

    private static string? ChildOf(string? process)
    {
        try
        {
            return process is null
                ? null
                : File.ReadAllText($"/proc/{process}/task/{process}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries).FirstOrDefault();
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>What an administrator types, by docs/operations.md; the PIN and the configuration are his own.</summary>
    private async Task InstallAsync()
    {
        const string Page = "docs/operations.md";
        const string WithToken = "systemd-run -E SOFTHSM2_CONF=/var/lib/kmsd/softhsm/softhsm2.conf ";
        _ = await SucceedAsync($"""
            cd /kms
            {Repository.Block(Page, "install", "sh")}
            install -m 0755 softhsm/make-token.sh softhsm/token-copy.sh /usr/libexec/kmsd/
            install -m 0600 /dev/null /etc/kmsd/token-pin
            echo a-pin-of-the-boot-test > /etc/kmsd/token-pin
            printf '[token]\nmodule = /usr/lib/softhsm/libsofthsm2.so\nlabel = kmsd\n' > /etc/kmsd/kmsd.conf
            {Repository.Block(Page, "softhsm-token", "sh")}
            install -d /etc/systemd/system/kmsd.service.d /etc/kmsd/kmsd.conf.d
            cat > /etc/systemd/system/kmsd.service.d/softhsm.conf <<'END-OF-DROP-IN'
            {Repository.Block(Page, "softhsm-drop-in", "ini")}
            END-OF-DROP-IN
            {Repository.Block(Page, "init", "sh").Replace("systemd-run ", WithToken, StringComparison.Ordinal)}
            {Repository.Block(Page, "start", "sh")}
            usermod -aG kms alice
            usermod -aG kms bob
            """ + Client);
    }
}

/// <summary>What kmsd says of a caller.</summary>
internal sealed record Identity(long Uid, string? Unit, string[] Principals)
{
    public static Identity Parse(string json)
    {
        var whoAmI = JsonElement.Parse(json);
        return new(
            whoAmI.GetProperty("uid").GetInt64(),
            whoAmI.TryGetProperty("unit", out JsonElement unit) ? unit.GetString() : null,
            [.. whoAmI.GetProperty("principals").EnumerateArray().Select(principal => principal.GetString()!)]);
    }
}

/// <summary>One booted host for all tests that need one; they run one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class BootedHosts : ICollectionFixture<BootedHost>
{
    public const string Name = "booted host";
}
