using Kmsd.Configuration;
using Kmsd.Hosting;

namespace Kmsd.Tests.Configuration;

public sealed class ConfigurationReaderTests
{
    [Fact]
    public void Sections_keys_values_and_lines_are_read()
    {
        IReadOnlyList<ConfigurationEntry> entries = ConfigurationReader.Read(
            "kmsd.conf", "# a comment\n; another\n\n[daemon]\n  socket =  /run/a b \r\nempty =\n[ token ]\nlabel=x=y\n");
        Assert.Equal(
            [
                new ConfigurationEntry("daemon", "socket", "/run/a b", "kmsd.conf", 5),
                new ConfigurationEntry("daemon", "empty", "", "kmsd.conf", 6),
                new ConfigurationEntry("token", "label", "x=y", "kmsd.conf", 8),
            ],
            entries);
    }

    [Theory]
    [InlineData("[s]\nkey = a # not a comment", "a # not a comment")]
    [InlineData("[s]\nkey = a ; not a comment", "a ; not a comment")]
    [InlineData("[s]\nkey = \"quoted\"", "\"quoted\"")]
    [InlineData("[s]\nkey = a\\", "a\\")]
    public void There_is_no_quoting_no_continuation_and_no_comment_behind_a_value(string text, string value) =>
        Assert.Equal(value, Assert.Single(ConfigurationReader.Read("f", text)).Value);

    [Theory]
    [InlineData("key = value", 1, "before the first [section]")]
    [InlineData("[s]\n\nnonsense", 3, "key = value")]
    [InlineData("[s]\n= value", 2, "key = value")]
    [InlineData("[s", 1, "[name]")]
    [InlineData("[s] x", 1, "[name]")]
    [InlineData("[]", 1, "[name]")]
    [InlineData("[", 1, "[name]")]
    [InlineData("[s]\na = 1\na = 2", 3, "'a' is set twice in [s]")]
    [InlineData("[s]\na = 1\n[t]\na = 1\n[s]\na = 2", 6, "'a' is set twice in [s]")]
    public void What_breaks_the_grammar_is_refused_with_file_and_line(string text, int line, string reason)
    {
        StartupException refusal = Assert.Throws<StartupException>(() => ConfigurationReader.Read("dir/kmsd.conf", text));
        Assert.Equal(ExitCode.Configuration, refusal.ExitCode);
        Assert.StartsWith($"dir/kmsd.conf:{line}: ", refusal.Message, StringComparison.Ordinal);
        Assert.Contains(reason, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_not_utf8_too_long_or_absent_is_refused()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("kmsd.conf");
        File.WriteAllBytes(path, [0x5B, 0xFF, 0x5D]);
        Assert.Equal(ExitCode.Configuration, Assert.Throws<StartupException>(() => ConfigurationReader.ReadFile(path)).ExitCode);

        File.WriteAllText(path, new string('#', 1 << 20));
        Assert.Empty(ConfigurationReader.ReadFile(path));
        File.AppendAllText(path, "#");
        Assert.Contains("1 MiB", Assert.Throws<StartupException>(() => ConfigurationReader.ReadFile(path)).Message, StringComparison.Ordinal);

        File.Delete(path);
        Assert.Equal(ExitCode.Configuration, Assert.Throws<StartupException>(() => ConfigurationReader.ReadFile(path)).ExitCode);
    }
}
