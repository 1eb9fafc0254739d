using Kmsd.Commands;
using Kmsd.Hosting;

namespace Kmsd.Tests.Commands;

public sealed class CommandLineTests
{
    [Theory]
    [InlineData("", nameof(CommandLine.Verb.Serve), null, null)]
    [InlineData("--config /a", nameof(CommandLine.Verb.Serve), "/a", null)]
    [InlineData("init", nameof(CommandLine.Verb.Init), null, null)]
    [InlineData("init --root token", nameof(CommandLine.Verb.Init), null, "token")]
    [InlineData("init --config /a --root ceremony", nameof(CommandLine.Verb.Init), "/a", "ceremony")]
    [InlineData("--help", nameof(CommandLine.Verb.Help), null, null)]
    [InlineData("-h", nameof(CommandLine.Verb.Help), null, null)]
    [InlineData("init --help", nameof(CommandLine.Verb.Help), null, null)]
    [InlineData("--version", nameof(CommandLine.Verb.Version), null, null)]
    public void What_it_understands(string line, string verb, string? file, string? origin)
    {
        var parsed = CommandLine.Parse(Split(line));
        Assert.Equal((verb, file, origin), (parsed.Command.ToString(), parsed.ConfigurationFile, parsed.RootOrigin));
    }

    [Theory]
    [InlineData("serve")]
    [InlineData("--config")]
    [InlineData("--config /a --config /b")]
    [InlineData("--root token")]
    [InlineData("--root token init")]
    [InlineData("--config /a init")]
    [InlineData("init init")]
    [InlineData("init --root")]
    [InlineData("init --root token --root token")]
    [InlineData("init /etc/kmsd.conf")]
    [InlineData("--configuration=/a")]
    public void Anything_else_is_a_usage_error(string line)
    {
        StartupException refusal = Assert.Throws<StartupException>(() => CommandLine.Parse(Split(line)));
        Assert.Equal(ExitCode.Usage, refusal.ExitCode);
        Assert.EndsWith("See kmsd --help.", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_relative_configuration_file_is_made_absolute() =>
        Assert.Equal(Path.GetFullPath("kmsd.conf"), CommandLine.Parse(["--config", "kmsd.conf"]).ConfigurationFile);

    [Fact]
    public void The_exit_codes_are_those_of_the_design() => Assert.Equal(
        [0, 64, 65, 70, 73, 75, 77, 78],
        [
            ExitCode.Success, ExitCode.Usage, ExitCode.DataDoesNotVerify, ExitCode.Internal, ExitCode.CannotCreate,
            ExitCode.TokenAbsent, ExitCode.PinRefused, ExitCode.Configuration,
        ]);

    private static string[] Split(string line) => line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
}
