using Kms.Client.Protocol;
using Kmsd.Commands;
using Kmsd.Hosting;
using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

public sealed class ReasonTests
{
    [Theory]
    [InlineData("")]
    [InlineData("   ")]
    [InlineData("\u00a0")]
    [InlineData("a\nb")]
    public void What_says_nothing_is_no_reason_for_the_daemon_or_its_commands(string reason)
    {
        Assert.Equal(KmsErrorCode.InvalidParams, Assert.Throws<KmsException>(() => Reason.Check(reason)).Code);
        Assert.Equal(ExitCode.Usage, Assert.Throws<StartupException>(() => AcceptanceSteps.CheckReason(reason)).ExitCode);
    }

    [Fact]
    public void A_reason_has_1_to_100_characters()
    {
        Assert.Equal("x", Reason.Check("x"));
        Assert.Equal(100, Reason.Check(new string('x', 100)).Length);
        _ = Assert.Throws<KmsException>(() => Reason.Check(new string('x', 101)));
    }
}
