using System.Diagnostics;
using System.Text.Json;

namespace Kmsctl.Tests;

public sealed class NotificationCommandTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kmsctl-");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Log => At("log");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task All_that_was_not_acknowledged_is_shown_and_stays()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1, 2, 3, 4);
        Run run = await Console.RunAsync(records.Daemon, "notifications");
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        string[] lines = run.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["1", "2", "3", "4"], lines.Select(line => line.Split('\t')[0]));
        Assert.Equal(
            $"1\t2026-11-24T01:02:03Z\tkey.rotated\tdefault\tmail\t{RecordsDaemon.Tag}\tuid:0\tReencrypt; $(touch x) 'q' \\u001B", lines[0]);
        Assert.Equal("2\t2026-11-24T01:02:03Z\troot.due\t-\t-\t-\tkmsd\t-", lines[1]);
        Assert.Equal(0, records.Acknowledged);
        using var json = JsonDocument.Parse((await Console.RunAsync(records.Daemon, "notifications", "--json")).Text);
        Assert.Equal(4, json.RootElement.GetProperty("notifications").GetArrayLength());
        string table = (await Console.RunOnTerminalAsync(records.Daemon, 80, "notifications")).Text;
        Assert.Matches("2 +2026-11-24 01:02 +root.due +- +kmsd *\r", table);
        Assert.Matches("1 +2026-11-24 01:02 +key.rotated +mail +uid:0\\s+Reencrypt;", table);
        Assert.DoesNotContain(RecordsDaemon.Tag[..8], table, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_shown_is_acknowledged_when_that_is_asked_for()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1, 2, 3, 4);
        Assert.Equal(0, (await Console.RunAsync(records.Daemon, "notifications", "--acknowledge")).ExitCode);
        Assert.Equal(4, records.Acknowledged);
        Run again = await Console.RunAsync(records.Daemon, "notifications", "--acknowledge");
        Assert.Equal((0, string.Empty), (again.ExitCode, again.Text));
        Assert.Equal(1, records.Methods.Count(method => method == "notifications.acknowledge"));
    }

    [Fact]
    public async Task Followed_it_prints_what_waits_and_what_comes()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1, 2);
        using Process process = Console.Start(records.Daemon, "notifications", "--follow", "--acknowledge", "--json");
        Assert.Equal([1, 2], await SequencesAsync(process, 2));
        await records.NoticeAsync(3);
        Assert.Equal([3], await SequencesAsync(process, 1));
        await RecordsDaemon.UntilAsync(() => records.Acknowledged == 3);
        await records.StopAsync();
        await records.NoticeAsync(4);
        records.Daemon.Start();
        Assert.Equal([4], await SequencesAsync(process, 1));
        Console.Signal(process, 15);
        await process.WaitForExitAsync(Cancellation);
        Assert.Equal((143, string.Empty), (process.ExitCode, await process.StandardError.ReadToEndAsync(Cancellation)));
    }

    [Fact]
    public async Task Without_being_told_so_following_acknowledges_nothing()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1);
        using Process process = Console.Start(records.Daemon, "notifications", "--follow", "--json");
        Assert.Equal([1], await SequencesAsync(process, 1));
        Console.Signal(process, 2);
        await process.WaitForExitAsync(Cancellation);
        Assert.Equal((130, 0), (process.ExitCode, records.Acknowledged));
    }

    /// <summary>A shell that has nothing to do succeeds, and all would count as delivered.</summary>
    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    public async Task Without_a_command_nothing_is_acknowledged(string command)
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1);
        Run run = await Console.RunAsync(records.Daemon, "notifications", "--exec", command);
        Assert.Equal((64, 0), (run.ExitCode, records.Acknowledged));
        Assert.Contains("--exec needs a command", run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_command_runs_once_for_each_with_all_of_it_at_hand_and_each_is_acknowledged()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1, 2, 3, 4, 5);
        Run run = await Console.RunAsync(
            records.Daemon, "notifications", "--exec",
            $"{{ cat; env | grep ^KMS_NOTICE_ | sort | tr '\\n' '|'; echo; }} >> {Log}; echo said $KMS_NOTICE_SEQUENCE");
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        Assert.Equal("said 1\nsaid 2\nsaid 3\nsaid 4\nsaid 5\n", run.Text);
        string[] lines = await File.ReadAllLinesAsync(Log, Cancellation);
        Assert.Equal(10, lines.Length);
        using var first = JsonDocument.Parse(lines[0]);
        using var sent = JsonDocument.Parse(RecordsDaemon.Notice(1));
        Assert.True(JsonElement.DeepEquals(sent.RootElement, first.RootElement));
        Assert.Equal(
            $"KMS_NOTICE_AT=2026-11-24T01:02:03Z|KMS_NOTICE_BY=uid:0|KMS_NOTICE_DETAIL=Reencrypt; $(touch x) 'q' \u001b|KMS_NOTICE_KEY={RecordsDaemon.Tag}"
            + "|KMS_NOTICE_KEY_NAME=mail|KMS_NOTICE_KIND=key.rotated|KMS_NOTICE_SEQUENCE=1|KMS_NOTICE_STORE=default|",
            lines[1]);
        Assert.Equal("KMS_NOTICE_AT=2026-11-24T01:02:03Z|KMS_NOTICE_KIND=root.due|KMS_NOTICE_SEQUENCE=2|", lines[3]);
        Assert.Equal([1, 2, 3, 4, 5], Acknowledgements(records));
        Assert.False(File.Exists("x"));
    }

    /// <summary>The order: run, then acknowledge, then the next.</summary>
    [Fact]
    public async Task A_command_that_fails_stops_and_what_it_was_given_comes_again()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1, 2, 3);
        string command = $"echo $KMS_NOTICE_SEQUENCE >> {Log}; test $KMS_NOTICE_SEQUENCE != 2 || test -e {At("mended")} || exit 7";
        Run run = await Console.RunAsync(records.Daemon, "notifications", "--exec", command);
        Assert.Equal(75, run.ExitCode);
        Assert.Equal(
            "kmsctl: The command ended with 7 for notification 2 (root.due), which stays unacknowledged; mend the command and start again.\n", run.Errors);
        Assert.Equal(1, records.Acknowledged);
        await File.WriteAllTextAsync(At("mended"), "", Cancellation);
        Assert.Equal(0, (await Console.RunAsync(records.Daemon, "notifications", "--exec", command)).ExitCode);
        Assert.Equal(["1", "2", "2", "3"], await File.ReadAllLinesAsync(Log, Cancellation));
        Assert.Equal([1, 2, 3], Acknowledgements(records));
    }

    [Fact]
    public async Task Followed_the_command_runs_for_what_comes_and_a_failure_ends_it()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1);
        using Process process = Console.Start(records.Daemon, "notifications", "--follow", "--exec", "read line; echo $KMS_NOTICE_SEQUENCE; test $KMS_NOTICE_SEQUENCE != 3");
        Assert.Equal("1", await process.StandardOutput.ReadLineAsync(Cancellation));
        await records.NoticeAsync(2, 3, 4);
        Assert.Equal("2\n3\n", await process.StandardOutput.ReadToEndAsync(Cancellation).WaitAsync(TimeSpan.FromSeconds(30), Cancellation));
        await process.WaitForExitAsync(Cancellation);
        Assert.Equal((75, 2), (process.ExitCode, records.Acknowledged));
    }

    /// <summary>The command ran: it must not run again only because the daemon was away when that was to be said.</summary>
    [Fact]
    public async Task Followed_an_acknowledgement_waits_for_a_daemon_that_went_away()
    {
        await using var records = new RecordsDaemon();
        using Process process = Console.Start(
            records.Daemon, "notifications", "--follow", "--exec", $"echo $KMS_NOTICE_SEQUENCE >> {Log}; while ! test -e {At("go")}; do sleep 0.05; done");
        await RecordsDaemon.UntilAsync(() => records.Methods.Contains("notifications.list"));
        await records.NoticeAsync(1);
        await RecordsDaemon.UntilAsync(() => File.Exists(Log));
        await records.StopAsync();
        await File.WriteAllTextAsync(At("go"), "", Cancellation);
        await Task.Delay(1_500, Cancellation);
        records.Daemon.Start();
        await RecordsDaemon.UntilAsync(() => records.Acknowledged == 1);
        await RecordsDaemon.UntilAsync(() => records.Methods.Count(method => method == "notifications.subscribe") == 2);
        await records.NoticeAsync(2);
        await RecordsDaemon.UntilAsync(() => records.Acknowledged == 2);
        Assert.Equal(["1", "2"], await File.ReadAllLinesAsync(Log, Cancellation));
        Console.Signal(process, 15);
        await process.WaitForExitAsync(Cancellation);
        Assert.Equal(143, process.ExitCode);
    }

    [Fact]
    public async Task A_signal_lets_the_running_command_finish_and_counts_what_it_did()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1, 2);
        using Process process = Console.Start(
            records.Daemon, "notifications", "--exec", $"echo $KMS_NOTICE_SEQUENCE >> {Log}; while ! test -e {At("go")}; do sleep 0.05; done");
        await RecordsDaemon.UntilAsync(() => File.Exists(Log));
        Console.Signal(process, 15);
        await Task.Delay(300, Cancellation);
        Assert.False(process.HasExited);
        await File.WriteAllTextAsync(At("go"), "", Cancellation);
        await process.WaitForExitAsync(Cancellation);
        Assert.Equal((143, 1), (process.ExitCode, records.Acknowledged));
        Assert.Equal(["1"], await File.ReadAllLinesAsync(Log, Cancellation));
    }

    [Fact]
    public async Task A_command_that_reads_nothing_is_no_failure()
    {
        await using var records = new RecordsDaemon();
        await records.NoticeAsync(1, 2, 3);
        Assert.Equal(0, (await Console.RunAsync(records.Daemon, "notifications", "--exec", "exec 0<&-; true")).ExitCode);
        Assert.Equal(3, records.Acknowledged);
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);

    private static IEnumerable<long> Acknowledgements(RecordsDaemon records) => records.Daemon.Received
        .Where(call => call.Method == "notifications.acknowledge").Select(call => call.Params.GetProperty("upTo").GetInt64());

    private static async Task<List<long>> SequencesAsync(Process process, int lines)
    {
        List<long> numbers = [];
        while (numbers.Count < lines)
        {
            using var line = JsonDocument.Parse(
                (await process.StandardOutput.ReadLineAsync(Cancellation).AsTask().WaitAsync(TimeSpan.FromSeconds(30), Cancellation))!);
            numbers.Add(line.RootElement.GetProperty("sequence").GetInt64());
        }

        return numbers;
    }
}
