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
    [InlineData("root verify-shares --config /a --share-file /s/a --share-file b", nameof(CommandLine.Verb.VerifyShares), "/a", null)]
    [InlineData("root restore --from /backup --share-file a", nameof(CommandLine.Verb.RestoreRoot), null, null)]
    [InlineData("--help", nameof(CommandLine.Verb.Help), null, null)]
    [InlineData("-h", nameof(CommandLine.Verb.Help), null, null)]
    [InlineData("help", nameof(CommandLine.Verb.Help), null, null)]
    [InlineData("root --help", nameof(CommandLine.Verb.Help), null, null)]
    [InlineData("history -h", nameof(CommandLine.Verb.Help), null, null)]
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
    [InlineData("init --shares")]
    [InlineData("init --shares many")]
    [InlineData("init --shares -3")]
    [InlineData("init --shares 3 --shares 4")]
    [InlineData("init --share-file /a")]
    [InlineData("--shares 3")]
    [InlineData("root")]
    [InlineData("root verify")]
    [InlineData("root restore --from /a --from /b")]
    [InlineData("root verify-shares --from /a")]
    [InlineData("root verify-shares --threshold 2")]
    public void Anything_else_is_a_usage_error(string line)
    {
        StartupException refusal = Assert.Throws<StartupException>(() => CommandLine.Parse(Split(line)));
        Assert.Equal(ExitCode.Usage, refusal.ExitCode);
        Assert.EndsWith("See kmsd --help.", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("root", "kmsd root needs a second word: rotate, verify-shares or restore.")]
    [InlineData("root status", "'status' isn't a word that kmsd root knows: rotate, verify-shares or restore.")]
    [InlineData("history", "kmsd history needs a second word: verify.")]
    [InlineData("token prob", "'prob' isn't a word that kmsd token knows: probe.")]
    public void The_second_word_that_is_missing_or_unknown_is_named(string line, string sentence) =>
        Assert.Equal(sentence + " See kmsd --help.", Assert.Throws<StartupException>(() => CommandLine.Parse(Split(line))).Message);

    [Fact]
    public void A_ceremony_is_described_by_numbers_and_flags()
    {
        var parsed = CommandLine.Parse(Split("init --root ceremony --shares 5 --threshold 3 --no-spare --accept"));
        Assert.Equal((5, 3, true, true), (parsed.Shares, parsed.Threshold, parsed.AllowsNoSpare, parsed.AcceptsSame));
        parsed = CommandLine.Parse(Split("init --root ceremony"));
        Assert.Equal((null, null, false, false), (parsed.Shares, parsed.Threshold, parsed.AllowsNoSpare, parsed.AcceptsSame));
        Assert.Equal(
            [Path.GetFullPath("a"), "/b"], CommandLine.Parse(Split("root restore --share-file a --from /c --share-file /b")).ShareFiles);
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
