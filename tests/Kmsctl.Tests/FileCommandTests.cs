using System.Diagnostics;
using System.Security.Cryptography;
using Kms.Client.Tests;

namespace Kmsctl.Tests;

public sealed class FileCommandTests : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kmsctl-");

    private string In => At("in");

    private string Out => At("out");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task A_file_goes_there_and_back_and_belongs_to_its_owner_alone()
    {
        await using FakeDaemon daemon = OneKey.Start();
        byte[] content = RandomNumberGenerator.GetBytes(3_000_000);
        await File.WriteAllBytesAsync(In, content, TestContext.Current.CancellationToken);
        Assert.Equal(0, (await Console.RunAsync(daemon, "file", "encrypt", "mail", In, Out)).ExitCode);
        Assert.Equal(0, (await Console.RunAsync(daemon, "file", "decrypt", Out, At("back"))).ExitCode);
        Assert.Equal(content, await File.ReadAllBytesAsync(At("back"), TestContext.Current.CancellationToken));
        Assert.Equal((OwnerOnly, OwnerOnly), (File.GetUnixFileMode(Out), File.GetUnixFileMode(At("back"))));
        Assert.StartsWith($"key\t{OneKey.Tag}\n", (await Console.RunAsync(daemon, "file", "info", Out)).Text, StringComparison.Ordinal);
        Assert.Equal(["back", "in", "out"], Names());
    }

    [Fact]
    public async Task A_pipe_can_be_sealed()
    {
        await using FakeDaemon daemon = OneKey.Start();
        byte[] content = RandomNumberGenerator.GetBytes(700_000);
        Assert.Equal(0, (await Console.RunAsync(daemon, content, "file", "encrypt", "mail", "-", Out)).ExitCode);
        byte[] file = await File.ReadAllBytesAsync(Out, TestContext.Current.CancellationToken);
        Assert.Equal(0, (await Console.RunAsync(daemon, file, "file", "decrypt", "-", At("back"))).ExitCode);
        Assert.Equal(content, await File.ReadAllBytesAsync(At("back"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task What_exists_is_replaced_only_by_force()
    {
        await using FakeDaemon daemon = OneKey.Start();
        await File.WriteAllTextAsync(In, "content", TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(Out, "precious", TestContext.Current.CancellationToken);
        Run refused = await Console.RunAsync(daemon, "file", "encrypt", "mail", In, Out);
        Assert.Equal(73, refused.ExitCode);
        Assert.Contains("--force", refused.Errors, StringComparison.Ordinal);
        Assert.Equal("precious", await File.ReadAllTextAsync(Out, TestContext.Current.CancellationToken));
        Assert.Empty(daemon.Received);
        Assert.Equal(0, (await Console.RunAsync(daemon, "file", "encrypt", "mail", In, Out, "--force")).ExitCode);
        Assert.Equal(512 + 7 + 16, new FileInfo(Out).Length);
    }

    [Fact]
    public async Task What_appears_meanwhile_is_not_replaced_either()
    {
        await using FakeDaemon daemon = OneKey.Start();
        using Process process = Console.Start(daemon, "file", "encrypt", "mail", "-", Out);
        await process.StandardInput.BaseStream.WriteAsync(new byte[5_000_000], TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(Out, "precious", TestContext.Current.CancellationToken);
        process.StandardInput.Close();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(73, process.ExitCode);
        Assert.Equal("precious", await File.ReadAllTextAsync(Out, TestContext.Current.CancellationToken));
        Assert.Equal(["out"], Names());
    }

    [Fact]
    public async Task What_is_not_a_regular_file_is_never_replaced()
    {
        await using FakeDaemon daemon = OneKey.Start();
        await File.WriteAllTextAsync(In, "content", TestContext.Current.CancellationToken);
        _ = File.CreateSymbolicLink(Out, In);
        foreach (string path in (string[])[Out, "/dev/null", _folder.FullName])
        {
            Assert.Equal(73, (await Console.RunAsync(daemon, "file", "encrypt", "mail", In, path, "--force")).ExitCode);
        }

        Assert.Equal("content", await File.ReadAllTextAsync(In, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_damaged_file_is_65_and_leaves_nothing()
    {
        await using FakeDaemon daemon = OneKey.Start();
        await File.WriteAllBytesAsync(In, new byte[1_000_000], TestContext.Current.CancellationToken);
        _ = await Console.RunAsync(daemon, "file", "encrypt", "mail", In, Out);
        byte[] file = await File.ReadAllBytesAsync(Out, TestContext.Current.CancellationToken);
        file[^1] ^= 1;
        await File.WriteAllBytesAsync(Out, file, TestContext.Current.CancellationToken);
        Run run = await Console.RunAsync(daemon, "file", "decrypt", Out, At("back"));
        Assert.Equal(65, run.ExitCode);
        Assert.Equal(["in", "out"], Names());
        Assert.Equal(65, (await Console.RunAsync(daemon, "file", "decrypt", In, At("back"))).ExitCode);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(15)]
    public async Task A_signal_ends_it_and_leaves_nothing(int signal)
    {
        await using FakeDaemon daemon = OneKey.Start();
        using Process process = Console.Start(daemon, "file", "encrypt", "mail", "-", Out);
        await process.StandardInput.BaseStream.WriteAsync(new byte[5_000_000], TestContext.Current.CancellationToken);
        Console.Signal(process, signal);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(
            TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        Assert.Equal(128 + signal, process.ExitCode);
        Assert.Empty(Names());
    }

    [Fact]
    public async Task Even_SIGKILL_leaves_nothing()
    {
        await using FakeDaemon daemon = OneKey.Start();
        using Process process = Console.Start(daemon, "file", "encrypt", "mail", "-", Out);
        await process.StandardInput.BaseStream.WriteAsync(new byte[5_000_000], TestContext.Current.CancellationToken);
        process.Kill();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Empty(Names());
    }

    [Fact]
    public async Task The_output_is_never_standard_output()
    {
        await using FakeDaemon daemon = OneKey.Start();
        Run run = await Console.RunAsync(daemon, "file", "encrypt", "mail", "-", "-");
        Assert.Equal(64, run.ExitCode);
        Assert.False(File.Exists("-"));
    }

    [Fact]
    public async Task The_plain_data_key_goes_to_its_file_alone()
    {
        await using FakeDaemon daemon = OneKey.Start();
        Run run = await Console.RunAsync(daemon, "data-key", "mail", "--plaintext-out", Out);
        Assert.StartsWith("kms:v1:", run.Text, StringComparison.Ordinal);
        Assert.Equal(new byte[32], await File.ReadAllBytesAsync(Out, TestContext.Current.CancellationToken));
        Assert.Equal(OwnerOnly, File.GetUnixFileMode(Out));
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);

    private IEnumerable<string> Names() => _folder.EnumerateFileSystemInfos().Select(file => file.Name).Order(StringComparer.Ordinal);
}
