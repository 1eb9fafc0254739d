using Kms.Client.Tests;

namespace Kmsctl.Tests;

/// <summary>A daemon of which some keys or a store aren't served, because what is stored of them was changed from outside.</summary>
public sealed class QuarantineTests
{
    private const string Sentence = "What is stored of this key doesn't match its authentication code; it isn't served.";
    private const string Bad = "00112233445566778899aabbccddeeff";
    private const string Good = "ffeeddccbbaa99887766554433221100";

    [Theory]
    [InlineData("key list")]
    [InlineData("key list --json")]
    [InlineData("key list --store default")]
    public async Task A_list_that_shows_a_key_in_quarantine_says_so_and_ends_with_21(string line)
    {
        await using FakeDaemon daemon = Start(Key("mail", Bad, Sentence), Key("slow", Good, "The rotation period of 400 days is longer than 365."));
        Run run = await Console.RunAsync(daemon, line.Split(' '));
        Assert.Equal(21, run.ExitCode);
        Assert.Contains("slow", run.Text, StringComparison.Ordinal);
        Assert.Equal(
            $"kmsctl: key mail: {Sentence}\nkmsctl: key slow: The rotation period of 400 days is longer than 365.\n"
            + "kmsctl: In quarantine, so what the list says of it may be forged: mail. Tell the operator; 'kmsctl status' tells him what to do.\n",
            run.Errors);
    }

    [Fact]
    public async Task On_a_terminal_it_ends_with_21_too()
    {
        await using FakeDaemon daemon = Start(Key("mail", Bad, Sentence));
        Assert.Equal(21, (await Console.RunOnTerminalAsync(daemon, "key", "list")).ExitCode);
    }

    [Fact]
    public async Task A_warning_of_something_else_is_told_and_no_failure()
    {
        await using FakeDaemon daemon = Start(Key("slow", Good, "The rotation period of 400 days is longer than 365."));
        Run run = await Console.RunAsync(daemon, "key", "list");
        Assert.Equal((0, "kmsctl: key slow: The rotation period of 400 days is longer than 365.\n"), (run.ExitCode, run.Errors));
    }

    [Theory]
    [InlineData("shop", 21)]
    [InlineData("empty", 0)]
    [InlineData("others", 0)]
    public async Task A_store_in_quarantine_isnt_an_empty_one(string store, int exitCode)
    {
        await using FakeDaemon daemon = Start();
        Run run = await Console.RunAsync(daemon, "key", "list", "--store", store);
        Assert.Equal((exitCode, exitCode != 0), (run.ExitCode, run.Errors.Contains("'shop' is in quarantine", StringComparison.Ordinal)));
    }

    /// <summary>It goes into a file for a restore elsewhere: a list that isn't whole must not pass for one.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("--json")]
    public async Task A_list_of_deleted_keys_that_isnt_whole_ends_with_21(string option)
    {
        await using FakeDaemon daemon = new(call => Result(call, """{"keys":[],"warnings":["One is missing."]}"""));
        Run run = await Console.RunAsync(daemon, ["deleted", "list", .. option.Length > 0 ? new[] { option } : []]);
        Assert.Equal((21, "kmsctl: One is missing. Tell the operator; 'kmsctl status' tells him what to do.\n"), (run.ExitCode, run.Errors));
        Assert.Equal(option == "--json", run.Text.Contains("One is missing.", StringComparison.Ordinal));
    }

    private static string Key(string name, string tag, string warning) => $$"""
        {"tag":"{{tag}}","name":"{{name}}","store":"default","type":"AES256-GCM96","protection":"software","state":"enabled","memo":"",
        "currentVersion":1,"createdAt":"2026-11-23T05:42:00.000Z","stateChangedAt":"2026-11-23T05:42:00.000Z","rotationPeriodDays":400,
        "nextRotationAt":"2027-02-21T05:42:00.000Z","usageCount":0,"myRoles":["manager"],"warnings":["{{warning}}"]}
        """;

    private static FakeDaemon Start(params string[] keys) => new(call => call.Method switch
    {
        "keys.list" => Result(call, $$"""{"keys":[{{string.Join(',', keys)}}],"total":{{keys.Length}}}"""),
        "keys.get" when call.Text("key") == Bad => Error(call, 11, "integrityFailure"),
        "keys.get" => Result(call, keys[^1]),
        "members.list" when call.Text("store") == "shop" => Error(call, 11, "integrityFailure"),
        "members.list" when call.Text("store") == "others" => Error(call, 2, "forbidden"),
        "members.list" => Result(call, """{"members":[]}"""),
        _ => Error(call, 1, "notFound"),
    });

    private static string Result(FakeCall call, string result) => FakeDaemon.Result(call, result.ReplaceLineEndings(" "));

    private static string Error(FakeCall call, int code, string reason) =>
        FakeDaemon.Error(call, $$$"""{"code":{{{code}}},"message":"{{{Sentence}}}","data":{"reason":"{{{reason}}}"}}""");
}
