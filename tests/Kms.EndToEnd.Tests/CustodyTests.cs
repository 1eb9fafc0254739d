using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Shares of a root key brought together again: proven once a year, and put into a new token when the old one is lost.</summary>
public sealed class CustodyTests : IAsyncLifetime
{
    private Installation _host = null!;
    private IReadOnlyList<Share> _shares = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await Installation.MakeEmptyAsync();
        _shares = await Custodians.HoldCeremonyAsync(_host);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_quorum_is_proven_recorded_and_told()
    {
        await using (Dialogue dialogue = await Dialogue.StartAsync(_host, "root", "verify-shares"))
        {
            await Custodians.BeginOpeningAsync(dialogue);
            await Custodians.BringAsync(dialogue, _shares[2], "S-1003", "S-2003");
            await Custodians.BringAsync(dialogue, _shares[0], "S-9999", "S-2001");
            _ = await dialogue.ExpectAsync("The seal that is on record is S-1001: find out who opened the bag.");
            Finished finished = await dialogue.FinishAsync();
            Assert.True(finished.ExitCode == 0, finished.Error);
            Assert.Contains("share 1: seal S-9999 (recorded: S-1001), now S-2001", finished.Output, StringComparison.Ordinal);
            Assert.Contains("recorded: in the history", finished.Output, StringComparison.Ordinal);
            Assert.All(_shares, share => Assert.Empty(share.FindIn(_host.Path)));
        }

        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        JsonElement custody = (await wire.ResultAsync("root.status")).GetProperty("custody");
        JsonElement[] shares = [.. custody.GetProperty("shares").EnumerateArray()];
        Assert.Equal(["S-2001", "S-1002", "S-2003"], shares.Select(share => share.GetProperty("seal").GetString()));
        Assert.True(shares[0].GetProperty("verifiedAt").GetDateTimeOffset() > shares[1].GetProperty("verifiedAt").GetDateTimeOffset());
        Assert.Equal(shares[0].GetProperty("verifiedAt").GetDateTimeOffset(), custody.GetProperty("verifiedAt").GetDateTimeOffset());
        JsonElement entry = (await wire.ResultAsync("history.list", """{"scope":"root"}""")).GetProperty("entries")[0];
        Assert.Equal("root.verifyShares", entry.GetProperty("operation").GetString());
        Assert.Contains("yearly check; present: Ada Byron, Edith Clarke", entry.GetProperty("detail").GetString(), StringComparison.Ordinal);
        JsonElement notice = (await wire.ResultAsync("notifications.list")).GetProperty("notifications")[0];
        Assert.Equal("custody.opened", notice.GetProperty("kind").GetString());
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        await using Daemon again = await _host.StartAsync();
    }

    /// <summary>The sequence of prompts in docs/operations.md, exactly as it appears.</summary>
    [Fact]
    public async Task The_pages_for_the_room_are_what_the_terminal_shows()
    {
        await using Dialogue dialogue = await Dialogue.StartAsync(_host, "root", "verify-shares");
        await Custodians.BeginOpeningAsync(dialogue);
        await Custodians.BringAsync(dialogue, _shares[0], "S-1001", "S-2001");
        await Custodians.BringAsync(dialogue, _shares[2], "S-1003", "S-2003");
        Assert.Equal(0, (await dialogue.FinishAsync()).ExitCode);
        Assert.Equal(Repository.Block("docs/operations.md", "verify-shares", "text"), CeremonyTests.Page(dialogue.Transcript));
    }

