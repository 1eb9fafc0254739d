using System.Text;
using System.Text.RegularExpressions;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>The binaries as they are installed.</summary>
public sealed class BuildTests
{
    [Fact]
    public void The_release_has_no_test_hooks()
    {
        List<string> hooks =
        [
            .. Directory.EnumerateFiles(Repository.Script("src/kmsd/TestHooks"), "*.cs")
                .SelectMany(file => Regex.Matches(File.ReadAllText(file), "KMSD_TEST_[A-Z_]+")).Select(match => match.Value).Distinct(),
        ];
        Assert.Contains("KMSD_TEST_RECODE", hooks);
        Assert.All(hooks, hook => Assert.True(Holds(Repository.TestKmsd, hook), $"The build with test hooks must hold {hook}, else this test sees nothing."));
        Assert.False(Holds(Repository.Kmsd, "KMSD_TEST_"), "The release holds test hooks.");
    }

    [Fact]
    public async Task The_release_ignores_what_the_hooks_read()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await Daemon.StartAsync(
            host, Repository.Kmsd, new() { ["KMSD_TEST_FAULT"] = "writer.begun:1", ["KMSD_TEST_MOST_ENCRYPTIONS"] = "1" });
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("first");
        for (int count = 0; count < 3; count++)
        {
            _ = await wire.EncryptAsync("first", "x"u8.ToArray());
        }
    }

    [Fact]
    public async Task The_release_makes_no_codes_for_rows_that_have_none()
    {
        await using Installation host = await Installation.MakeAsync();
        Dictionary<string, string> recode = new() { ["KMSD_TEST_RECODE"] = "1" };
        await using (Daemon daemon = await Daemon.StartAsync(host, Repository.Kmsd, recode))
        await using (Wire wire = await Wire.ConnectAsync(host.Socket))
        {
            _ = await wire.MakeKeyAsync("first");
            _ = await daemon.StopAsync();
        }

        await host.SqlAsync("UPDATE version_material SET row_code = zeroblob(32)");
        Finished refused = await host.RefusedAsync(recode);
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("integrityFailure", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_version_encrypts_so_often_and_no_more()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartTestBuildAsync(new() { ["KMSD_TEST_MOST_ENCRYPTIONS"] = "3" });
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("worn");
        string ciphertext = "";
        for (int count = 0; count < 3; count++)
        {
            ciphertext = await wire.EncryptAsync("worn", "x"u8.ToArray());
        }

        Assert.Equal("limitExceeded", await wire.ReasonAsync("crypto.encrypt", """{"key":"worn","plaintext":"QQ=="}"""));
        Assert.Equal("x"u8.ToArray(), await wire.DecryptAsync("worn", ciphertext));
    }

    [Fact]
    public async Task Ten_thousand_encryptions_leave_it_small()
    {
        const long MostResident = 40 * 1024; // KiB
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        _ = await wire.MakeKeyAsync("busy");
        for (int count = 0; count < 10_000; count++)
        {
            _ = await wire.EncryptAsync("busy", "a password"u8.ToArray());
        }

        long resident = daemon.Memory("VmRSS");
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"resident {resident} KiB after 10,000 encryptions; kmsd is {new FileInfo(Repository.Kmsd).Length} bytes");
        Assert.InRange(resident, 0, MostResident);
    }

    private static bool Holds(string path, string text)
    {
        ReadOnlySpan<byte> bytes = File.ReadAllBytes(path);

        // Native images leave zero bytes out at the end of a string.
        return bytes.IndexOf(Encoding.UTF8.GetBytes(text)) >= 0 || bytes.IndexOf(Encoding.Unicode.GetBytes(text).AsSpan()[..^1]) >= 0;
    }
}
