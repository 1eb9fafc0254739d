using System.Security.Cryptography;
using System.Text;
using Kms.Client.Tests;

namespace Kmsctl.Tests;

public sealed class ReencryptTests : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kmsctl-");
    private readonly ManagedKey _key = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private string In => Path.Combine(_folder.FullName, "in");

    private string Out => Path.Combine(_folder.FullName, "out");

    private IEnumerable<FakeCall> Batches => _key.Daemon.Received.Where(call => call.Method == "crypto.reencryptBatch");

    public async ValueTask DisposeAsync()
    {
        await _key.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task A_value_comes_back_under_the_newest_version()
    {
        byte[] input = Encoding.UTF8.GetBytes(ManagedKey.Seal(1, [1, 2, 3]) + "\n");
        Run run = await Console.RunAsync(
            _key.Daemon, input, "reencrypt", "mail", "--context", "a", "--new-context", "b");
        Assert.Equal(ManagedKey.Seal(2, [1, 2, 3]) + "\n", run.Text);
        FakeCall call = _key.Only("crypto.reencrypt");
        Assert.Equal(("YQ==", "Yg=="), (call.Text("context"), call.Text("newContext")));
    }

    [Fact]
    public async Task Every_line_of_a_file_is_sealed_again_in_order_by_full_batches()
    {
        const int Count = 5000;
        await WriteAsync(Enumerable.Range(0, Count).Select(i => ManagedKey.Seal(1, BitConverter.GetBytes(i))));
        Run run = await Console.RunAsync(_key.Daemon, "reencrypt", "mail", "--lines", In, Out);
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        Assert.Equal(
            Enumerable.Range(0, Count).Select(i => ManagedKey.Seal(2, BitConverter.GetBytes(i))), await File.ReadAllLinesAsync(Out, Stop));
        Assert.Equal([904, 1024, 1024, 1024, 1024], Batches.Select(batch => batch.Params.GetProperty("items").GetArrayLength()).Order());
        Assert.All(Batches, batch => Assert.Equal(ManagedKey.Tag, batch.Text("key")));
    }

    [Fact]
    public async Task Long_work_shows_a_bar_on_a_terminal()
    {
        await WriteAsync(Enumerable.Repeat(ManagedKey.Seal(1, new byte[28]), 15_000));
        Assert.InRange(new FileInfo(In).Length, 1024 * 1024, 2 * 1024 * 1024);
        Run run = await Console.RunOnTerminalAsync(_key.Daemon, "reencrypt", "mail", "--lines", In, Out);
        Assert.Contains("Reencrypting", run.Text, StringComparison.Ordinal);
        Assert.Contains("100%", run.Text, StringComparison.Ordinal);
        Assert.Equal(15_000, (await File.ReadAllLinesAsync(Out, Stop)).Length);
    }

    [Theory]
    [InlineData(32, 1)]
    [InlineData(33, 2)]
    public async Task A_batch_has_32_KiB_of_plaintext_at_most(int lines, int batches)
    {
        await WriteAsync(Enumerable.Repeat(ManagedKey.Seal(1, new byte[1024]), lines));
        Assert.Equal(0, (await Console.RunAsync(_key.Daemon, "reencrypt", "mail", "--lines", In, Out)).ExitCode);
        Assert.Equal(batches, Batches.Count());
    }

    [Fact]
    public async Task With_long_contexts_a_batch_still_fits_a_request()
    {
        await WriteAsync(Enumerable.Repeat(ManagedKey.Seal(1, [1]), 300));
        Run run = await Console.RunAsync(
            _key.Daemon, "reencrypt", "mail", "--lines", In, Out, "--context", new string('c', 1024), "--new-context", new string('n', 1024));
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        Assert.Equal(300, (await File.ReadAllLinesAsync(Out, Stop)).Length);
    }

    [Fact]
    public async Task Empty_lines_stay_and_a_last_line_needs_no_end()
    {
        await File.WriteAllTextAsync(In, $"\n{ManagedKey.Seal(1, [1])}\r\n\n{ManagedKey.Seal(1, [2])}", Stop);
        Run run = await Console.RunAsync(_key.Daemon, "reencrypt", "mail", "--lines", "--json", In, Out);
        Assert.Equal("""{"lines":4}""" + "\n", run.Text);
        Assert.Equal($"\n{ManagedKey.Seal(2, [1])}\n\n{ManagedKey.Seal(2, [2])}\n", await File.ReadAllTextAsync(Out, Stop));
    }

    [Theory]
    [InlineData("nonsense", 65, "Line 3 is not a ciphertext")]
    [InlineData("kms:v1:AAB=", 65, "Line 3 is not a ciphertext")]
    [InlineData("refused", 16, "Line 3: This doesn't authenticate.")]
    public async Task A_bad_line_is_named_and_nothing_appears(string third, int exitCode, string sentence)
    {
        string good = ManagedKey.Seal(1, [1]);
        await WriteAsync([good, good, third == "refused" ? ManagedKey.Seal(1, [255, 255, 255, 255]) : third, good]);
        Run run = await Console.RunAsync(_key.Daemon, "reencrypt", "mail", "--lines", In, Out);
        Assert.Equal(exitCode, run.ExitCode);
        Assert.Contains(sentence, run.Errors, StringComparison.Ordinal);
        Assert.Equal(["in"], _folder.EnumerateFileSystemInfos().Select(file => file.Name));
    }

    [Theory]
    [InlineData("reencrypt mail in out")]
    [InlineData("reencrypt mail --lines in")]
    public async Task OUT_goes_with_lines(string line) =>
        Assert.Equal(64, (await Console.RunAsync(_key.Daemon, line.Split(' '))).ExitCode);

    [Fact]
    public async Task A_sealed_file_changes_only_in_its_slot_and_no_plaintext_is_asked_for()
    {
        byte[] content = RandomNumberGenerator.GetBytes(200_000);
        await File.WriteAllBytesAsync(In, content, Stop);
        _ = await Console.RunAsync(_key.Daemon, "file", "encrypt", "mail", In, Out);
        byte[] before = await File.ReadAllBytesAsync(Out, Stop);
        _key.Daemon.Received.Clear();
        Run run = await Console.RunAsync(_key.Daemon, "file", "reencrypt", Out);
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        Assert.Equal(["crypto.reencrypt"], _key.Methods);
        Assert.Equal(before[32..64], Convert.FromBase64String(_key.Only("crypto.reencrypt").Text("context")));
        byte[] after = await File.ReadAllBytesAsync(Out, Stop);
        Assert.Equal(before[..64], after[..64]);
        Assert.Equal(before[512..], after[512..]);
        Assert.Contains("key version\t2\n", (await Console.RunAsync(_key.Daemon, "file", "info", Out)).Text, StringComparison.Ordinal);
        Assert.Equal(0, (await Console.RunAsync(_key.Daemon, "file", "decrypt", Out, In + "2")).ExitCode);
        Assert.Equal(content, await File.ReadAllBytesAsync(In + "2", Stop));
    }

    [Fact]
    public async Task The_slot_is_one_write_within_a_sector_and_then_on_the_disk()
    {
        await File.WriteAllTextAsync(In, "content", Stop);
        _ = await Console.RunAsync(_key.Daemon, "file", "encrypt", "mail", In, Out);
        string[] calls = await Console.TraceAsync(_key.Daemon, "pwrite64,fsync,fdatasync", "file", "reencrypt", Out);
        string[] ours = [.. calls.Where(call => call.Contains(Out, StringComparison.Ordinal))];
        Assert.Equal(2, ours.Length);
        Assert.Matches("pwrite64\\(.*, 448, 64\\) += 448$", ours[0]);
        Assert.Matches("f(data)?sync\\(", ours[1]);
    }

    [Theory]
    [InlineData("/dev/null")]
    [InlineData("-")]
    [InlineData("/nonexistent")]
    public async Task Only_a_regular_file_is_changed(string path) =>
        Assert.Equal(66, (await Console.RunAsync(_key.Daemon, "file", "reencrypt", path)).ExitCode);

    [Fact]
    public async Task What_is_signed_is_hashed_here_whatever_its_length()
    {
        byte[] input = new byte[100_000];
        Run run = await Console.RunAsync(_key.Daemon, input, "sign", "mail", "--algorithm", "RSA_PSS_SHA_256");
        Assert.Equal("kms:v2:AAAA\n", run.Text);
        FakeCall call = _key.Only("crypto.sign");
        Assert.Equal(SHA256.HashData(input), Convert.FromBase64String(call.Text("digest")));
        Assert.Equal(["key", "digest", "algorithm"], call.Params.EnumerateObject().Select(member => member.Name));
    }

    [Theory]
    [InlineData("kms:v2:AAAA", 0, "valid\n")]
    [InlineData("kms:v2:AAAB", 1, "not valid\n")]
    public async Task Verify_says_no_with_1(string signature, int exitCode, string said)
    {
        Run run = await Console.RunAsync(_key.Daemon, "input"u8.ToArray(), "verify", "mail", signature);
        Assert.Equal((exitCode, said), (run.ExitCode, run.Text));
    }

    private Task WriteAsync(IEnumerable<string> lines) => File.WriteAllLinesAsync(In, lines, Stop);
}
