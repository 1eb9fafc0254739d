using Kmsd.Access;

namespace Kmsd.Tests.Access;

/// <summary>The rules are systemd's: unit_name_is_valid (src/basic/unit-name.c of 252), restricted to services that can run.</summary>
public sealed class UnitNameTests
{
    [Theory]
    [InlineData("a.service")]
    [InlineData("nginx.service")]
    [InlineData("Nginx_1.2:x-y.service")]
    [InlineData(@"dev-disk\x2dby\x2did.service")]
    [InlineData("-.service")]
    [InlineData("..service")]
    [InlineData("a.service.service")]
    [InlineData("a@b.service")]
    [InlineData("a@b@c.service")]
    [InlineData("a@@.service")]
    [InlineData("_a.service")]
    public void A_service_and_an_instance_are_units(string text)
    {
        Assert.True(UnitName.TryParse(text, out UnitName unit));
        Assert.Equal(text, unit.Text);
        Assert.Equal(text, unit.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData(".service")]
    [InlineData("service")]
    [InlineData("a")]
    [InlineData("a.")]
    [InlineData("a.servic")]
    [InlineData("a.services")]
    [InlineData("a.Service")]
    [InlineData("a.socket")]
    [InlineData("a.slice")]
    [InlineData("a.scope")]
    [InlineData("a.service.socket")]
    [InlineData("@.service")]
    [InlineData("@a.service")]
    [InlineData("a@.service")]
    [InlineData("a b.service")]
    [InlineData(" a.service")]
    [InlineData("a.service ")]
    [InlineData("a.service\n")]
    [InlineData("a/b.service")]
    [InlineData("../a.service")]
    [InlineData("a%i.service")]
    [InlineData("a*.service")]
    [InlineData("\u00e4.service")]
    [InlineData("\u0430.service")]
    [InlineData("a\0.service")]
    public void Anything_else_is_none(string text) => Assert.False(UnitName.TryParse(text, out _));

    [Theory]
    [InlineData(255, true)]
    [InlineData(256, false)]
    public void A_name_has_255_characters_at_most(int length, bool isName) =>
        Assert.Equal(isName, UnitName.TryParse(new string('a', length - ".service".Length) + ".service", out _));

    [Theory]
    [InlineData("docker", "docker.service")]
    [InlineData("docker.service", "docker.service")]
    [InlineData("ci@.service", "ci@.service")]
    [InlineData("ci@", "ci@.service")]
    [InlineData("ci@1.service", "ci@1.service")]
    [InlineData("a.socket", "a.socket.service")]
    [InlineData("", null)]
    [InlineData("@.service", null)]
    [InlineData("a b", null)]
    [InlineData("*.service", null)]
    public void A_pattern_is_a_service_or_a_template(string text, string? pattern)
    {
        Assert.Equal(pattern is not null, UnitName.TryParsePattern(text, out string? parsed));
        Assert.Equal(pattern, parsed);
    }

    [Theory]
    [InlineData("ci@1.service", "ci@.service", true)]
    [InlineData("ci@1.service", "ci@1.service", true)]
    [InlineData("ci@1.service", "ci@2.service", false)]
    [InlineData("ci@1.service", "ci.service", false)]
    [InlineData("ci@a@b.service", "ci@.service", true)]
    [InlineData("ci@a@b.service", "ci@a@.service", false)]
    [InlineData("ci.service", "ci@.service", false)]
    [InlineData("ci.service", "CI.service", false)]
    public void A_template_means_all_its_instances(string unit, string pattern, bool isMeant)
    {
        Assert.True(UnitName.TryParse(unit, out UnitName name));
        Assert.Equal(isMeant, name.IsAmong(new HashSet<string> { pattern }));
    }
}
