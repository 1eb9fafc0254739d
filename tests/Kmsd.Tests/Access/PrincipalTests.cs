using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Tests.Access;

public sealed class PrincipalTests
{
    /// <summary>docs/api.md, "Names": never granted are 65534, 4294967295 and, as a uid, 61184 to 65519.</summary>
    [Theory]
    [InlineData("uid", 0, true)]
    [InlineData("uid", 61183, true)]
    [InlineData("uid", 61184, false)]
    [InlineData("uid", 65519, false)]
    [InlineData("uid", 65520, true)]
    [InlineData("uid", 65533, true)]
    [InlineData("uid", 65534, false)]
    [InlineData("uid", 65535, true)]
    [InlineData("uid", 4294967294, true)]
    [InlineData("uid", 4294967295, false)]
    [InlineData("gid", 0, true)]
    [InlineData("gid", 61184, true)]
    [InlineData("gid", 65519, true)]
    [InlineData("gid", 65533, true)]
    [InlineData("gid", 65534, false)]
    [InlineData("gid", 65535, true)]
    [InlineData("gid", 4294967294, true)]
    [InlineData("gid", 4294967295, false)]
    public void Ids_that_name_nobody_for_good_are_never_granted(string kind, long id, bool isGranted)
    {
        Principal principal = kind == "uid" ? Principal.User((uint)id) : Principal.Group((uint)id);
        Assert.Equal(isGranted, principal.CanBeGranted);
        if (isGranted)
        {
            Assert.Equal(principal, Principal.Parse($"{kind}:{id}"));
            Assert.Equal($"{kind}:{id}", principal.ToString());
        }
        else
        {
            Refused(KmsErrorCode.InvalidParams, $"{kind}:{id}");
        }
    }

    [Fact]
    public void Names_are_resolved_to_numbers()
    {
        Assert.Equal(Principal.User(0), Principal.Parse("user:root"));
        Assert.Equal(Principal.Group(0), Principal.Parse("group:root"));
        Assert.Equal("root", Principal.User(0).Display);
        Assert.Equal("root", Principal.Group(0).Display);
        Assert.Null(Principal.User(3_999_999_999).Display);
    }

    [Theory]
    [InlineData("")]
    [InlineData("1000")]
    [InlineData("uid:")]
    [InlineData("uid:-1")]
    [InlineData("uid:+1")]
    [InlineData("uid: 1")]
    [InlineData("uid:1 ")]
    [InlineData("uid:0x10")]
    [InlineData("uid:1,000")]
    [InlineData("uid:4294967296")]
    [InlineData("uid:root")]
    [InlineData("UID:1000")]
    [InlineData(" uid:1000")]
    [InlineData("user:")]
    [InlineData("user:nobody-of-this-name")]
    [InlineData("user:1000")]
    [InlineData("group:nobody-of-this-name")]
    [InlineData("pid:1")]
    public void Anything_else_is_no_principal(string text) => Refused(KmsErrorCode.InvalidParams, text);

    [Theory]
    [InlineData("unit:nginx.service")]
    [InlineData("unit:backup@home.service")]
    [InlineData("unit:a:b.service")]
    [InlineData(@"unit:dev-disk\x2dby.service")]
    public void A_unit_is_a_principal_by_its_full_name(string text)
    {
        var principal = Principal.Parse(text);
        Assert.Equal(PrincipalKind.Unit, principal.Kind);
        Assert.True(principal.CanBeGranted);
        Assert.Null(principal.Display);
        Assert.Equal(text, principal.ToString());
        Assert.Equal(principal, Principal.FromStored(text));
    }

    [Theory]
    [InlineData("unit:")]
    [InlineData("unit:nginx")]
    [InlineData("unit:nginx.socket")]
    [InlineData("unit:NGINX.SERVICE")]
    [InlineData("unit: nginx.service")]
    [InlineData("unit:nginx.service ")]
    [InlineData("unit:unit:nginx.service@")]
    [InlineData("unit:backup@.service")]
    [InlineData("UNIT:nginx.service")]
    public void A_unit_of_another_spelling_is_no_principal(string text)
    {
        Refused(KmsErrorCode.InvalidParams, text);
        Assert.Throws<FormatException>(() => Principal.FromStored(text));
    }

    /// <summary>docs/api.md, "Names"; a template's instances are meant with it.</summary>
    [Theory]
    [InlineData("cron.service")]
    [InlineData("crond.service")]
    [InlineData("atd.service")]
    [InlineData("ssh.service")]
    [InlineData("sshd.service")]
    [InlineData("ssh@0-10.0.0.1:22-10.0.0.2:40000.service")]
    [InlineData("sshd@1.service")]
    [InlineData("user@1000.service")]
    [InlineData("getty@tty1.service")]
    [InlineData("serial-getty@ttyS0.service")]
    [InlineData("console-getty.service")]
    public void Units_that_run_other_peoples_programs_are_never_granted(string unit) => Refused(KmsErrorCode.InvalidParams, "unit:" + unit);

