using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Kmsctl.Tests;

public sealed class HistoryCommandTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kmsctl-");

    private string Out => Path.Combine(_folder.FullName, "out");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task In_a_pipe_entries_are_lines_newest_first_and_nothing_steers_the_terminal()
    {
        await using var records = new RecordsDaemon();
        records.Record(5, 6);
        Run run = await Console.RunAsync(records.Daemon, "history", "mail");
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        Assert.Equal(
            "6\t2026-11-24T01:02:03Z\tcrypto.decrypt\tinvalidCiphertext\tunit:a.service\ta.service\t4711\t2\t1\t00112233445566778899aabbccddeeff\ta\\u0009b\\u001B[1m\n"
            + "5\t2026-11-24T01:02:03Z\trotation.automatic\tok\tkmsd\t-\t-\t-\t0\t00112233445566778899aabbccddeeff\t-\n",
            run.Text);
        Assert.Equal("""{"key":"mail","limit":100}""", records.Only("history.list").Params.GetRawText());
    }

    [Fact]
    public async Task On_a_terminal_they_are_a_table()
    {
        await using var records = new RecordsDaemon();
        records.Record(6, 6);
        Run run = await Console.RunOnTerminalAsync(records.Daemon, "history", "mail");
        Assert.Contains("History, 2026", run.Text, StringComparison.Ordinal);
        Assert.Matches("6 +11-24 01:02:03 +crypto.decrypt +invalidCiphertext +unit:a.service +2 ", run.Text);
        Assert.Contains("operation", run.Text, StringComparison.Ordinal);
    }

    /// <summary>80 columns are what a terminal has that nobody widened; programs have lines and JSON.</summary>
    [Theory]
    [InlineData("history mail", false)]
    [InlineData("history --store acme", true)]
    public async Task On_a_terminal_of_80_columns_nothing_but_details_is_broken_up(string line, bool namesKey)
    {
        await using var records = new RecordsDaemon();
        records.Record(5, 6);
        Run run = await Console.RunOnTerminalAsync(records.Daemon, 80, line.Split(' '));
        string[] lines = [.. run.Text.Split('\n').Select(text => Regex.Replace(text.TrimEnd('\r'), "\u001b\\[[0-9;?]*[a-zA-Z]", ""))];
        Assert.All(lines, text => Assert.True(text.Length <= 80, text));
        string tag = namesKey ? " +001122…" : "";
        Assert.Contains(lines, text => Regex.IsMatch(text, $"5 +11-24 01:02:03 +rotation.automatic +ok +kmsd +-{tag}$"));
        Assert.Equal(namesKey, run.Text.Contains("001122", StringComparison.Ordinal));
        Assert.DoesNotContain("4711", run.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_export_of_a_changed_database_is_written_and_ends_with_21()
    {
        await using var records = new RecordsDaemon { Database = "integrityFailure" };
        records.Record(1, 2);
        Run run = await Console.RunAsync(records.Daemon, "history", "export", Out);
        Assert.Equal(21, run.ExitCode);
        Assert.Contains("entries may not be as they were written", run.Errors, StringComparison.Ordinal);
        Assert.Equal(2, (await File.ReadAllLinesAsync(Out, Cancellation)).Length);
        Assert.Equal(21, (await Console.RunAsync(records.Daemon, "history", "export")).ExitCode);
    }

    [Theory]
    [InlineData("--store acme --limit 5 --before 9", """{"store":"acme","limit":5,"before":9}""")]
    [InlineData("--scope root --operation root.rotate", """{"scope":"root","limit":100,"operation":"root.rotate"}""")]
    [InlineData("--store acme --operation encrypt", """{"store":"acme","limit":100,"operation":"crypto.encrypt"}""")]
    [InlineData("mail --operation rotation.automatic", """{"key":"mail","limit":100,"operation":"rotation.automatic"}""")]
    [InlineData("a/b --principal uid:7 --limit 1000", """{"key":"a/b","limit":1000,"principal":"uid:7"}""")]
    public async Task What_is_asked_for_is_sent(string line, string parameters)
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, ["history", .. line.Split(' '), "--json"]);
        Assert.Equal(0, run.ExitCode);
        Assert.Equal(parameters, records.Only("history.list").Params.GetRawText());
        Assert.Equal("""{"entries":[]}""" + "\n", run.Text);
    }

    [Theory]
    [InlineData("")]
    [InlineData("mail --store acme")]
    [InlineData("--store acme --scope root")]
    [InlineData("--scope other")]
    [InlineData("mail --limit 0")]
    [InlineData("mail --limit x")]
    [InlineData("mail --follow --before 3")]
    [InlineData("verify mail")]
    [InlineData("mail --operation bogus.op")]
    [InlineData("mail --operation bogus")]
    [InlineData("mail --operation crypto.encrpyt")]
    [InlineData("mail --operation root.")]
    [InlineData("mail --principal gid:34")]
    [InlineData("mail --principal group:backup")]
    public async Task What_makes_no_sense_is_64_and_asks_nothing(string line)
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, ["history", .. line.Split(' ', StringSplitOptions.RemoveEmptyEntries)]);
        Assert.Equal(64, run.ExitCode);
        Assert.Matches("^kmsctl: [^\n]+\n$", run.Errors);
        Assert.Empty(records.Methods);
    }

    [Fact]
    public async Task A_group_is_refused_since_nobody_asks_as_one()
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, "deleted", "history", RecordsDaemon.Tag, "--principal", "gid:34");
        Assert.Equal(64, run.ExitCode);
        Assert.Contains("recorded by uid and unit", run.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, "", "No entries match.\n")]
    [InlineData(99, "", "")]
    [InlineData(100, "", "These are the newest 100; there may be more: --before 1 shows what is older, --limit N more at a time.\n")]
    [InlineData(120, "--json", "These are the newest 100; there may be more: --before 21 shows what is older, --limit N more at a time.\n")]
    [InlineData(120, "--limit 100", "")]
    public async Task What_the_limit_left_out_is_told(int entries, string options, string told)
    {
        await using var records = new RecordsDaemon();
        records.Record(1, entries);
        Run run = await Console.RunAsync(records.Daemon, ["history", "--store", "acme", .. options.Split(' ', StringSplitOptions.RemoveEmptyEntries)]);
        Assert.Equal((0, told), (run.ExitCode, run.Errors));
    }

    /// <summary>What the console refuses for an unknown name it must know: every method of the contract.</summary>
    [Fact]
    public async Task Every_operation_of_the_contract_may_be_asked_for()
    {
        string api = await File.ReadAllTextAsync(Path.Combine(Root(), "docs", "api.md"), Cancellation);
        string[] methods =
        [
            .. api.Split('\n').Where(line => line.StartsWith("| `", StringComparison.Ordinal)).Select(line => line.Split('|')[1])
                .SelectMany(cell => Regex.Matches(cell, "`([a-zA-Z]+[.][a-zA-Z]+)`(?! ○)").Select(match => match.Groups[1].Value)).Distinct()
                .Where(name => name.Split('.')[0] is not ("rpc" or "grant" or "key" or "version" or "use" or "custody")),
        ];
        Assert.True(methods.Length > 45, string.Join(' ', methods));
        await using var records = new RecordsDaemon();
        foreach (string method in methods)
        {
            Run run = await Console.RunAsync(records.Daemon, "history", "mail", "--operation", method);
            Assert.True(run.ExitCode == 0, $"{method}: {run.Errors}");
        }
    }

    [Fact]
    public async Task More_than_a_page_is_read_page_by_page()
    {
        await using var records = new RecordsDaemon();
        records.Record(1, 2_500);
        Run run = await Console.RunAsync(records.Daemon, "history", "mail", "--limit", "2200");
        Assert.Equal(Enumerable.Range(301, 2_200).Reverse(), Numbers(run.Text));
        Assert.Equal(3, records.Methods.Count());
    }

    [Fact]
    public async Task Followed_it_begins_with_the_newest_oldest_first_and_prints_what_comes_once()
    {
        await using var records = new RecordsDaemon();
        records.Record(1, 5);
        using Process process = Console.Start(records.Daemon, "history", "mail", "--follow", "--limit", "3");
        Assert.Equal([3, 4, 5], await ReadAsync(process, 3));
        records.Record(6, 7);
        Assert.Equal([6, 7], await ReadAsync(process, 2));
        records.Record(8, 3_500); // More than a page: it goes back for them, and prints them in order.
        Assert.Equal(Enumerable.Range(8, 3_493), await ReadAsync(process, 3_493));
        Assert.Equal(1_000, records.LongestPage);
        Assert.Equal(130, await EndAsync(process));
        Assert.All(records.Daemon.Received.Where(call => call.Method == "history.list"), call => Assert.Equal(RecordsDaemon.Tag, call.Text("key")));
    }

    [Fact]
    public async Task Followed_as_JSON_each_entry_is_a_line()
    {
        await using var records = new RecordsDaemon();
        records.Record(1, 3);
        using Process process = Console.Start(records.Daemon, "history", "--store", "acme", "--follow", "--json");
        for (int number = 1; number <= 3; number++)
        {
            using var line = JsonDocument.Parse((await process.StandardOutput.ReadLineAsync(Cancellation))!);
            Assert.Equal(number, line.RootElement.GetProperty("sequence").GetInt64());
        }

        Assert.Equal(130, await EndAsync(process));
    }

    [Fact]
    public async Task Followed_it_waits_for_a_daemon_that_went_away_and_says_so_once()
    {
        await using var records = new RecordsDaemon();
        records.Record(1, 1);
        using Process process = Console.Start(records.Daemon, "history", "mail", "--follow");
        Assert.Equal([1], await ReadAsync(process, 1));
        await records.StopAsync();
        string? said = await process.StandardError.ReadLineAsync(Cancellation);
        Assert.EndsWith("Waiting for it.", said, StringComparison.Ordinal);
        await Task.Delay(2_500, Cancellation);
        records.Record(2, 2);
        records.Daemon.Start();
        Assert.Equal([2], await ReadAsync(process, 1));
        Assert.Equal(130, await EndAsync(process));
        Assert.Empty(await process.StandardError.ReadToEndAsync(Cancellation));
    }

    [Fact]
    public async Task A_good_history_verifies_with_0()
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, "history", "verify");
        Assert.Equal((0, "as it was written\tyes\nentries read\t7\n", string.Empty), (run.ExitCode, run.Text, run.Errors));
    }

    [Fact]
    public async Task A_bad_one_ends_with_1_and_the_number_of_the_first_bad_entry()
    {
        await using var records = new RecordsDaemon { FirstBad = 42 };
        Run run = await Console.RunAsync(records.Daemon, "history", "verify");
        Assert.Equal((1, "as it was written\tno\nentries read\t42\nfirst bad entry\t42\n"), (run.ExitCode, run.Text));
        Assert.Contains("entry 42 was changed, is missing, or was erased without a purge", run.Errors, StringComparison.Ordinal);
        Assert.Contains("docs/operations.md, \"A history that isn't as it was written\"", run.Errors, StringComparison.Ordinal);
        Assert.Contains("\n#### A history that isn't as it was written\n", await File.ReadAllTextAsync(Path.Combine(Root(), "docs", "operations.md"), Cancellation), StringComparison.Ordinal);
        Run json = await Console.RunAsync(records.Daemon, "history", "verify", "--json");
        Assert.Equal((1, """{"ok":false,"entries":42,"firstBad":42}""" + "\n"), (json.ExitCode, json.Text));
    }

    /// <summary>It would be taken for a verification of that key alone.</summary>
    [Theory]
    [InlineData("verify", "mail")]
    [InlineData("verify", "--store", "default")]
    [InlineData("verify", "--scope", "root")]
    [InlineData("export", "mail")]
    public async Task What_is_about_the_whole_history_takes_no_key_store_or_scope(string command, params string[] about)
    {
        await using var records = new RecordsDaemon();
        Run run = await Console.RunAsync(records.Daemon, ["history", .. about, command]);
        Assert.Equal((64, string.Empty), (run.ExitCode, run.Text));
        Assert.Contains($"'history {command}' is about the whole history", run.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(499)]
    [InlineData(500)]
    [InlineData(1_300)]
    public async Task An_export_is_a_line_an_entry_page_by_page(int entries)
    {
        await using var records = new RecordsDaemon();
        records.Record(1, entries);
        Run piped = await Console.RunAsync(records.Daemon, "history", "export");
        Assert.Equal((0, string.Empty), (piped.ExitCode, piped.Errors));
        Assert.Equal(string.Concat(Enumerable.Range(1, entries).Select(number => RecordsDaemon.Exported(number) + "\n")), piped.Text);
        Assert.True(records.LongestPage <= 500);
        Assert.Equal(0, (await Console.RunAsync(records.Daemon, "history", "export", Out)).ExitCode);
        Assert.Equal(piped.Text, await File.ReadAllTextAsync(Out, Cancellation));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Out));
    }

    [Fact]
    public async Task An_export_that_fails_in_the_middle_leaves_no_file()
    {
        await using var records = new RecordsDaemon();
        records.Record(1, 1_200);
        int pages = 0;
        await using var failing = new Kms.Client.Tests.FakeDaemon(call => ++pages == 3
            ? Kms.Client.Tests.FakeDaemon.Error(call, """{"code":10,"message":"The disk is away.","data":{"reason":"storageUnavailable"}}""")
            : Kms.Client.Tests.FakeDaemon.Result(
                call, string.Create(CultureInfo.InvariantCulture, $$"""{"entries":[{{RecordsDaemon.Exported(pages)}}],"next":{{pages}}}""")));
        Run run = await Console.RunAsync(failing, "history", "export", Out);
        Assert.Equal(20, run.ExitCode);
        Assert.Empty(_folder.GetFiles());
    }

    [Fact]
    public async Task An_export_replaces_nothing_unless_it_is_told_to()
    {
        await using var records = new RecordsDaemon();
        records.Record(1, 1);
        await File.WriteAllTextAsync(Out, "precious", Cancellation);
        Assert.Equal(73, (await Console.RunAsync(records.Daemon, "history", "export", Out)).ExitCode);
        Assert.Equal("precious", await File.ReadAllTextAsync(Out, Cancellation));
        Assert.Equal(0, (await Console.RunAsync(records.Daemon, "history", "export", Out, "--force")).ExitCode);
        Assert.Equal(RecordsDaemon.Exported(1) + "\n", await File.ReadAllTextAsync(Out, Cancellation));
    }

    private static string Root()
    {
        DirectoryInfo folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "Kms.sln")))
        {
            folder = folder.Parent!;
        }

        return folder.FullName;
    }

    private static IEnumerable<int> Numbers(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(line => int.Parse(line.Split('\t')[0], CultureInfo.InvariantCulture));

    private static async Task<List<int>> ReadAsync(Process process, int lines)
    {
        List<int> numbers = [];
        while (numbers.Count < lines)
        {
            string line = await process.StandardOutput.ReadLineAsync(Cancellation).AsTask().WaitAsync(TimeSpan.FromSeconds(30), Cancellation)
                ?? throw new EndOfStreamException(await process.StandardError.ReadToEndAsync(Cancellation));
            numbers.AddRange(Numbers(line));
        }

        return numbers;
    }

    private static async Task<int> EndAsync(Process process)
    {
        Console.Signal(process, 2);
        await process.WaitForExitAsync(Cancellation);
        return process.ExitCode;
    }
}