    [Fact]
    public async Task Wrong_mixed_and_too_few_shares_are_named()
    {
        await using Installation other = await Installation.MakeEmptyAsync();
        IReadOnlyList<Share> foreign = await Custodians.HoldCeremonyAsync(other);
        await using Dialogue dialogue = await Dialogue.StartAsync(_host, "root", "verify-shares");
        await Custodians.BeginOpeningAsync(dialogue);

        // A share of another root key; then one with two words exchanged, which its checksum finds, and a word of no list.
        await dialogue.AnswerAsync("  Seal found on the bag: ", "S-1001");
        await dialogue.AnswerAsync("sees this screen. ", "");
        await Custodians.TypeAsync(dialogue, foreign[0]);
        _ = await dialogue.ExpectAsync("the root key's shares are of set");
        await dialogue.AnswerAsync("sees this screen. ", "");
        await dialogue.AnswerAsync("Word 1 of 33: ", "xyzzy");
        _ = await dialogue.ExpectAsync("Word 1 is no word of a share. Type word 1 again.");
        string[] altered = [.. _shares[0].Words];
        (altered[6], altered[7]) = (altered[7], altered[6]);
        await Custodians.TypeAsync(dialogue, new Share(altered));
        _ = await dialogue.ExpectAsync("The words are no share: one or more of them are wrong, or in another order.");
        await Custodians.TypeAsync(dialogue, _shares[0]);
        await dialogue.AnswerAsync("  Seal of the new bag: ", "S-2001");

        // The same one again, and then nobody.
        await dialogue.AnswerAsync("  Seal found on the bag: ", "S-1001");
        await dialogue.AnswerAsync("sees this screen. ", "");
        await Custodians.TypeAsync(dialogue, _shares[0]);
        _ = await dialogue.ExpectAsync("Share 1 was given already.");
        await dialogue.AnswerAsync("sees this screen. ", "abandon");
        Finished finished = await dialogue.FinishAsync();
        Assert.Equal(64, finished.ExitCode);
        Assert.Contains("2 shares are needed, and only 1 were given", finished.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_the_token_a_quorum_is_still_proven_and_that_nothing_was_recorded_is_said()
    {
        Directory.Move(Path.Combine(_host.Path, "tokens"), Path.Combine(_host.Path, "away"));
        _ = Directory.CreateDirectory(Path.Combine(_host.Path, "tokens"));
        await using Dialogue dialogue = await Dialogue.StartAsync(_host, "root", "verify-shares");
        await Custodians.BeginOpeningAsync(dialogue);
        await Custodians.BringAsync(dialogue, _shares[0], "S-1001", "S-2001");
        await Custodians.BringAsync(dialogue, _shares[1], "S-1002", "S-2002");
        Finished finished = await dialogue.FinishAsync();
        Assert.Equal(75, finished.ExitCode);
        Assert.Contains("proven: these shares make the root key's secret", finished.Output, StringComparison.Ordinal);
        Assert.Contains("The shares are proven, but nothing was recorded: No token", finished.Error, StringComparison.Ordinal);
    }

    /// <summary>Token destroyed, machine gone: a backup, two shares and a new token, and what was sealed opens. As docs/operations.md tells it.</summary>
    [Theory]
    [InlineData(0, 2)]
    [InlineData(2, 1)]
    public async Task From_a_backup_and_two_shares_a_new_token_opens_what_the_old_one_sealed(int first, int second)
    {
        List<(string Key, string Ciphertext)> old = [];
        await using (Daemon daemon = await _host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(_host.Socket);
            _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
            foreach (string protection in new[] { "software", "hsm" })
            {
                _ = await wire.ResultAsync(
                    "keys.create", $$$"""{"name":"{{{protection}}}","type":"AES256-GCM96","protection":"{{{protection}}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
                old.Add((protection, await wire.EncryptAsync(protection, "kept"u8.ToArray())));
            }

            Finished saved = await _host.KmsctlAsync("backup", "last.db");
            Assert.True(saved.ExitCode == 0, saved.Error);
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        await using Installation machine = await Installation.MakeEmptyAsync();
        string backup = Path.Combine(machine.Path, "backup.db");
        File.Copy(Path.Combine(_host.State, "backups", "last.db"), backup);
        Directory.Delete(Path.Combine(_host.Path, "tokens"), recursive: true);

        await using (Dialogue dialogue = await Dialogue.StartAsync(machine, "root", "restore", "--from", backup))
        {
            await Custodians.BeginOpeningAsync(dialogue);
            await Custodians.BringAsync(dialogue, _shares[first], "S-1", "S-2");
            await Custodians.BringAsync(dialogue, _shares[second], "S-3", "S-4");
            Finished finished = await dialogue.FinishAsync();
            Assert.True(finished.ExitCode == 0, finished.Error);
            Assert.Contains("proven: the token gives the check values that the database holds", finished.Output, StringComparison.Ordinal);
            Assert.Contains($"Next: kmsd restore {backup}", finished.Output, StringComparison.Ordinal);
            Assert.False(File.Exists(machine.Database));
        }

        string notes = Path.Combine(machine.State, "custody-opened");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(notes));
        Finished put = await machine.KmsdAsync("restore", backup, "--reason", "the machine is gone", "--yes");
        Assert.True(put.ExitCode == 0, put.Error);
        Assert.Contains("To be recorded: custody was opened at ", put.Output + put.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(notes));
        await using Daemon restored = await machine.StartAsync();
        await using Wire client = await Wire.ConnectAsync(machine.Socket);

        // Whoever opens the bags next finds the seals of today on record, and the rest who must be told was told.
        var seals = (await client.ResultAsync("root.status")).GetProperty("custody").GetProperty("shares").EnumerateArray()
            .ToDictionary(share => share.GetProperty("share").GetInt32(), share => share.GetProperty("seal").GetString()!);
        Assert.Equal(("S-2", "S-4"), (seals[first + 1], seals[second + 1]));
        JsonElement entry = Assert.Single((await client.ResultAsync("history.list", """{"scope":"root","operation":"root.restore"}""")).GetProperty("entries").EnumerateArray());
        Assert.Contains("now S-2", entry.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Contains(
            (await client.ResultAsync("notifications.list")).GetProperty("notifications").EnumerateArray(), notice => notice.GetProperty("kind").GetString() == "custody.opened");
        foreach ((string key, string ciphertext) in old)
        {
            Assert.Equal("kept"u8.ToArray(), await client.DecryptAsync(key, ciphertext));
        }
    }

    /// <summary>New shares first; then the generation is in use, versions are carried over, and the old shares are good until it is retired.</summary>
    [Fact]
    public async Task A_ceremony_gives_the_root_key_its_next_generation()
    {
        string ciphertext;
        await using (Daemon daemon = await _host.StartAsync())
        {
            await using Wire wire = await Wire.ConnectAsync(_host.Socket);
            _ = await wire.MakeKeyAsync("kept");
            ciphertext = await wire.EncryptAsync("kept", "kept"u8.ToArray());
            Assert.Equal("unsupported", await wire.ReasonAsync("root.rotate", """{"reason":"yearly"}"""));
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
        }

        await using (Dialogue abandoned = await Dialogue.StartAsync(_host, "root", "rotate", "--reason", "yearly"))
        {
            await abandoned.AnswerAsync("  Custodian: ", "abandon");
            Finished ended = await abandoned.FinishAsync();
            Assert.Equal(64, ended.ExitCode);
        }

        IReadOnlyList<Share> shares = await Custodians.HoldCeremonyAsync(_host, "root", "rotate", "--reason", "yearly");
        Assert.NotEqual(shares[0].Words, _shares[0].Words);
        await using Daemon again = await _host.StartAsync();
        await using Wire client = await Wire.ConnectAsync(_host.Socket);
        JsonElement root = await client.ResultAsync("root.status");
        Assert.Equal(2, root.GetProperty("generation").GetInt64());
        Assert.Equal("ceremony", root.GetProperty("origin").GetString());
        Assert.Equal(3, root.GetProperty("custody").GetProperty("shares").GetArrayLength());
        JsonElement[] custody = [.. root.GetProperty("generations").EnumerateArray().Select(one => one.GetProperty("custody"))];
        Assert.Equal([3, 3], custody.Select(one => one.GetProperty("shares").GetArrayLength()));
        Assert.NotEqual(custody[0].GetProperty("set").GetString(), custody[1].GetProperty("set").GetString());
        Assert.Equal(root.GetProperty("custody").GetProperty("set").GetString(), custody[1].GetProperty("set").GetString());
        Assert.Equal("kept"u8.ToArray(), await client.DecryptAsync("kept", ciphertext));
        for (int i = 0; (root = await client.ResultAsync("root.status")).GetProperty("rewrap").GetProperty("done").GetInt64() != 1; i++)
        {
            Assert.True(i < 100, root.ToString());
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }

        Assert.Equal("kept"u8.ToArray(), await client.DecryptAsync("kept", ciphertext));
        Assert.True((await client.ResultAsync("history.verify")).GetProperty("ok").GetBoolean());
    }

    /// <summary>Sound shares, and a database that names another key: nothing stays in the token.</summary>
    [Theory]
    [InlineData("UPDATE root_generations SET secret_check = x'0102030405060708'", 65, "The shares are sound, but give another key than the root key")]
    [InlineData("UPDATE root_generations SET mac_check = zeroblob(32)", 78, "is not the one the database was made with")]
    public async Task Shares_of_another_key_than_the_database_names_restore_nothing(string sql, int exitCode, string sentence)
    {
        await using Installation machine = await Installation.MakeEmptyAsync();
        string copy = Path.Combine(machine.Path, "copy.db");
        File.Copy(_host.Database, copy);
        _ = await Shell.SucceedAsync("sqlite3", copy, sql);
        await using Dialogue dialogue = await Dialogue.StartAsync(machine, "root", "restore", "--from", copy);
        await Custodians.BeginOpeningAsync(dialogue);
        await Custodians.BringAsync(dialogue, _shares[0], "S-1", "S-2");
        await Custodians.BringAsync(dialogue, _shares[1], "S-3", "S-4");
        Finished finished = await dialogue.FinishAsync();
        Assert.Equal(exitCode, finished.ExitCode);
        Assert.Contains(sentence, finished.Error, StringComparison.Ordinal);
        Finished probe = await Shell.RunAsync(Repository.Kmsd, ["token", "probe", "--config", machine.Configuration], machine.Environment);
        Assert.Contains("root keys in it: none", probe.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_token_that_holds_a_root_key_gets_no_other()
    {
        await using (Dialogue same = await Dialogue.StartAsync(_host, "root", "restore"))
        {
            Finished finished = await same.FinishAsync();
            Assert.Equal(73, finished.ExitCode);
            Assert.Contains("holds the root key that", finished.Error, StringComparison.Ordinal);
        }

        await using Installation other = await Installation.MakeAsync();
        await using Dialogue dialogue = await Dialogue.StartAsync(other, "root", "restore", "--from", _host.Database);
        Finished refused = await dialogue.FinishAsync();
        Assert.Equal(73, refused.ExitCode);
        Assert.Contains("holds another root key", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_root_key_of_a_token_has_no_shares_to_open()
    {
        await using Installation other = await Installation.MakeAsync();
        await using Dialogue dialogue = await Dialogue.StartAsync(other, "root", "verify-shares");
        Finished refused = await dialogue.FinishAsync();
        Assert.Equal(64, refused.ExitCode);
        Assert.Contains("has no shares", refused.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("UPDATE root_shares SET custodian = 'Mallory'", "doesn't verify")]
    [InlineData("DELETE FROM root_shares WHERE member = 2", "doesn't hold the rows that it must")]
    [InlineData("UPDATE root_generations SET secret_check = x'0102030405060708'", "doesn't verify")]
    public async Task What_is_on_record_of_the_shares_is_vouched_for(string sql, string sentence)
    {
        await _host.SqlAsync(sql);
        Finished refused = await _host.RefusedAsync();
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains(sentence, refused.Error, StringComparison.Ordinal);
    }
}
