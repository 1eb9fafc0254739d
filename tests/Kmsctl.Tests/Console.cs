using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Kms.Client.Tests;

namespace Kmsctl.Tests;

/// <summary>What one run of the console left.</summary>
internal sealed record Run(int ExitCode, byte[] Output, string Errors)
{
    public string Text => Encoding.UTF8.GetString(Output);
}

/// <summary>Runs the console as its users do, as a process of its own.</summary>
internal static partial class Console
{
    public static async Task<Run> RunAsync(FakeDaemon? daemon, byte[] input, params string[] arguments)
    {
        using Process process = Start(daemon, arguments);
        Task<string> errors = process.StandardError.ReadToEndAsync();
        using var output = new MemoryStream();
        Task reading = process.StandardOutput.BaseStream.CopyToAsync(output);
        try
        {
            await process.StandardInput.BaseStream.WriteAsync(input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It doesn't read what it doesn't need.
        }

        await reading;
        await process.WaitForExitAsync();
        return new Run(process.ExitCode, output.ToArray(), await errors);
    }

    public static Task<Run> RunAsync(FakeDaemon? daemon, params string[] arguments) => RunAsync(daemon, [], arguments);

    public static Process Start(FakeDaemon? daemon, params string[] arguments)
    {
        var start = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "kmsctl.dll"));
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["KMSD_SOCKET"] = daemon?.Path ?? "/nonexistent/kmsd.sock";
        return Process.Start(start)!;
    }

    public static void Signal(Process process, int signal) => _ = Kill(process.Id, signal);

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
