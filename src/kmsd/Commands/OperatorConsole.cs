using Kmsd.Hosting;

namespace Kmsd.Commands;

/// <summary>Where a command tells an operator what it is about to do, and asks for the word.</summary>
/// <param name="Input">Where the word comes from; null: nobody can be asked.</param>
/// <param name="Output">Where it is told.</param>
internal sealed record OperatorConsole(TextReader? Input, TextWriter Output)
{
    public static OperatorConsole OfProcess() => new(Console.IsInputRedirected ? null : Console.In, Console.Out);

    public void Tell(string line) => Output.WriteLine(line);

    /// <exception cref="StartupException">64: the word isn't given, or nobody can be asked.</exception>
    public void Require(string word, bool isGiven)
    {
        if (isGiven)
        {
            return;
        }

        if (Input is null)
        {
            throw CommandLine.Usage("Nobody can be asked here: give --yes if this is what must be done. Nothing was changed.");
        }

        Output.Write($"Type '{word}' to go on: ");
        Output.Flush();
        if (Input.ReadLine()?.Trim() != word)
        {
            throw new StartupException(ExitCode.Usage, "The word wasn't given. Nothing was changed.");
        }
    }
}
