using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Bad days: each its own sentence and exit code, and nothing is changed.</summary>
public sealed class StartupTests
{
    private const int Usage = 64;
    private const int CannotCreate = 73;
    private const int TokenAbsent = 75;
    private const int PinRefused = 77;
    private const int Configuration = 78;

    [Fact]
    public async Task A_wrong_pin_is_refused_and_tried_once()
    {
        await using Installation host = await Installation.MakeAsync();
        Installation.WriteSecret(host.PinFile, "another-pin");
        Expect(await host.RefusedAsync(), PinRefused, "refuses the PIN");

        Installation.WriteSecret(host.PinFile, "e2e-user-pin");
        await using Daemon daemon = await host.StartAsync();
    }

    [Fact]
    public async Task A_pin_file_must_be_there_and_unreadable_by_others()
    {
        await using Installation host = await Installation.MakeAsync();
        File.SetUnixFileMode(host.PinFile, (UnixFileMode)0b110_100_000);
        Expect(await host.RefusedAsync(), Configuration, "can be read by others");

        File.Delete(host.PinFile);
        Expect(await host.RefusedAsync(), Configuration, "PIN file");

        Installation.WriteSecret(host.PinFile, "e2e-user-pin\r\n");
        Expect(await host.RefusedAsync(), Configuration, "white space");

        Installation.WriteSecret(host.PinFile, "");
        Expect(await host.RefusedAsync(), Configuration, "must hold the PIN");
    }

    [Fact]
    public async Task A_module_must_be_there_and_be_one()
    {
        await using Installation host = await Installation.MakeAsync();
        host.Set("token", "module", "/usr/lib/no-such-module.so");
        Expect(await host.RefusedAsync(), Configuration, "isn't there");

        host.Set("token", "module", "/lib/x86_64-linux-gnu/libm.so.6");
        Expect(await host.RefusedAsync(), Configuration, "not a PKCS#11 module");
    }

    [Fact]
    public async Task Exactly_one_token_must_match()
    {
        await using Installation host = await Installation.MakeAsync();
        host.Set("token", "label", "unknown");
        Expect(await host.RefusedAsync(), TokenAbsent, "No token has the label 'unknown'");

        host.Set("token", "label", Installation.Label);
        await host.MakeTokenAsync(Installation.Label);
        Expect(await host.RefusedAsync(), Configuration, "2 tokens have the label");
    }

    [Fact]
    public async Task Another_token_of_the_same_name_is_not_the_root_key()
    {
        await using Installation host = await Installation.MakeAsync();
        Directory.Delete(Path.Combine(host.Path, "tokens"), recursive: true);
        await host.MakeTokenAsync(Installation.Label);
        Expect(await host.RefusedAsync(), Configuration, "root key isn't in this token");
    }

