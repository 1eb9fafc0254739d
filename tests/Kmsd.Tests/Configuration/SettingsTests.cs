using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Commands;
using Kmsd.Configuration;
using Kmsd.Hosting;

namespace Kmsd.Tests.Configuration;

public sealed class SettingsTests
{
    [Fact]
    public void An_empty_file_gives_the_defaults_of_the_design()
    {
        DaemonOptions options = Read("");
        Assert.Equal("/run/kmsd/kmsd.sock", options.Socket);
        Assert.Equal((UnixFileMode)0b110_110_000, options.SocketMode);
        Assert.Equal("kms", options.SocketGroup);
        Assert.Equal("/var/lib/kmsd", options.StateDirectory);
        Assert.Equal((131_072, 128), (options.MaxMessageBytes, options.MaxInFlight));
        Assert.Equal(TimeSpan.FromSeconds(10), options.TokenTimeout);
        Assert.Equal([Principal.User(0)], options.Operators);
        Assert.Equal((KeyProtection.Software, 4096, TimeSpan.FromHours(1)), (options.DefaultProtection, options.CacheEntries, options.CacheIdle));
        Assert.Equal((365, 400), (options.RotateDays, options.RetainDays));
        Assert.Equal((4096, 2048, TimeSpan.FromSeconds(60)), (options.Connections, options.ConnectionsPerUid, options.FirstRequestTimeout));
    }

    [Fact]
    public void Every_setting_reaches_its_option()
    {
        DaemonOptions options = Read("""
            [daemon]
            socket = /a
            socket_mode = 0600
            socket_group = g
            state_dir = /b
            max_message_bytes = 1024
            max_in_flight = 2
            [token]
            module = /m
            label = l
            serial = s
            pin_file = /p
            wrap = auto
            anchor = off
            timeout = 500ms
            [access]
            operators = uid:1  gid:2 unit:o.service
            never_units = a.service b ci@.service
            [keys]
            default_protection = hsm
            cache_entries = 5
            cache_idle = 5min
            [root]
            administrators = uid:3
            rotate_days = 30
            rotate = manual
            [limits]
            cost_per_second = 5000
            burst = 9000
            stores = 7
            connections = 6
            connections_per_uid = 7
            first_request_timeout = 8
            keys_per_store = 9
            grants_per_key = 10
            members_per_store = 11
            [history]
            retain_days = 365
            """);
        Assert.Equal(("/a", (UnixFileMode)0b110_000_000, "g", "/b"), (options.Socket, options.SocketMode, options.SocketGroup, options.StateDirectory));
        Assert.Equal((1024, 2), (options.MaxMessageBytes, options.MaxInFlight));
        Assert.Equal(("/m", "l", "s", "/p"), (options.Module, options.TokenLabel, options.TokenSerial, options.PinFile));
        Assert.Equal(TimeSpan.FromMilliseconds(500), options.TokenTimeout);
        Assert.Equal([Principal.User(1), Principal.Group(2), Principal.Parse("unit:o.service")], options.Operators);
        Assert.Equal(["a.service", "b.service", "ci@.service"], options.NeverUnits);
        Assert.Equal((5, TimeSpan.FromMinutes(5)), (options.CacheEntries, options.CacheIdle));
        Assert.Equal([Principal.User(3)], options.RootAdministrators!.Value);
        Assert.Equal((30, 365), (options.RotateDays, options.RetainDays));
        Assert.Equal((6, 7, TimeSpan.FromSeconds(8)), (options.Connections, options.ConnectionsPerUid, options.FirstRequestTimeout));
        Assert.Equal((9, 10, 11), (options.KeysPerStore, options.GrantsPerKey, options.MembersPerStore));
    }

