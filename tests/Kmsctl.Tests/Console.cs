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
    public static Task<Run> RunAsync(FakeDaemon? daemon, params string[] arguments) => RunAsync(daemon, [], arguments);

    public static Task<Run> RunAsync(FakeDaemon? daemon, byte[] input, params string[] arguments) =>
        FinishAsync(Start(daemon, arguments), input);

    /// <summary>Standard output is a terminal of <c>script</c>(1), 200 columns wide.</summary>
    public static Task<Run> RunOnTerminalAsync(FakeDaemon? daemon, params string[] arguments) => RunOnTerminalAsync(daemon, 200, arguments);

    public static Task<Run> RunOnTerminalAsync(FakeDaemon? daemon, int columns, params string[] arguments) =>
        FinishAsync(
            Start(daemon, "script", ["-qec", $"stty cols {columns}; {Host} {Program} {string.Join(' ', arguments)}", "/dev/null"]), []);

    /// <summary>The system calls named, a line each, with the paths of their files (<c>strace -y</c>).</summary>
    public static async Task<string[]> TraceAsync(FakeDaemon? daemon, string calls, params string[] arguments)
    {
        string log = Path.GetTempFileName();
        try
        {
            Run run = await FinishAsync(
                Start(daemon, "strace", ["-f", "-qq", "-y", "-e", $"trace={calls}", "-o", log, Host, Program, .. arguments]), []);
            Assert.True(run.ExitCode == 0, run.Errors);
            return await File.ReadAllLinesAsync(log);
        }
        finally
        {
            File.Delete(log);
        }
    }

    public static Process Start(FakeDaemon? daemon, params string[] arguments) => Start(daemon, Host, [Program, .. arguments]);

    private static string Host => Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";

    private static string Program => Path.Combine(AppContext.BaseDirectory, "kmsctl.dll");

    private static Process Start(FakeDaemon? daemon, string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["KMSD_SOCKET"] = daemon?.Path ?? "/nonexistent/kmsd.sock";
        start.Environment["TERM"] = "xterm";
        return Process.Start(start)!;
    }

    private static async Task<Run> FinishAsync(Process process, byte[] input)
    {
        using Process running = process;
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

    public static void Signal(Process process, int signal) => _ = Kill(process.Id, signal);

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
