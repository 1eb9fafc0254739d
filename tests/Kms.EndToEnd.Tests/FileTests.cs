using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Files through the console and the daemon.</summary>
public sealed class FileTests
{
    [Fact]
    public async Task A_large_file_comes_back_whole_in_constant_memory()
    {
        const long MostResident = 64 * 1024; // KiB
        int mebibytes = Repository.Count("KMS_FILE_MIB", 256);
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await MakeKeyAsync(host);
        string plain = Path.Combine(host.Path, "plain");
        string before = await WriteAsync(plain, mebibytes);

        string sealedFile = plain + ".sealed";
        string opened = plain + ".opened";
        long encrypting = await ResidentAsync(host, "file", "encrypt", "files", plain, sealedFile);
        long decrypting = await ResidentAsync(host, "file", "decrypt", sealedFile, opened);
        TestContext.Current.TestOutputHelper?.WriteLine($"{mebibytes} MiB: at most {encrypting} KiB and {decrypting} KiB resident");

        await using FileStream result = File.OpenRead(opened);
        Assert.Equal(before, Convert.ToHexString(await SHA256.HashDataAsync(result, TestContext.Current.CancellationToken)));
        Assert.InRange(encrypting, 1, MostResident);
        Assert.InRange(decrypting, 1, MostResident);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(sealedFile));
    }

    [Fact]
    public async Task A_damaged_file_is_refused_and_nothing_of_it_appears()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await MakeKeyAsync(host);
        string plain = Path.Combine(host.Path, "plain");
        _ = await WriteAsync(plain, 1);
        Assert.Equal(0, (await host.KmsctlAsync("file", "encrypt", "files", plain, plain + ".sealed")).ExitCode);

        byte[] bytes = File.ReadAllBytes(plain + ".sealed");
        bytes[^1000] ^= 1;
        File.WriteAllBytes(plain + ".damaged", bytes);
        Finished refused = await host.KmsctlAsync("file", "decrypt", plain + ".damaged", plain + ".opened");
        Assert.Equal(65, refused.ExitCode);
        Assert.Equal(
            ["plain", "plain.damaged", "plain.sealed"],
            Directory.EnumerateFiles(host.Path, "*plain*").Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.DoesNotContain(Directory.EnumerateFiles(host.Path), path => path.EndsWith(".tmp", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_console_goes_on_after_the_daemon_was_restarted()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Kms.Client.KmsClient client = new(host.Socket);
        await using (Daemon first = await host.StartAsync())
        {
            await MakeKeyAsync(host);
            _ = await client.GetStatusAsync(TestContext.Current.CancellationToken);
            await first.KillAsync();
        }

        await using Daemon second = await host.StartAsync();
        _ = await client.GetStatusAsync(TestContext.Current.CancellationToken);
        Finished nowhere = await Shell.RunAsync(Repository.Kmsctl, ["status"], new() { ["KMSD_SOCKET"] = host.Socket + "-none" });
        Assert.Equal(69, nowhere.ExitCode);
    }

    private static async Task MakeKeyAsync(Installation host)
    {
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("files");
    }

    private static async Task<string> WriteAsync(string path, int mebibytes)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using FileStream file = File.Create(path);
        for (int count = 0; count < mebibytes; count++)
        {
            byte[] block = RandomNumberGenerator.GetBytes(1 << 20);
            hash.AppendData(block);
            await file.WriteAsync(block, TestContext.Current.CancellationToken);
        }

        return Convert.ToHexString(hash.GetHashAndReset());
    }

    /// <summary>Runs kmsctl, which must succeed, and tells the most it had resident, in KiB (VmHWM, seen while it ran).</summary>
    private static async Task<long> ResidentAsync(Installation host, params string[] arguments)
    {
        ProcessStartInfo start = new(Repository.Kmsctl, arguments) { RedirectStandardError = true };
        start.Environment["KMSD_SOCKET"] = host.Socket;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        long most = 0;
        while (!process.HasExited)
        {
            try
            {
                string? line = File.ReadLines($"/proc/{process.Id}/status").FirstOrDefault(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
                most = Math.Max(most, line is null ? 0 : long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture));
            }
            catch (IOException)
            {
                break; // It ended between two looks.
            }

            await Task.Delay(5, TestContext.Current.CancellationToken);
        }

        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(process.ExitCode == 0, await error);
        return most;
    }
}
