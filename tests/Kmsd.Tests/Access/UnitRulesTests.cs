using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Tests.Access;

public sealed class UnitRulesTests
{
    private const string TooOld = "This kernel is too old.";

    [Fact]
    public void Units_are_principals_but_those_that_the_configuration_takes_out()
    {
        UnitRules rules = new(["docker.service", "ci@.service"], null);
        rules.Require(Principal.Parse("unit:nginx.service"));
        Assert.Equal("nginx.service", rules.Filter(Unit("nginx.service"))?.Text);
        foreach (string never in new[] { "docker.service", "ci@1.service" })
        {
            KmsException refusal = Refusal.Of(KmsErrorCode.InvalidParams, () => rules.Require(Principal.Parse("unit:" + never)));
            Assert.Contains("never_units", refusal.Message, StringComparison.Ordinal);
            Assert.Null(rules.Filter(Unit(never)));
        }

        Assert.Null(rules.Filter(Unit("cron.service")));
        Assert.Null(rules.Filter(null));
    }

    [Fact]
    public void Where_the_host_vouches_for_no_unit_it_says_so_and_other_principals_stay()
    {
        UnitRules rules = new([], TooOld);
        Assert.Equal(TooOld, Refusal.Of(KmsErrorCode.Unsupported, () => rules.Require(Principal.Parse("unit:nginx.service"))).Message);
        Assert.Null(rules.Filter(Unit("nginx.service")));
        rules.Require(Principal.User(1000));
        rules.Require(Principal.Group(1000));
    }

    private static UnitName Unit(string name) => UnitName.TryParse(name, out UnitName unit) ? unit : throw new FormatException(name);
}
