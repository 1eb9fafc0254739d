using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Shares written to files, each on a filesystem of its own, which a test run as root mounts.</summary>
public sealed class ShareFileTests : IAsyncLifetime
{
    private int _seals = 2000;

    private static readonly string[] s_passphrases = ["the first custodian's", "the second custodian's", "the third custodian's"];

    private readonly List<string> _mounts = [];
    private Installation _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await Installation.MakeEmptyAsync();
        foreach (string name in new[] { "a", "b", "c" })
        {
            string folder = Path.Combine(_host.Path, name);
            _ = Directory.CreateDirectory(folder);
            _ = await Shell.SucceedAsync("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", folder);
            _mounts.Add(folder);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (string folder in _mounts)
        {
            _ = await Shell.SucceedAsync("umount", folder);
        }

        await _host.DisposeAsync();
    }

    [Fact]
    public async Task Shares_in_files_make_the_root_key_and_each_is_its_custodians_alone()
    {
        string[] files = [.. _mounts.Select(folder => Path.Combine(folder, "share"))];
        await using (Dialogue dialogue = await Dialogue.StartAsync(_host, "init", "--root", "ceremony"))
        {
            for (int i = 0; i < 3; i++)
            {
                await Custodians.AnswerAsync(dialogue, [.. Custodians.Holdings[i][..6], files[i]]);
            }

            for (int i = 0; i < 3; i++)
            {
                await dialogue.AnswerAsync("nobody else sees this screen. ", "");
                if (i == 1)
                {
                    await dialogue.AnswerAsync("characters: ", "too short");
                    await dialogue.AnswerAsync("It is too short.\r\n", s_passphrases[i]);
                    await dialogue.AnswerAsync("to read the file back: ", "something else, 12+");
                    _ = await dialogue.ExpectAsync("doesn't open: the passphrase is wrong, or the file was altered.");
                }

                await dialogue.AnswerAsync("characters: ", s_passphrases[i]);
                await dialogue.AnswerAsync("to read the file back: ", s_passphrases[i]);
            }

            await dialogue.AnswerAsync("Type 'yes'", "yes");
            Finished finished = await dialogue.FinishAsync();
            Assert.True(finished.ExitCode == 0, finished.Error);
            Assert.DoesNotContain("custodian's", dialogue.Transcript + finished.Output, StringComparison.Ordinal);
        }

        Assert.All(files, file => Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file)));
        Assert.StartsWith("kms-share 1\nset ", File.ReadAllText(files[0]), StringComparison.Ordinal);

        await VerifyAsync([files[0], files[2]], [[s_passphrases[0]], ["mistyped once", s_passphrases[2]]], 0, "");
        await VerifyAsync([files[0], files[2]], [[s_passphrases[0]], [s_passphrases[0], s_passphrases[0], s_passphrases[0]]], 65, "the passphrase is wrong, or the file was altered");
        await VerifyAsync([files[1], files[1]], [[s_passphrases[1]], [s_passphrases[1]]], 65, "Share 2 was given already");
        string altered = File.ReadAllText(files[0]).Replace("needed 2", "needed 1", StringComparison.Ordinal);
        File.WriteAllText(files[0], altered);
        await VerifyAsync([files[0], files[2]], [[s_passphrases[0], s_passphrases[0], s_passphrases[0]]], 65, "the passphrase is wrong, or the file was altered");
    }

    [Fact]
    public async Task A_file_beside_the_database_or_another_share_is_refused_and_an_abandoned_one_removed()
    {
        string first = Path.Combine(_mounts[0], "share");
        await using Dialogue dialogue = await Dialogue.StartAsync(_host, "init", "--root", "ceremony");
        for (int field = 0; field < 6; field++)
        {
            await dialogue.AnswerAsync(": ", Custodians.Holdings[0][field]);
        }

        const string Prompt = "File for the share (empty: words on the screen): ";
        await dialogue.AnswerAsync(Prompt, Path.Combine(_host.Path, "share"));
        _ = await dialogue.ExpectAsync("is on the filesystem of the state folder");
        await dialogue.AnswerAsync(Prompt, "share");
        _ = await dialogue.ExpectAsync("An absolute path, please.");
        await dialogue.AnswerAsync(Prompt, Path.Combine(_mounts[0], "none", "share"));
        _ = await dialogue.ExpectAsync("No such file or directory");
        await dialogue.AnswerAsync(Prompt, first);
        for (int field = 0; field < 6; field++)
        {
            await dialogue.AnswerAsync(": ", Custodians.Holdings[1][field]);
        }

        await dialogue.AnswerAsync(Prompt, Path.Combine(_mounts[0], "other"));
        _ = await dialogue.ExpectAsync("is on the filesystem of share 1; each share needs its own.");
        await dialogue.AnswerAsync(Prompt, "");
        await Custodians.AnswerAsync(dialogue, Custodians.Holdings[2]);
        await dialogue.AnswerAsync("nobody else sees this screen. ", "");
        await dialogue.AnswerAsync("characters: ", s_passphrases[0]);
        await dialogue.AnswerAsync("to read the file back: ", s_passphrases[0]);
        _ = await dialogue.ExpectAsync("nobody else sees this screen. ");
        Assert.True(File.Exists(first));
        dialogue.Type("abandon\r");
        Assert.Equal(64, (await dialogue.FinishAsync()).ExitCode);
        Assert.False(File.Exists(first));
    }

    private async Task VerifyAsync(string[] files, string[][] passphrases, int exitCode, string sentence)
    {
        await using Dialogue dialogue = await Dialogue.StartAsync(
            _host, ["root", "verify-shares", .. files.SelectMany(file => new[] { "--share-file", file })]);
        await Custodians.BeginOpeningAsync(dialogue);
        for (int i = 0; i < passphrases.Length; i++)
        {
            await dialogue.AnswerAsync("Seal found on the bag: ", "S-1");
            foreach (string passphrase in passphrases[i])
            {
                await dialogue.AnswerAsync($"Passphrase of {files[i]}: ", passphrase);
            }

            if (exitCode == 0 || i + 1 < passphrases.Length)
            {
                await dialogue.AnswerAsync("Seal of the new bag: ", $"S-{++_seals}");
            }
        }

        Finished finished = await dialogue.FinishAsync();
        Assert.Equal(exitCode, finished.ExitCode);
        Assert.Contains(sentence, finished.Error, StringComparison.Ordinal);
    }
}
