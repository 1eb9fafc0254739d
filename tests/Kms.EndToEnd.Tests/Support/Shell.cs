using System.Diagnostics;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>What a program did.</summary>
internal sealed record Finished(int ExitCode, string Output, string Error);

/// <summary>Runs programs to their end.</summary>
internal static class Shell
{
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(10);

    public static Task<Finished> RunAsync(string program, params string[] arguments) => RunAsync(program, arguments, []);

    public static async Task<Finished> RunAsync(
        string program, string[] arguments, Dictionary<string, string> environment, byte[]? input = null, string? workingDirectory = null)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = workingDirectory ?? "",
        };
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        await using (Stream pipe = process.StandardInput.BaseStream)
        {
            await pipe.WriteAsync(input ?? []);
        }

        using CancellationTokenSource longest = new(s_longest);
        await process.WaitForExitAsync(longest.Token);
        return new Finished(process.ExitCode, await output, await error);
    }

    /// <exception cref="InvalidOperationException">It exits otherwise than with 0.</exception>
    public static async Task<string> SucceedAsync(string program, params string[] arguments)
    {
        Finished finished = await RunAsync(program, arguments);
        return finished.ExitCode == 0
            ? finished.Output
            : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: {finished.ExitCode}: {finished.Output}{finished.Error}");
    }
}
