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

    [Fact]
    public void Units_are_unsupported_in_this_version() => Refused(KmsErrorCode.Unsupported, "unit:nginx.service");

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

    private static void Refused(KmsErrorCode code, string text) =>
        Assert.Equal(code, Assert.Throws<KmsException>(() => Principal.Parse(text)).Code);
}
