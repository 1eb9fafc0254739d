using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>The root key in custodians' hands, at a real terminal.</summary>
public sealed partial class CeremonyTests : IAsyncLifetime
{
    private Installation _host = null!;

    public async ValueTask InitializeAsync() => _host = await Installation.MakeEmptyAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    /// <summary>With a mistyped word, words shown again, and a look into the process after each screen.</summary>
    [Fact]
    public async Task A_ceremony_makes_a_root_key_and_leaves_no_share_behind()
    {
        await using Dialogue dialogue = await Dialogue.StartAsync(_host, "init", "--root", "ceremony");
        await Custodians.AnswerHoldingsAsync(dialogue);
        List<Share> shares = [];
        for (int number = 1; number <= 3; number++)
        {
            await dialogue.AnswerAsync("Press Enter when nobody else sees this screen. ", "");
            _ = await dialogue.ExpectAsync("\x1b[H");
            var share = Share.Read(await dialogue.ExpectAsync("and you type them from the medium. "));
            if (number == 1)
            {
                // What the search finds while it may, it would find afterwards.
                Assert.NotEmpty(share.FindIn(dialogue.Id));
            }

            dialogue.Type("\r");
            if (number == 2)
            {
                await TypeWronglyAsync(dialogue, share);
            }

            await Custodians.TypeAsync(dialogue, share, from: number == 2 ? 5 : 1);
            _ = await dialogue.ExpectAsync(string.Create(CultureInfo.InvariantCulture, $"Share {number} was read back."));
            shares.Add(share);
            _ = await dialogue.ExpectAsync(number < 3 ? "is for" : "Type 'yes'");
            Assert.All(shares, earlier => Assert.Empty(earlier.FindIn(dialogue.Id)));
        }

        dialogue.Type("yes\r");
        Finished finished = await dialogue.FinishAsync();
        Assert.True(finished.ExitCode == 0, finished.Error);
        Assert.All(shares, share => Assert.Empty(share.FindIn(_host.Path)));
        Assert.Equal(3, shares.Select(share => string.Join(' ', share.Words)).Distinct().Count());
        Assert.Contains("share 3: Edith Clarke; steel plate, serial P-1; seal S-1003; safe C, Daejeon", finished.Output, StringComparison.Ordinal);
        Assert.Contains("the same key from each of the 3 quorums", finished.Output, StringComparison.Ordinal);

        // A single word may stand there for another reason ("manager" is one of the list); two that follow each other don't.
        Assert.DoesNotContain(
            shares.SelectMany(share => share.Words[..^1].Zip(share.Words[1..], (word, next) => $"{word} {next}")), pair => finished.Output.Contains(pair, StringComparison.Ordinal));

        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        JsonElement status = await wire.ResultAsync("root.status");
        Assert.Equal("ceremony", status.GetProperty("origin").GetString());
        JsonElement custody = status.GetProperty("custody");
        Assert.Equal(("shares", 3, 2), (custody.GetProperty("kind").GetString(), custody.GetProperty("count").GetInt32(), custody.GetProperty("threshold").GetInt32()));
        Assert.Equal("Grace Hopper", custody.GetProperty("shares")[1].GetProperty("custodian").GetString());
        Assert.Equal("S-1002", custody.GetProperty("shares")[1].GetProperty("seal").GetString());
        Finished shown = await _host.KmsctlAsync("root", "status");
        Assert.Equal(0, shown.ExitCode);
        Assert.Contains("Edith Clarke", shown.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("custody: none", (await wire.ResultAsync("system.status")).ToString(), StringComparison.Ordinal);
        _ = await wire.MakeKeyAsync("works");
        Assert.Equal("x"u8.ToArray(), await wire.DecryptAsync("works", await wire.EncryptAsync("works", "x"u8.ToArray())));
    }

    /// <summary>The sequence of prompts in docs/operations.md, exactly as it appears.</summary>
    [Fact]
    public async Task The_pages_for_the_room_are_what_the_terminal_shows()
    {
        await using Dialogue dialogue = await Dialogue.StartAsync(_host, "init", "--root", "ceremony");
        await Custodians.AnswerHoldingsAsync(dialogue);
        for (int number = 1; number <= 3; number++)
        {
            await Custodians.TypeAsync(dialogue, await Custodians.WriteDownAsync(dialogue));
        }

        await dialogue.AnswerAsync("Type 'yes' to put the root key into token 'e2e': ", "yes");
        Finished finished = await dialogue.FinishAsync();
        Assert.Equal(0, finished.ExitCode);
        Assert.Equal(Repository.Block("docs/operations.md", "ceremony", "text"), Page(dialogue.Transcript));
    }

    [Theory]
    [InlineData("a field", "abandon\r")]
    [InlineData("a field", "\x03")]
    [InlineData("a field", "\x04")]
    [InlineData("before a share", "abandon\r")]
    [InlineData("a share", "\x03")]
    [InlineData("a word", "abandon ")]
    [InlineData("a word", "\x03")]
    [InlineData("a word", "TERM")]
    [InlineData("a word", "hang up")]
    [InlineData("the end", "abandon\r")]
    [InlineData("the end", "HUP")]
    public async Task An_abandoned_ceremony_leaves_token_and_database_as_they_were(string where, string how)
    {
        await using Dialogue dialogue = await Dialogue.StartAsync(_host, "init", "--root", "ceremony");
        await BringToAsync(dialogue, where);
        switch (how)
        {
            case "TERM" or "HUP":
                await dialogue.SignalAsync(how);
                break;
            case "hang up":
                await dialogue.HangUpAsync();
                break;
            default:
                dialogue.Type(how);
                break;
        }

        Finished finished = await dialogue.FinishAsync();
        Assert.Equal(64, finished.ExitCode);
        Assert.EndsWith("Nothing was changed.\n", finished.Error, StringComparison.Ordinal);
        Assert.Empty(finished.Output);
        Assert.Equal(["lock"], Directory.EnumerateFileSystemEntries(_host.State).Select(Path.GetFileName));
        Finished probe = await Shell.RunAsync(Repository.Kmsd, ["token", "probe", "--config", _host.Configuration], _host.Environment);
        Assert.Contains("root keys in it: none", probe.Output, StringComparison.Ordinal);
    }

    /// <summary>tmux keeps what scrolls off; of a share there is nothing to keep, also not on its alternate screen.</summary>
    [Fact]
    public async Task No_share_stays_in_the_scrollback_of_a_terminal()
    {
        _host.WriteConfiguration();
        string name = "kms-" + Path.GetFileName(_host.Path);
        await TmuxAsync("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24",
            $"SOFTHSM2_CONF={_host.Environment["SOFTHSM2_CONF"]} {Repository.Kmsd} init --root ceremony --config {_host.Configuration}; cat");
        try
        {
            _ = await ShownAsync("Custodian:");
            foreach (string[] holding in Custodians.Holdings)
            {
                foreach (string answer in holding)
                {
                    await TmuxAsync("send-keys", "-l", answer + "\r");
                }
            }

            _ = await ShownAsync("is for Ada Byron");
            await TmuxAsync("send-keys", "Enter");
            var share = Share.Read(await ShownAsync("and you type them"));
            await TmuxAsync("send-keys", "Enter");
            _ = await ShownAsync("Word 1 of 33");
            foreach (string word in share.Words)
            {
                await TmuxAsync("send-keys", "-l", word + " ");
            }

            string kept = await ShownAsync("is for Grace Hopper");
            Assert.DoesNotContain(share.Words.Where(word => word.Length > 5), word => kept.Contains(word, StringComparison.Ordinal));
        }
        finally
        {
            await TmuxAsync("kill-server");
        }

        Task<string> TmuxAsync(params string[] arguments) => Shell.SucceedAsync("tmux", ["-L", name, .. arguments]);

        async Task<string> ShownAsync(string text)
        {
            for (int attempt = 0; attempt < 600; attempt++)
            {
                string shown = await TmuxAsync("capture-pane", "-p", "-S", "-");
                if (shown.Contains(text, StringComparison.Ordinal))
                {
                    return shown;
                }

                await Task.Delay(100);
            }

            throw new InvalidOperationException($"'{text}' isn't shown: {await TmuxAsync("capture-pane", "-p", "-S", "-")}");
        }
    }

    [Fact]
    public async Task The_same_person_medium_or_site_twice_is_refused_until_it_is_accepted()
    {
        await using (Dialogue dialogue = await Dialogue.StartAsync(_host, "init", "--root", "ceremony"))
        {
            await Custodians.AnswerAsync(dialogue, Custodians.Holdings[0]);
            await dialogue.AnswerAsync("  Custodian: ", "ada byron");
            await dialogue.AnswerAsync("'ada byron' holds share 1 already. Take another, or begin anew with --accept.\r\n  Custodian: ", "Grace Hopper");
            await dialogue.AnswerAsync("steel plate: ", "card");
            await dialogue.AnswerAsync("of the medium: ", "C-1");
            await dialogue.AnswerAsync("'C-1' carries share 1 already. Take another, or begin anew with --accept.\r\n  Serial number of the medium: ", "C-2");
            await dialogue.AnswerAsync("seal: ", "s-1001");
            await dialogue.AnswerAsync("'s-1001' closes share 1 already. Each bag has a number of its own.\r\n  Number of the bag's seal: ", "S-1002");
            await dialogue.AnswerAsync("Safe: ", "safe B");
            await dialogue.AnswerAsync("Site: ", "Seoul");
            await dialogue.AnswerAsync("'Seoul' has share 1 already. Take another, or begin anew with --accept.\r\n  Site: ", "abandon");
            Assert.Equal(64, (await dialogue.FinishAsync()).ExitCode);
        }

        await using Dialogue accepted = await Dialogue.StartAsync(_host, "init", "--root", "ceremony", "--accept");
        await Custodians.AnswerHoldingsAsync(accepted, [.. Enumerable.Range(1, 3).Select(bag => (string[])[.. Custodians.Holdings[0][..3], $"S-{bag}", .. Custodians.Holdings[0][4..]])]);
        _ = await accepted.ExpectAsync("Each of the 3 quorums gives the same key");
    }

    [Theory]
    [InlineData("--shares 1", "there are 2 to 16 shares")]
    [InlineData("--shares 17", "there are 2 to 16 shares")]
    [InlineData("--threshold 1", "or one person has the root key")]
    [InlineData("--threshold 4", "no more than the 3 shares")]
    [InlineData("--threshold 3", "say --no-spare")]
    [InlineData("--shares x", "needs a number")]
    public async Task Numbers_that_make_no_sense_are_refused_before_anything_is_asked(string options, string sentence)
    {
        Finished refused = await _host.InitAsync(["--root", "ceremony", .. options.Split(' ')]);
        Assert.Equal(64, refused.ExitCode);
        Assert.Contains(sentence, refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_a_terminal_there_is_no_ceremony_and_nothing_is_proposed()
    {
        Finished refused = await _host.InitAsync("--root", "ceremony");
        Assert.Equal(64, refused.ExitCode);
        Assert.Contains("run it at a terminal", refused.Error, StringComparison.Ordinal);
        refused = await Shell.RunAsync(Repository.Kmsd, ["init", "--config", _host.Configuration], _host.Environment);
        Assert.Equal(64, refused.ExitCode);
        Assert.Contains("Say where the root key comes from", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_does_not_say_where_the_root_key_comes_from_is_proposed_a_ceremony()
    {
        await using Dialogue dialogue = await Dialogue.StartAsync(_host, "init");
        await dialogue.AnswerAsync("[ceremony] ", "");
        _ = await dialogue.ExpectAsync("Ceremony of a root key: 3 shares, any 2 of which make it.");
    }

    /// <summary>The dialogue as a page: what the terminal would show, without escape sequences; words, stars and the set's id left out.</summary>
    internal static string Page(string transcript)
    {
        const string Clear = "\x1b[2J\x1b[3J\x1b[H";
        string text = transcript.Replace("\r\n", "\n", StringComparison.Ordinal)
            .Replace("\x1b[?1049h" + Clear, "--- alone ---\n", StringComparison.Ordinal)
            .Replace(Clear + "\x1b[?1049l", "--- together ---\n", StringComparison.Ordinal)
            .Replace(Clear, "--- cleared ---\n", StringComparison.Ordinal);
        text = Escapes().Replace(Typing().Replace(text, "Word 1 of 33: … Word 33 of 33:\n"), "");
        text = Cells().Replace(text, match =>
            match.Groups[1].Value + new string('_', 8) + new string(' ', Math.Max(0, match.Groups[2].Length + match.Groups[3].Length - 8)));
        text = SetId().Replace(text, "set 7c3e");
        return string.Join('\n', text.Split('\n').Select(line => line.TrimEnd())).Trim('\n');
    }

    private static async Task TypeWronglyAsync(Dialogue dialogue, Share share)
    {
        for (int number = 1; number <= 3; number++)
        {
            _ = await dialogue.ExpectAsync(string.Create(CultureInfo.InvariantCulture, $"Word {number} of 33: "));
            dialogue.Type(share.Words[number - 1] + " ");
        }

        // Another word of the list, then none of it, then the words once more.
        string other = share.Words[3] == "zero" ? "yoga" : "zero";
        foreach (string wrong in new[] { other, "xyzzy", share.Words[3][..3] + "~" })
        {
            await dialogue.AnswerAsync("Word 4 of 33: ", wrong);
            _ = await dialogue.ExpectAsync("Word 4 isn't the one that was shown. Look at what you wrote, and type word 4 again.");
        }

        await dialogue.AnswerAsync("Word 4 of 33: ", "show");
        var again = Share.Read(await dialogue.ExpectAsync("and you type them from the medium. "));
        Assert.Equal(share.Words, again.Words);
        dialogue.Type("\r");
        await dialogue.AnswerAsync("Word 4 of 33: ", share.Words[3]);
    }

    private static async Task BringToAsync(Dialogue dialogue, string where)
    {
        if (where == "a field")
        {
            await Custodians.AnswerAsync(dialogue, Custodians.Holdings[0]);
            _ = await dialogue.ExpectAsync("  Custodian: ");
            return;
        }

        await Custodians.AnswerHoldingsAsync(dialogue);
        if (where == "before a share")
        {
            _ = await dialogue.ExpectAsync("nobody else sees this screen. ");
        }
        else if (where == "a share")
        {
            await dialogue.AnswerAsync("nobody else sees this screen. ", "");
            _ = await dialogue.ExpectAsync("and you type them from the medium. ");
        }
        else if (where == "a word")
        {
            _ = await Custodians.WriteDownAsync(dialogue);
            _ = await dialogue.ExpectAsync("Word 1 of 33: ");
        }
        else
        {
            for (int number = 1; number <= 3; number++)
            {
                await Custodians.TypeAsync(dialogue, await Custodians.WriteDownAsync(dialogue));
            }

            _ = await dialogue.ExpectAsync("Type 'yes'");
        }
    }

    [GeneratedRegex(@"(Word \d+ of 33: \**\r\x1b\[K)+")]
    private static partial Regex Typing();

    [GeneratedRegex(@"\x1b\[[0-9;?]*[A-Za-z]")]
    private static partial Regex Escapes();

    [GeneratedRegex(@"(?<= {2})(\d{1,2} )([a-z]{4,8})\b( *)")]
    private static partial Regex Cells();

    [GeneratedRegex("set [0-9a-f]{4}")]
    private static partial Regex SetId();
}