    [Theory]
    [InlineData("cron-report.service")]
    [InlineData("xcron.service")]
    [InlineData("sshguard.service")]
    [InlineData("cron.service.service")]
    public void Units_that_only_sound_alike_are_granted(string unit) => Assert.True(Principal.Parse("unit:" + unit).CanBeGranted);

    [Theory]
    [InlineData("uid:0")]
    [InlineData("gid:34")]
    [InlineData("unit:nginx.service")]
    [InlineData("uid:4294967294")]
    public void What_is_stored_is_read_back(string text) => Assert.Equal(text, Principal.FromStored(text).ToString());

    [Theory]
    [InlineData("")]
    [InlineData("0")]
    [InlineData("uid:")]
    [InlineData("uid:root")]
    [InlineData("user:root")]
    [InlineData("unit:7")]
    [InlineData("uid:01")]
    [InlineData("(nobody)")]
    public void What_was_never_stored_is_not_read(string text) =>
        Assert.Throws<FormatException>(() => Principal.FromStored(text));

    [Fact]
    public void A_default_principal_is_nobody()
    {
        Assert.False(default(Principal).CanBeGranted);
        Assert.Equal("(nobody)", default(Principal).ToString());
    }

    [Fact]
    public void A_caller_is_his_uid_his_gid_and_his_groups_each_once()
    {
        Caller caller = new(1, 1000, 100, [100, 34, 34]);
        Assert.Equal([Principal.User(1000), Principal.Group(100), Principal.Group(34)], caller.Principals);
        Assert.True(caller.Is(Principal.Group(34)));
        Assert.False(caller.Is(Principal.User(34)));
        Assert.False(caller.Is(Principal.Group(1000)));
        Assert.Equal(Principal.User(1000), caller.Primary);
    }

    [Theory]
    [InlineData(65534)]
    [InlineData(4294967295)]
    public void An_unmapped_caller_matches_nothing_by_that_id(long id)
    {
        Caller caller = new(1, (uint)id, (uint)id, [(uint)id]);
        Assert.Empty(caller.Principals);
        Assert.False(caller.Is(Principal.User((uint)id)));
        Assert.False(caller.Is(Principal.Group((uint)id)));
    }

    [Fact]
    public void A_caller_in_a_unit_is_that_unit_too()
    {
        Caller caller = new(1, 1000, 100, [], Unit("nginx.service"));
        Assert.Equal([Principal.User(1000), Principal.Parse("unit:nginx.service"), Principal.Group(100)], caller.Principals);
        Assert.True(caller.Is(Principal.Parse("unit:nginx.service")));
        Assert.False(caller.Is(Principal.Parse("unit:nginx@1.service")));
        Assert.False(Daemon.Uid(1000).Is(Principal.Parse("unit:nginx.service")));
        Assert.Equal(Principal.User(1000), caller.Primary);
        Assert.Equal("uid:1000 pid:1 unit:nginx.service", caller.ToString());
    }

    /// <summary>systemd lends the same uid to one service after another: its number says nothing later, the unit does.</summary>
    [Theory]
    [InlineData(61183, "uid:61183")]
    [InlineData(61184, "unit:nginx.service")]
    [InlineData(65519, "unit:nginx.service")]
    [InlineData(65520, "uid:65520")]
    public void History_names_the_unit_where_the_user_is_lent(long uid, string primary) =>
        Assert.Equal(primary, new Caller(1, (uint)uid, 100, [], Unit("nginx.service")).Primary.ToString());

    [Fact]
    public void A_dynamic_user_outside_a_unit_is_named_by_its_number_and_matches_nothing()
    {
        Caller caller = new(1, 61184, 100, []);
        Assert.Equal("uid:61184", caller.Primary.ToString());
        Assert.Equal([Principal.Group(100)], caller.Principals);
    }

    [Theory]
    [InlineData("cron.service", 1000)]
    [InlineData("ssh@1.service", 1000)]
    [InlineData("nginx.service", 65534)]
    [InlineData("nginx.service", 4294967295)]
    public void A_unit_that_vouches_for_nobody_is_none(string unit, long uid)
    {
        Caller caller = new(1, (uint)uid, 100, [], Unit(unit));
        Assert.Null(caller.Unit);
        Assert.DoesNotContain(caller.Principals, principal => principal.Kind == PrincipalKind.Unit);
        Assert.Equal(Principal.User((uint)uid), caller.Primary);
    }

    private static UnitName Unit(string name) => UnitName.TryParse(name, out UnitName unit) ? unit : throw new FormatException(name);

    private static void Refused(KmsErrorCode code, string text) =>
        Assert.Equal(code, Assert.Throws<KmsException>(() => Principal.Parse(text)).Code);
}
