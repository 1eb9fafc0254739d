using Spectre.Console;

namespace Kmsctl.Output;

/// <summary>A bar on standard error, where that is a terminal and the work is long.</summary>
internal static class ProgressBar
{
    private const long LongBytes = 64 * 1024 * 1024;

    public static async Task<T> RunAsync<T>(
        string what, long length, Func<IProgress<long>?, Task<T>> work, long shortest = LongBytes)
    {
        if (Console.IsErrorRedirected || length <= shortest)
        {
            return await work(null);
        }

        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        return await console.Progress()
            .Columns(
                new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new TransferSpeedColumn(),
                new RemainingTimeColumn())
            .StartAsync(context => work(new Bar(context.AddTask(Markup.Escape(what), maxValue: length))));
    }

    private sealed class Bar(ProgressTask task) : IProgress<long>
    {
        public void Report(long value) => task.Value = value;
    }
}
