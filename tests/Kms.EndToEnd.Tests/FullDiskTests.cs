using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>No room for the record: nothing is done that isn't recorded, and it is done again as soon as there is room.</summary>
public sealed class FullDiskTests
{
    private const int Mebibytes = 16;

    /// <summary><c>KMS_FULL_DISKS</c>: how often.</summary>
    [Fact]
    public async Task On_a_full_disk_uses_are_refused_and_nothing_is_half_written_until_there_is_room()
    {
        SkipUnlessRoot();
        int times = Repository.Count("KMS_FULL_DISKS", 3);
        await using Installation host = await Installation.MakeEmptyAsync();
        await using SmallDisk disk = await SmallDisk.MountAsync(host.State, Mebibytes);
        Assert.Equal(0, (await host.InitAsync()).ExitCode);
        string tag;
        long refused;
        List<Use> uses;
        UseProof proof;
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            tag = await wire.MakeKeyAsync("recorded");
            proof = new UseProof(host, "recorded", tag);
            UseLoad load = await UseLoad.StartAsync(() => Wire.ConnectAsync(host.Socket), "recorded", "full", connections: 64, inFlight: 2);
            for (int i = 0; i < times; i++)
            {
                await load.WaitForAsync("ok", 500);
                disk.Fill();
                await load.WaitForAsync("storageUnavailable", 2000);

                // A change needs room as well; what only reads needs none.
                Assert.Equal("storageUnavailable", await wire.ReasonAsync("grants.add", """{"key":"recorded","principal":"uid:6","role":"manager"}"""));
                Assert.DoesNotContain("uid:6", (await wire.ResultAsync("grants.list", """{"key":"recorded"}""")).ToString(), StringComparison.Ordinal);
                disk.MakeRoom();
            }

            await load.WaitForAsync("ok", 500);
            refused = load.Answered("storageUnavailable");
            uses = await load.EndAsync();
            Assert.Equal(["ok", "storageUnavailable"], uses.Select(use => use.Outcome).Distinct().Order());
            await host.SettleAsync();
            proof.Check(uses);
            await proof.CheckWithDaemonAsync();
            Assert.Equal("ok", (await wire.ResultAsync("system.status")).GetProperty("status").GetString());
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        await CheckFilesAsync(host, proof);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{times} times full: {proof.Carried} uses of {uses.Count} carried out and in the history once, {refused} refused and nowhere");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Killed_or_stopped_while_the_disk_is_full_it_starts_again_when_there_is_room(bool isKilled)
    {
        SkipUnlessRoot();
        await using Installation host = await Installation.MakeEmptyAsync();
        await using SmallDisk disk = await SmallDisk.MountAsync(host.State, Mebibytes);
        Assert.Equal(0, (await host.InitAsync()).ExitCode);
        List<Use> uses;
        UseProof proof;
        await using (Daemon daemon = await host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            proof = new UseProof(host, "recorded", await wire.MakeKeyAsync("recorded"));
            UseLoad load = await UseLoad.StartAsync(() => Wire.ConnectAsync(host.Socket), "recorded", "killed", connections: 64, inFlight: 2);
            disk.Fill();
            await load.WaitForAsync("storageUnavailable", 1000);
            if (isKilled)
            {
                await daemon.KillAsync();
            }
            else
            {
                Finished stopped = await daemon.StopAsync();
                Assert.True(stopped.ExitCode == 0, stopped.Error);
            }

            uses = await load.EndAsync(isCut: true);
        }

        disk.MakeRoom();
        await using (Daemon again = await host.StartAsync())
        {
            proof.Check(uses);
            await proof.CheckWithDaemonAsync();
            Assert.Equal(0, (await again.StopAsync()).ExitCode);
        }

        await CheckFilesAsync(host, proof);
    }

    private static void SkipUnlessRoot() =>
        Assert.SkipUnless(Environment.UserName == "root", "Needs root: it mounts a small file system.");

    /// <summary>What a stopped daemon left is whole, and the next one counts on from there.</summary>
    private static async Task CheckFilesAsync(Installation host, UseProof proof)
    {
        Assert.Equal("ok\n", await Shell.SucceedAsync("sqlite3", host.Database, "PRAGMA integrity_check"));
        await using Daemon daemon = await host.StartAsync();
        await proof.CheckWithDaemonAsync();
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
    }
}
