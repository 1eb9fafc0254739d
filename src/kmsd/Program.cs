using Kmsd.Commands;
using Kmsd.Hosting;
using Kmsd.Rpc;

namespace Kmsd;

/// <summary>The entry: arguments in, exit code out, one sentence on standard error for what went wrong.</summary>
internal static class Program
{
    public static async Task<int> Main(string[] arguments)
    {
        try
        {
            FreedMemory.EnsureOverwritten();
            ProcessHardening.Apply();
            var parsed = CommandLine.Parse(arguments);
            switch (parsed.Command)
            {
                case CommandLine.Verb.Help:
                    await Console.Out.WriteLineAsync(CommandLine.Help);
                    break;
                case CommandLine.Verb.Version:
                    await Console.Out.WriteLineAsync($"kmsd {ProductVersion.Text}");
                    break;
                case CommandLine.Verb.Init:
                    Init.Run(parsed, Clock(), Console.Out);
                    break;
                case CommandLine.Verb.VerifyHistory:
                    VerifyHistoryOffline.Run(parsed, Console.Out);
                    break;
                case CommandLine.Verb.ProbeToken:
                    ProbeToken.Run(parsed, Console.Out);
                    break;
                case CommandLine.Verb.Recover:
                    await Recover.RunAsync(parsed, Clock(), OperatorConsole.OfProcess());
                    break;
                case CommandLine.Verb.Restore:
                    await Restore.RunAsync(parsed, Clock(), OperatorConsole.OfProcess());
                    break;
                case CommandLine.Verb.VerifyShares:
                    await VerifyShares.RunAsync(parsed, Clock(), Console.Out);
                    break;
                case CommandLine.Verb.RotateRoot:
                    await RotateRootOffline.RunAsync(parsed, Clock(), Console.Out);
                    break;
                case CommandLine.Verb.RestoreRoot:
                    RestoreRoot.Run(parsed, Clock(), Console.Out);
                    break;
                default:
                    await Serve.RunAsync(parsed, Clock());
                    break;
            }

            return ExitCode.Success;
        }
        catch (StartupException exception)
        {
            await Console.Error.WriteLineAsync($"kmsd: {exception.Message}");
            return exception.ExitCode;
        }
        catch (InsufficientMemoryException exception)
        {
            await Console.Error.WriteLineAsync($"kmsd: {exception.Message}");
            return ExitCode.Configuration;
        }
#pragma warning disable CA1031 // The last resort: the whole story goes to the journal, and the code says that it is our fault.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            await Console.Error.WriteLineAsync($"kmsd: internal error: {exception}");
            return ExitCode.Internal;
        }
    }

    private static TimeProvider Clock()
    {
#if KMS_TEST_HOOKS
        return TestClock.FromEnvironment();
#else
        return TimeProvider.System;
#endif
    }
}