    [Theory]
    [InlineData("[daemon]\nsockett = /a", "there is no setting 'sockett' in [daemon]")]
    [InlineData("[daemon]\nSocket = /a", "there is no setting 'Socket'")]
    [InlineData("[demon]\nsocket = /a", "there is no section [demon]")]
    public void An_unknown_name_is_refused_and_the_known_ones_are_named(string text, string reason)
    {
        string message = Refuse(text);
        Assert.StartsWith("kmsd.conf:2: ", message, StringComparison.Ordinal);
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.Contains("known are ", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[token]\nwrap = cbc")]
    public void What_this_version_does_not_enforce_is_refused(string text) =>
        Assert.Contains("this version of kmsd knows", Refuse(text), StringComparison.Ordinal);

    [Fact]
    public void The_root_key_rotates_by_hand_or_by_itself()
    {
        Assert.False(Read("[root]\nrotate = manual").RotatesRootByItself);
        Assert.True(Read("[root]\nrotate = automatic").RotatesRootByItself);
        Assert.Contains("'rotate' is manual or automatic", Refuse("[root]\nrotate = yearly"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("daemon", "max_message_bytes", 1024, 16 << 20)]
    [InlineData("daemon", "max_in_flight", 1, 4096)]
    [InlineData("keys", "cache_entries", 1, 1 << 20)]
    [InlineData("root", "rotate_days", 1, 365)]
    [InlineData("limits", "connections", 1, 1 << 20)]
    [InlineData("limits", "connections_per_uid", 1, 1 << 20)]
    [InlineData("limits", "keys_per_store", 1, 1 << 24)]
    [InlineData("limits", "grants_per_key", 1, 1 << 16)]
    [InlineData("limits", "members_per_store", 1, 1 << 16)]
    [InlineData("history", "retain_days", 365, 36_500)]
    public void A_number_holds_at_its_limits_and_not_one_outside(string section, string key, int least, int most)
    {
        _ = Read($"[{section}]\n{key} = {least}");
        _ = Read($"[{section}]\n{key} = {most}");
        Assert.Contains($"from {least} to {most}", Refuse($"[{section}]\n{key} = {least - 1}"), StringComparison.Ordinal);
        _ = Refuse($"[{section}]\n{key} = {most + 1}");
        _ = Refuse($"[{section}]\n{key} = +{least}");
        _ = Refuse($"[{section}]\n{key} = {least}k");
        _ = Refuse($"[{section}]\n{key} =");
    }

    [Theory]
    [InlineData("100ms", 100)]
    [InlineData("1s", 1000)]
    [InlineData("1", 1000)]
    [InlineData("2m", 120_000)]
    [InlineData("2min", 120_000)]
    [InlineData("1h", 3_600_000)]
    [InlineData("1d", 86_400_000)]
    [InlineData("86400000ms", 86_400_000)]
    public void A_time_is_a_number_and_a_unit(string text, int milliseconds) =>
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), Read($"[token]\ntimeout = {text}").TokenTimeout);

    [Theory]
    [InlineData("99ms")]
    [InlineData("0s")]
    [InlineData("86401")]
    [InlineData("25h")]
    [InlineData("2d")]
    [InlineData("1 s")]
    [InlineData("1S")]
    [InlineData("-1s")]
    [InlineData("1.5s")]
    [InlineData("s")]
    [InlineData("99999999999s")]
    [InlineData("")]
    public void Anything_else_is_no_time(string text) =>
        Assert.Contains("at most a day", Refuse($"[token]\ntimeout = {text}"), StringComparison.Ordinal);

    [Theory]
    [InlineData("socket_mode", "0888")]
    [InlineData("socket_mode", "01777")]
    [InlineData("socket_mode", "4755")]
    [InlineData("socket_mode", "rw")]
    [InlineData("socket_mode", "")]
    [InlineData("socket", "run/kmsd.sock")]
    [InlineData("socket", "")]
    [InlineData("state_dir", "~/kmsd")]
    [InlineData("socket_group", "")]
    public void A_value_of_another_form_is_refused(string key, string value) =>
        Assert.Contains($"'{key}'", Refuse($"[daemon]\n{key} = {value}"), StringComparison.Ordinal);

    [Theory]
    [InlineData("uid:65534")]
    [InlineData("uid:61184")]
    [InlineData("1000")]
    [InlineData("user:nobody-of-this-name")]
    public void An_operator_who_can_never_be_granted_anything_is_refused(string principal) =>
        Assert.StartsWith("kmsd.conf:2: 'operators': ", Refuse($"[access]\noperators = uid:0 {principal}"), StringComparison.Ordinal);

    [Theory]
    [InlineData("*.service")]
    [InlineData("@.service")]
    [InlineData("docker.service,")]
    public void A_unit_that_cannot_be_one_is_refused(string unit) =>
        Assert.StartsWith("kmsd.conf:2: 'never_units': ", Refuse($"[access]\nnever_units = a.service {unit}"), StringComparison.Ordinal);

    [Fact]
    public void An_operator_is_held_to_the_rules_for_units_wherever_they_stand()
    {
        DaemonOptions options = Read("[access]\noperators = uid:0 unit:a.service\n[root]\nadministrators = unit:b.service");
        _ = Preparation.TakeUnitRules(options, null);
        foreach (DaemonOptions never in new[] { options with { NeverUnits = ["a.service"] }, options with { NeverUnits = ["b.service"] } })
        {
            StartupException refusal = Assert.Throws<StartupException>(() => Preparation.TakeUnitRules(never, null));
            Assert.Equal(ExitCode.Configuration, refusal.ExitCode);
            Assert.Contains("never_units", refusal.Message, StringComparison.Ordinal);
        }

        StartupException tooOld = Assert.Throws<StartupException>(() => Preparation.TakeUnitRules(options, "This kernel is too old."));
        Assert.Equal("The configuration names unit:a.service. This kernel is too old.", tooOld.Message);
        _ = Preparation.TakeUnitRules(new DaemonOptions(), "This kernel is too old.");
    }

    [Fact]
    public void Drop_ins_replace_in_the_order_of_their_names()
    {
        using TemporaryFolder folder = new();
        string[] paths = [folder.File("kmsd.conf"), folder.File("10-a.conf"), folder.File("9-b.conf")];
        File.WriteAllText(paths[0], "[daemon]\nsocket = /main\nstate_dir = /main\nsocket_group = main\n");
        File.WriteAllText(paths[1], "[daemon]\nsocket = /ten\nstate_dir = /ten\n");
        File.WriteAllText(paths[2], "[daemon]\nsocket = /nine\n");
        DaemonOptions options = Settings.Read(paths[0], [paths[2], paths[1]]);
        Assert.Equal(("/nine", "/ten", "main"), (options.Socket, options.StateDirectory, options.SocketGroup));
        Assert.Equal(paths, options.Files);
    }

    [Fact]
    public void An_error_in_a_drop_in_names_the_drop_in()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder.File("kmsd.conf"), "[daemon]\nsocket = /main\n");
        File.WriteAllText(folder.File("a.conf"), "\n[daemon]\nsocket = main\n");
        StartupException refusal = Assert.Throws<StartupException>(
            () => Settings.Read(folder.File("kmsd.conf"), [folder.File("a.conf")]));
        Assert.StartsWith($"{folder.File("a.conf")}:3: ", refusal.Message, StringComparison.Ordinal);
    }

    private static DaemonOptions Read(string text)
    {
        DaemonOptions options = new();
        foreach (ConfigurationEntry entry in ConfigurationReader.Read("kmsd.conf", text))
        {
            Settings.Set(options, entry);
        }

        return options;
    }

    private static string Refuse(string text)
    {
        StartupException refusal = Assert.Throws<StartupException>(() => Read(text));
        Assert.Equal(ExitCode.Configuration, refusal.ExitCode);
        return refusal.Message;
    }
}