    [Fact]
    public async Task The_root_key_of_another_database_is_refused()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Installation other = await Installation.MakeAsync();
        File.Copy(other.Database, host.Database, overwrite: true);
        Expect(await host.RefusedAsync(), Configuration, "root key isn't in this token");
    }

    [Fact]
    public async Task A_database_must_be_there_be_ours_and_not_be_newer()
    {
        await using Installation host = await Installation.MakeAsync();
        await host.SqlAsync("PRAGMA user_version = 99");
        Expect(await host.RefusedAsync(), Configuration, "newer version");

        await host.SqlAsync("PRAGMA user_version = 1; PRAGMA application_id = 7");
        Expect(await host.RefusedAsync(), Configuration, "not a database of kmsd");

        File.WriteAllText(host.Database, "this is text");
        Expect(await host.RefusedAsync(), Configuration, "can't be read");

        File.Delete(host.Database);
        Expect(await host.RefusedAsync(), Configuration, "kmsd init");
    }

    [Fact]
    public async Task A_changed_schema_is_refused()
    {
        await using Installation host = await Installation.MakeAsync();
        await host.SqlAsync("CREATE TRIGGER surprise AFTER INSERT ON grants BEGIN DELETE FROM members; END");
        Expect(await host.RefusedAsync(), Configuration, "changed from outside");
    }

    [Fact]
    public async Task A_live_socket_is_respected_and_a_dead_one_replaced()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Installation other = await Installation.MakeAsync();
        await using (Daemon first = await host.StartAsync())
        {
            other.Set("daemon", "socket", host.Socket);
            Expect(await other.RefusedAsync(), CannotCreate, "A daemon serves on");
            await first.KillAsync();
        }

        Assert.True(File.Exists(host.Socket));
        await using Daemon second = await host.StartAsync();
    }

    [Fact]
    public async Task A_file_where_the_socket_belongs_is_not_removed()
    {
        await using Installation host = await Installation.MakeAsync();
        File.WriteAllText(host.Socket, "precious");
        Expect(await host.RefusedAsync(), CannotCreate, "socket");
        Assert.Equal("precious", File.ReadAllText(host.Socket));
    }

    [Fact]
    public async Task A_second_daemon_on_one_state_folder_is_refused()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        host.Set("daemon", "socket", host.Socket + "2");
        Expect(await host.RefusedAsync(), CannotCreate, "in use by another kmsd");
    }

    [Fact]
    public async Task A_state_folder_must_be_there_writable_and_ours()
    {
        await using Installation host = await Installation.MakeAsync();
        host.Set("daemon", "state_dir", Path.Combine(host.Path, "nowhere"));
        Expect(await host.RefusedAsync(), CannotCreate, "isn't there");

        host.Set("daemon", "state_dir", "/proc/sys");
        Expect(await host.RefusedAsync(), CannotCreate, "can't be written");

        host.Set("daemon", "state_dir", host.State);
        _ = await Shell.SucceedAsync("chown", "daemon", host.State);
        Expect(await host.RefusedAsync(), Configuration, "belongs to uid 1");
    }

    [Fact]
    public async Task A_configuration_that_others_can_write_is_refused()
    {
        await using Installation host = await Installation.MakeAsync();
        host.WriteConfiguration();
        File.SetUnixFileMode(host.Configuration, (UnixFileMode)0b110_110_110);
        Finished refused = await Shell.RunAsync(Repository.Kmsd, ["--config", host.Configuration], host.Environment);
        Expect(refused, Configuration, "can be written by others");
    }

    [Theory]
    [InlineData("[keys]\ncolour = red\n", "there is no setting 'colour'")]
    [InlineData("[walls]\ncolour = red\n", "there is no section [walls]")]
    [InlineData("[keys]\ncache_entries = many\n", "whole number")]
    [InlineData("[limits]\ncost_per_second = much\n", "cost_per_second")]
    public async Task An_unknown_or_wrong_setting_is_named_with_file_and_line(string more, string sentence)
    {
        await using Installation host = await Installation.MakeAsync();
        host.WriteConfiguration(more);
        int line = File.ReadAllLines(host.Configuration).Length - (more.StartsWith("[walls]", StringComparison.Ordinal) ? 1 : 0);
        Finished refused = await Shell.RunAsync(Repository.Kmsd, ["--config", host.Configuration], host.Environment);
        Expect(refused, Configuration, sentence);
        Assert.Contains($"{host.Configuration}:{line}", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Init_runs_once_and_only_with_an_origin()
    {
        await using Installation host = await Installation.MakeEmptyAsync();
        Expect(await host.InitAsync("--root", "ceremony"), Usage, "run it at a terminal");
        Expect(await host.InitAsync("--root"), Usage, "--root");
        Assert.False(File.Exists(host.Database));

        Assert.Equal(0, (await host.InitAsync()).ExitCode);
        byte[] before = File.ReadAllBytes(host.Database);
        Expect(await host.InitAsync(), CannotCreate, "initialised");
        Assert.Equal(before, File.ReadAllBytes(host.Database));

        File.Delete(host.Database);
        Expect(await host.InitAsync(), CannotCreate, "holds a root key already");
    }

    [Fact]
    public async Task A_failed_init_leaves_nothing_in_the_token()
    {
        await using Installation host = await Installation.MakeEmptyAsync();
        _ = Directory.CreateDirectory(host.Database + ".new");
        Expect(await host.InitAsync(), CannotCreate, "is in the way");

        Directory.Delete(host.Database + ".new");
        Assert.Equal(0, (await host.InitAsync()).ExitCode);
    }

    [Theory]
    [InlineData("serve")]
    [InlineData("--colour")]
    [InlineData("--config")]
    public async Task Wrong_usage_exits_64(string argument) =>
        Expect(await Shell.RunAsync(Repository.Kmsd, argument), Usage, "kmsd --help");

    private static void Expect(Finished finished, int exitCode, string sentence)
    {
        Assert.Contains(sentence, finished.Error, StringComparison.Ordinal);
        Assert.Equal(exitCode, finished.ExitCode);

        // One sentence for a person, and nothing of our insides.
        Assert.DoesNotContain("   at ", finished.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Exception", finished.Error, StringComparison.Ordinal);
    }
}
