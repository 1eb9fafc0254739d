namespace Kmsctl.Output;

/// <summary>What a person is shown and asked before something that hurts: on standard error, so that the answer's place stays clean.</summary>
internal static class Question
{
    public static Task TellAsync(string line) => Console.Error.WriteLineAsync(Text.Clean(line));

    /// <exception cref="CommandException">The answer isn't yes, or there is none.</exception>
    public static async Task ConfirmAsync(string question, CancellationToken cancellationToken)
    {
        string? answer = await AskAsync($"{question} [y/N] ", cancellationToken);
        if (answer is null || !(answer.Equals("y", StringComparison.OrdinalIgnoreCase) || answer.Equals("yes", StringComparison.OrdinalIgnoreCase)))
        {
            throw new CommandException(ExitCode.NotConfirmed, "Nothing was changed. Answer 'y', or give --yes.");
        }
    }

    /// <summary>One line of standard input; null at its end.</summary>
    public static async Task<string?> AskAsync(string question, CancellationToken cancellationToken)
    {
        await Console.Error.WriteAsync(Text.Clean(question));
        return await Task.Run(Console.In.ReadLine, CancellationToken.None).WaitAsync(cancellationToken);
    }
}
