using System.Text;
using Kmsd.Access;

namespace Kmsd.Tests.Access;

/// <summary>Paths as systemd 252 makes them and as processes of its users can make them (systemd.slice(5), cgroups(7)).</summary>
public sealed class ControlGroupTests
{
    [Theory]
    [InlineData("/system.slice/nginx.service", "nginx.service")]
    [InlineData("/system.slice/system-backup.slice/backup@home.service", "backup@home.service")]
    [InlineData(@"/system.slice/system-my\x2dtool.slice/my-tool@1.service", "my-tool@1.service")]
    [InlineData("/system.slice/system-a.slice/system-a-b.slice/c.service", "c.service")]
    [InlineData("/system.slice/a:b.service", "a:b.service")]
    [InlineData(@"/system.slice/dev-disk\x2dby.service", @"dev-disk\x2dby.service")]
    public void A_system_service_is_the_unit(string path, string unit) => Assert.Equal(unit, Find(path));

    /// <summary>cg_escape of systemd: names that the kernel keeps for itself, and those that begin with its mark.</summary>
    [Theory]
    [InlineData("/system.slice/_memory.service", "memory.service")]
    [InlineData("/system.slice/__x.service", "_x.service")]
    [InlineData("/system.slice/_cgroup.x.service", "cgroup.x.service")]
    public void An_escaped_name_is_read_as_systemd_meant_it(string path, string unit) => Assert.Equal(unit, Find(path));

    [Theory]
    [InlineData("/system.slice/nginx.service/worker", "nginx.service")]
    [InlineData("/system.slice/nginx.service/vault.service", "nginx.service")]
    [InlineData("/system.slice/nginx.service/system.slice/vault.service", "nginx.service")]
    [InlineData("/system.slice/nginx.service/..", "nginx.service")]
    [InlineData("/system.slice/nginx.service/0::", "nginx.service")]
    public void What_lies_deeper_belongs_to_the_unit_whatever_it_is_called(string path, string unit) => Assert.Equal(unit, Find(path));

    [Theory]
    [InlineData("/")]
    [InlineData("")]
    [InlineData("/init.scope")]
    [InlineData("/system.slice")]
    [InlineData("/system.slice/")]
    [InlineData("/nginx.service")]
    [InlineData("/other.slice/nginx.service")]
    [InlineData("/machine.slice/systemd-nspawn@c.service/payload/system.slice/nginx.service")]
    [InlineData("/system.slice/docker-0123.scope")]
    [InlineData("/system.slice/docker-0123.scope/system.slice/nginx.service")]
    [InlineData("/system.slice/nginx.socket/nginx.service")]
    [InlineData("/user.slice/user-1000.slice/session-1.scope")]
    [InlineData("/user.slice/user-1000.slice/user@1000.service")]
    [InlineData("/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service")]
    [InlineData("/user.slice/user-1000.slice/user@1000.service/system.slice/nginx.service")]
    [InlineData("/user.slice/nginx.service")]
    [InlineData("/User.slice/../system.slice/nginx.service")]
    [InlineData("system.slice/nginx.service")]
    [InlineData("//system.slice/nginx.service")]
    [InlineData("/system.slice//nginx.service")]
    [InlineData("/System.slice/nginx.service")]
    [InlineData("/_system.slice/nginx.service")]
    public void Outside_the_slice_of_the_system_there_is_no_unit(string path) => Assert.Null(Find(path));

    /// <summary>A reader in a cgroup namespace of its own sees what isn't below its root with "..".</summary>
    [Theory]
    [InlineData("/..")]
    [InlineData("/../nginx.service")]
    [InlineData("/../../system.slice/nginx.service")]
    [InlineData("/../system.slice/nginx.service")]
    [InlineData("/system.slice/../nginx.service")]
    public void A_path_that_leads_upwards_names_no_unit(string path) => Assert.Null(Find(path));

    [Theory]
    [InlineData("/system.slice/backup@.service")]
    [InlineData("/system.slice/a b.service")]
    [InlineData("/system.slice/\u00e4.service")]
    [InlineData("/system.slice/.service")]
    [InlineData("/system.slice/_")]
    [InlineData("/system.slice/nginx.service (deleted)")]
    [InlineData("/system.slice/nginx.service/x (deleted)")]
    public void A_name_that_systemd_cannot_have_given_is_none(string path) => Assert.Null(Find(path));

    /// <summary>A slice stands in the one that its name says, so other slices aren't systemd's.</summary>
    [Theory]
    [InlineData("/system.slice/user.slice/nginx.service")]
    [InlineData("/system.slice/system.slice/nginx.service")]
    [InlineData("/system.slice/system-.slice/nginx.service")]
    [InlineData("/system.slice/system-a-b.slice/nginx.service")]
    [InlineData("/system.slice/system-a.slice/system-b.slice/nginx.service")]
    [InlineData("/system.slice/.slice/nginx.service")]
    [InlineData("/system.slice/systemx-a.slice/nginx.service")]
    public void A_slice_in_the_wrong_place_holds_no_unit(string path) => Assert.Null(Find(path));

    [Fact]
    public void Hierarchies_of_version_1_say_nothing()
    {
        Assert.Equal("nginx.service", FindIn("12:pids:/user.slice\n1:name=systemd:/user.slice/x\n0::/system.slice/nginx.service\n"));
        Assert.Null(FindIn("12:pids:/system.slice/nginx.service\n1:name=systemd:/system.slice/nginx.service\n0::/user.slice/x\n"));
        Assert.Null(FindIn("12:pids:/system.slice/nginx.service\n1:name=systemd:/system.slice/nginx.service\n"));
        Assert.Null(FindIn("10::/system.slice/nginx.service\n"));
        Assert.Null(FindIn("0:name=x:/system.slice/nginx.service\n"));
    }

    [Fact]
    public void Two_lines_of_version_2_are_nobodys_word() =>
        Assert.Null(FindIn("0::/system.slice/nginx.service\n0::/system.slice/nginx.service\n"));

    [Theory]
    [InlineData("0::/\n", true)]
    [InlineData("1:name=systemd:/\n0::/\n", true)]
    [InlineData("1:name=systemd:/\n", false)]
    [InlineData("", false)]
    public void A_host_without_version_2_is_known_by_its_lines(string text, bool has) =>
        Assert.Equal(has, ControlGroup.HasUnifiedHierarchy(Encoding.UTF8.GetBytes(text)));

    private static string? Find(string path) => FindIn($"0::{path}\n");

    private static string? FindIn(string text) => ControlGroup.FindUnit(Encoding.UTF8.GetBytes(text))?.Text;
}
