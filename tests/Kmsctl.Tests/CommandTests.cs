using System.Text.Json;
using Kms.Client.Tests;

namespace Kmsctl.Tests;

public sealed class CommandTests
{
    [Theory]
    [InlineData("")]
    [InlineData("nonsense")]
    [InlineData("key")]
    [InlineData("key create")]
    [InlineData("key create mail --type nonsense")]
    [InlineData("key create mail --grant uid:1")]
    [InlineData("grant add mail uid:1 nonsense")]
    [InlineData("random many")]
    [InlineData("file encrypt mail in")]
    public async Task A_wrong_command_line_is_one_sentence_and_64(string line)
    {
        Run run = await Console.RunAsync(null, line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(64, run.ExitCode);
        Assert.Empty(run.Output);
        Assert.Matches("^kmsctl: [^\n]+; see 'kmsctl[ a-z]* --help'\\.\n$", run.Errors);
    }

    [Theory]
    [InlineData("root", "kmsctl root needs another word: status, rotate, retire;")]
    [InlineData("root stat", "'stat' is not known here, but status, rotate, retire;")]
    [InlineData("root retire abc --reason x", "'abc' for command 'retire': a whole number is needed;")]
    [InlineData("history mail --before x", "'x' for option '--before': a whole number is needed;")]
    public async Task What_is_missing_or_wrong_is_named_in_the_users_words(string line, string sentence)
    {
        Run run = await Console.RunAsync(null, line.Split(' '));
        Assert.Equal(64, run.ExitCode);
        Assert.Contains(sentence, run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("System.", run.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("help")]
    [InlineData("help root")]
    [InlineData("--help")]
    [InlineData("key create --help")]
    [InlineData("file decrypt --help")]
    public async Task Help_is_everywhere(string line)
    {
        Run run = await Console.RunAsync(null, line.Split(' '));
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        Assert.Contains("Usage:", run.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_a_daemon_it_ends_with_69_and_says_where_it_looked()
    {
        Run run = await Console.RunAsync(null, "status");
        Assert.Equal(69, run.ExitCode);
        Assert.Contains("/nonexistent/kmsd.sock", run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_refusal_ends_with_10_and_its_number()
    {
        await using FakeDaemon daemon = OneKey.Start();
        Run run = await Console.RunAsync(daemon, "key", "create", "mail");
        Assert.Equal(12, run.ExitCode);
        Assert.Equal("kmsctl: You may not do that. A manager of the store may; he or an operator can make you one: kmsctl member add.\n", run.Errors);
    }

    [Fact]
    public async Task A_list_in_a_pipe_is_lines_of_all_pages_and_nothing_steers_the_terminal()
    {
        await using FakeDaemon daemon = OneKey.Start();
        Run list = await Console.RunAsync(daemon, "key", "list");
        string line = $"mail\t{OneKey.Tag}\tenabled\t2026-11-24T01:02:03Z\tAES256-GCM96\t2\t90 d\t3\n";
        Assert.Equal(line + line, list.Text);
        Run show = await Console.RunAsync(daemon, "key", "show", "mail");
        Assert.Contains("memo\t[red]x[/]\\u001B]0;title\\u0007\\u0009y\n", show.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task On_a_terminal_a_list_is_a_table_titled_with_the_total()
    {
        await using FakeDaemon daemon = OneKey.Start();
        Run run = await Console.RunOnTerminalAsync(daemon, "key", "list");
        Assert.Contains("2 keys", run.Text, StringComparison.Ordinal);
        Assert.Contains("mail  ", run.Text, StringComparison.Ordinal);
        Run show = await Console.RunOnTerminalAsync(daemon, "key", "show", "mail");
        Assert.Contains("[red]x[/]\\u001B]0;title", show.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task For_programs_there_is_JSON()
    {
        await using FakeDaemon daemon = OneKey.Start();
        Run list = await Console.RunAsync(daemon, "key", "list", "--json");
        using var document = JsonDocument.Parse(list.Text);
        Assert.Equal(2, document.RootElement.GetProperty("total").GetInt32());
        Assert.Equal(2, document.RootElement.GetProperty("keys").GetArrayLength());
        Run key = await Console.RunAsync(daemon, "data-key", "mail", "--json");
        Assert.DoesNotContain("plaintext", key.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Grants_at_birth_are_sent()
    {
        await using FakeDaemon daemon = OneKey.Start();
        _ = await Console.RunAsync(
            daemon, "key", "create", "mail", "--grant", "unit:a=b.service=encryptor", "--grant", "uid:1=reviewer", "--rotate-days", "7");
        FakeCall call = Assert.Single(daemon.Received);
        Assert.Equal(
            """[{"principal":"unit:a=b.service","role":"encryptor"},{"principal":"uid:1","role":"reviewer"}]""",
            call.Params.GetProperty("grants").GetRawText());
        Assert.Equal(7, call.Params.GetProperty("rotationPeriodDays").GetInt32());
        Assert.Equal("AES256-GCM96", call.Text("type"));
        Assert.False(call.Params.TryGetProperty("store", out _));
    }

    [Theory]
    [InlineData("acme/mail", """{"name":"mail","type":"AES256-GCM96","store":"acme"}""")]
    [InlineData("acme/mail --store acme", """{"name":"mail","type":"AES256-GCM96","store":"acme"}""")]
    [InlineData("mail --store acme", """{"name":"mail","type":"AES256-GCM96","store":"acme"}""")]
    [InlineData("a/b/c", """{"name":"a/b/c","type":"AES256-GCM96"}""")]
    public async Task A_new_key_is_named_as_others_are(string name, string parameters)
    {
        await using FakeDaemon daemon = OneKey.Start();
        _ = await Console.RunAsync(daemon, ["key", "create", .. name.Split(' ')]);
        Assert.Equal(parameters, Assert.Single(daemon.Received).Params.GetRawText());
    }

    [Fact]
    public async Task A_new_key_in_two_stores_is_refused()
    {
        Run run = await Console.RunAsync(null, "key", "create", "acme/mail", "--store", "shop");
        Assert.Equal((64, "kmsctl: 'acme/mail' is in 'acme', but --store says 'shop'; leave one of them out.\n"), (run.ExitCode, run.Errors));
    }

    /// <summary>80 columns are what a terminal has that nobody widened.</summary>
    [Fact]
    public async Task The_list_of_keys_fits_a_terminal_of_80_columns()
    {
        await using FakeDaemon daemon = OneKey.Start();
        Run run = await Console.RunOnTerminalAsync(daemon, 80, "key", "list");
        Assert.All(run.Text.Split('\n'), line => Assert.True(Visible(line).Length <= 80, line));
        Assert.Matches("mail +enabled +2026-11-24 01:02 +AES256-GCM96 +2 +3 +90 d", Visible(run.Text));
        Assert.DoesNotContain(OneKey.Tag[..8], run.Text, StringComparison.Ordinal);
    }

    private static string Visible(string text) => System.Text.RegularExpressions.Regex.Replace(text.Replace("\r", "", StringComparison.Ordinal), "\u001b\\[[0-9;?]*[a-zA-Z]", "");

    [Fact]
    public async Task Without_grants_none_are_sent()
    {
        await using FakeDaemon daemon = OneKey.Start();
        _ = await Console.RunAsync(daemon, "key", "create", "mail");
        Assert.Equal(["name", "type"], Assert.Single(daemon.Received).Params.EnumerateObject().Select(member => member.Name));
    }

    [Fact]
    public async Task A_small_value_goes_there_and_back_byte_for_byte()
    {
        await using FakeDaemon daemon = OneKey.Start();
        byte[] secret = [0, 255, 10, 13, 27, .. "\u00e4"u8];
        Run encrypted = await Console.RunAsync(daemon, secret, "encrypt", "mail", "--context", "a\u00e4");
        Assert.Equal($"kms:v1:{Convert.ToBase64String(secret)}\n", encrypted.Text);
        Run decrypted = await Console.RunAsync(daemon, encrypted.Output, "decrypt", "mail", "-");
        Assert.Equal(secret, decrypted.Output);
        Assert.Equal("a\u00e4"u8, Convert.FromBase64String(daemon.Received.First().Text("context")));
        Assert.Equal("AAECAw==\n", (await Console.RunAsync(daemon, "random", "4")).Text);
    }

    [Theory]
    [InlineData(32_768, 0)]
    [InlineData(32_769, 15)]
    public async Task A_small_value_has_32_KiB_at_most(int length, int exitCode)
    {
        await using FakeDaemon daemon = OneKey.Start();
        Assert.Equal(exitCode, (await Console.RunAsync(daemon, new byte[length], "encrypt", "mail")).ExitCode);
    }

    [Fact]
    public async Task A_missing_input_is_66()
    {
        await using FakeDaemon daemon = OneKey.Start();
        Run run = await Console.RunAsync(daemon, "encrypt", "mail", "/nonexistent");
        Assert.Equal(66, run.ExitCode);
        Assert.Contains("'/nonexistent' doesn't exist", run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Errors, StringComparison.Ordinal);
    }
}
