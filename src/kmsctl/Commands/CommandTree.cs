using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Runtime.InteropServices;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>The whole command line: parse, run, turn what went wrong into one sentence and an exit code.</summary>
internal static class CommandTree
{
    public static RootCommand Make() => new("The console of kmsd, the key management daemon.")
    {
        CommonOptions.Json,
        CommonOptions.Socket,
        SystemCommands.Status(),
        SystemCommands.WhoAmI(),
        KeyCommands.Make(),
        VersionCommands.Make(),
        AccessCommands.Grant(),
        AccessCommands.Member(),
        StoreCommands.Make(),
        StoreCommands.Usage(),
        HistoryCommands.Make(),
        NotificationCommands.Make(),
        DeletedCommands.Deleted(),
        DeletedCommands.Deletions(),
        RootCommands.All(),
        SystemCommands.Metrics(),
        DoctorCommand.Make(),
        CryptoCommands.Encrypt(),
        CryptoCommands.Decrypt(),
        ReencryptCommand.Make(),
        SignatureCommands.Sign(),
        SignatureCommands.Verify(),
        CryptoCommands.DataKey(),
        CryptoCommands.DrawRandom(),
        FileCommands.Make(),
        BackupCommand.Make(),
    };

    public static async Task<int> RunAsync(string[] arguments)
    {
        ParseResult parsed = Make().Parse(arguments is ["help", ..] ? [.. arguments[1..], "--help"] : arguments);
        if (parsed.Errors.Count > 0 && parsed.Action is null or ParseErrorAction)
        {
            string what = parsed.UnmatchedTokens is [string unknown, ..]
                ? $"'{unknown}' is not known here{Known(parsed)}"
                : Describe(parsed, parsed.Errors[0].Message.TrimEnd('.'));
            await Failure.WriteAsync($"{what}; see '{Path(parsed)} --help'.");
            return ExitCode.Usage;
        }

        int signal = 0;
        using var stop = new CancellationTokenSource();
        void Stop(PosixSignalContext context)
        {
            // The first signal lets the command clean up; a second one ends it at once.
            context.Cancel = Interlocked.CompareExchange(ref signal, SignalNumber(context.Signal), 0) == 0;
            stop.Cancel();
        }

        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);
        try
        {
            return await parsed.InvokeAsync(
                new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, stop.Token);
        }
        catch (OperationCanceledException) when (signal != 0)
        {
            return ExitCode.Signalled + signal;
        }
        catch (Exception exception) when (Failure.From(exception, AboutOf(parsed)) is Failure failure)
        {
            await Failure.WriteAsync(failure.Sentence);
            return failure.ExitCode;
        }
    }

    /// <summary>The parser's sentences name its types, and not the words that it misses.</summary>
    private static string Describe(ParseResult parsed, string message)
    {
        if (parsed.CommandResult.Command is { Action: null, Subcommands: [_, ..] words })
        {
            return $"{Path(parsed)} needs another word: {string.Join(", ", words.Select(word => word.Name))}";
        }

        // All that are no text are whole numbers, or have a parser of their own.
        int type = message.IndexOf(" as expected type", StringComparison.Ordinal);
        return type < 0 ? message : $"{message[..type]}: a whole number is needed";
    }

    /// <summary>The words that may stand there; none for a command that does something by itself.</summary>
    private static string Known(ParseResult parsed) => parsed.CommandResult is { Parent: not null, Command: { Action: null, Subcommands: [_, ..] words } }
        ? $", but {string.Join(", ", words.Select(word => word.Name))}"
        : string.Empty;

    /// <summary>Whom to ask for a right follows from what the command is about. Members aren't: the daemon says all that there is to say.</summary>
    private static About AboutOf(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        return command.Arguments.Any(argument => argument.Name == "KEY" && parsed.GetResult(argument) is { Tokens.Count: > 0 }) ? About.Key
            : command.Options.Any(option => option.Name == "--store") ? About.Store
            : About.Nothing;
    }

    private static string Path(ParseResult parsed)
    {
        var names = new List<string>();
        for (SymbolResult? at = parsed.CommandResult; at is not null; at = at.Parent)
        {
            if (at is CommandResult command)
            {
                names.Insert(0, at.Parent is null ? "kmsctl" : command.Command.Name);
            }
        }

        return string.Join(' ', names);
    }

    private static int SignalNumber(PosixSignal signal) => signal switch
    {
        PosixSignal.SIGHUP => 1,
        PosixSignal.SIGINT => 2,
        _ => 15,
    };
}
