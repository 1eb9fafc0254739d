namespace Kms.EndToEnd.Tests.Support;

/// <summary>The people of a ceremony, who answer as the page in docs/operations.md has it.</summary>
internal static class Custodians
{
    public static readonly string[][] Holdings =
    [
        ["Ada Byron", "card", "C-1", "S-1001", "safe A", "Seoul", ""],
        ["Grace Hopper", "card", "C-2", "S-1002", "safe B", "Busan", ""],
        ["Edith Clarke", "steel plate", "P-1", "S-1003", "safe C", "Daejeon", ""],
    ];

    private static readonly string[] s_prompts =
    [
        "  Custodian: ", "  Medium, such as card or steel plate: ", "  Serial number of the medium: ", "  Number of the bag's seal: ", "  Safe: ",
        "  Site: ", "  File for the share (empty: words on the screen): ",
    ];

    /// <summary>A ceremony from beginning to end; the shares that were written down.</summary>
    /// <param name="host">Where.</param>
    /// <param name="arguments">The command; none: <c>init --root ceremony</c>.</param>
    public static async Task<IReadOnlyList<Share>> HoldCeremonyAsync(Installation host, params string[] arguments)
    {
        await using Dialogue dialogue = await Dialogue.StartAsync(host, arguments.Length > 0 ? arguments : ["init", "--root", "ceremony"]);
        await AnswerHoldingsAsync(dialogue);
        List<Share> shares = [];
        for (int number = 1; number <= Holdings.Length; number++)
        {
            shares.Add(await WriteDownAsync(dialogue));
            await TypeAsync(dialogue, shares[^1]);
        }

        await dialogue.AnswerAsync("Type 'yes' to put the root key into token 'e2e': ", "yes");
        Finished finished = await dialogue.FinishAsync();
        Assert.True(finished.ExitCode == 0, finished.Error);
        return shares;
    }

    public static async Task AnswerHoldingsAsync(Dialogue dialogue, string[][]? holdings = null)
    {
        foreach (string[] holding in holdings ?? Holdings)
        {
            await AnswerAsync(dialogue, holding);
        }
    }

    public static async Task AnswerAsync(Dialogue dialogue, string[] holding)
    {
        for (int field = 0; field < s_prompts.Length; field++)
        {
            await dialogue.AnswerAsync(s_prompts[field], holding[field]);
        }
    }

    /// <summary>Writes down what the screen shows, up to where it is to be typed.</summary>
    public static async Task<Share> WriteDownAsync(Dialogue dialogue)
    {
        await dialogue.AnswerAsync("Press Enter when nobody else sees this screen. ", "");
        _ = await dialogue.ExpectAsync("\x1b[H");
        var share = Share.Read(await dialogue.ExpectAsync("and you type them from the medium. "));
        dialogue.Type("\r");
        return share;
    }

    /// <summary>Types words one by one, whole or by their first four letters.</summary>
    public static async Task TypeAsync(Dialogue dialogue, Share share, int from = 1)
    {
        for (int number = from; number <= share.Words.Length; number++)
        {
            string word = share.Words[number - 1];
            _ = await dialogue.ExpectAsync($"Word {number} of 33: ");
            dialogue.Type(number % 2 == 0 ? word + "\r" : word[..Math.Min(4, word.Length)] + " ");
        }
    }

    /// <summary>Answers what an opening asks, up to the words of its first share.</summary>
    public static async Task BeginOpeningAsync(Dialogue dialogue)
    {
        await dialogue.AnswerAsync("Reason: ", "yearly check");
        await dialogue.AnswerAsync("Custodians present: ", "Ada Byron, Edith Clarke");
    }

    /// <summary>Brings one share.</summary>
    public static async Task BringAsync(Dialogue dialogue, Share share, string oldSeal, string newSeal)
    {
        await dialogue.AnswerAsync("  Seal found on the bag: ", oldSeal);
        await dialogue.AnswerAsync("Press Enter when only its custodian sees this screen. ", "");
        await TypeAsync(dialogue, share);
        await dialogue.AnswerAsync("  Seal of the new bag: ", newSeal);
    }
}
