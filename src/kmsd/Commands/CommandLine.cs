using Kmsd.Hosting;

namespace Kmsd.Commands;

/// <summary>What the command line asks for.</summary>
internal sealed record CommandLine
{
    public const string Help = """
        kmsd - key management daemon

        Usage:
          kmsd [--config FILE]               serve
          kmsd init --root token [--config FILE]
                                             make the root key in the token, and an empty database
          kmsd history verify [--database FILE] [--config FILE]
                                             compute the whole history again, with the daemon stopped
          kmsd recover --accept-rollback --reason TEXT [--deleted FILE] [--yes] [--config FILE]
                                             accept the database although it isn't the one that the token knows
          kmsd restore FILE [--reason TEXT] [--deleted FILE] [--yes] [--config FILE]
                                             put a backup in the database's place
          kmsd token probe [--config FILE]   say what the token is and what it can hold
          kmsd --help | --version

        Options:
          --config FILE   read FILE alone; without it /etc/kmsd/kmsd.conf and /etc/kmsd/kmsd.conf.d/*.conf
          --database FILE verify this copy instead of the state folder's; the token must be the one that it was made with
          --root token    the root key is generated in the token and never leaves it; backing it up is the token's affair
          --reason TEXT   why; kept in the history
          --deleted FILE  keys to destroy again, as 'kmsctl deleted list --json' prints them
          --yes           don't ask
          -h, --help      this text
          --version       the version

        Exit codes: 0 success, 64 usage, 65 data doesn't verify, 70 internal, 73 socket or state folder in use, not
        writable or already initialised, 75 token absent, 77 PIN refused, 78 configuration, PIN file, module, ambiguous
        token, root key, database, integrity.

        See kmsd(8) and docs/operations.md.
        """;

    public enum Verb
    {
        None = 0,
        Serve = 1,
        Init = 2,
        Help = 3,
        Version = 4,
        VerifyHistory = 5,
        ProbeToken = 6,
        Recover = 7,
        Restore = 8,
    }

    public Verb Command { get; private init; }

    public string? ConfigurationFile { get; private init; }

    public string? RootOrigin { get; private init; }

    public string? DatabaseFile { get; private init; }

    /// <summary>What is put back.</summary>
    public string? BackupFile { get; private init; }

    public bool AcceptsRollback { get; private init; }

    public string? Reason { get; private init; }

    public string? DeletedFile { get; private init; }

    public bool Yes { get; private init; }

    private bool PutsBack => Command is Verb.Recover or Verb.Restore;

    /// <exception cref="StartupException">64</exception>
    public static CommandLine Parse(ReadOnlySpan<string> arguments)
    {
        CommandLine parsed = new() { Command = Verb.Serve };
        bool isFirst = true;
        for (int i = 0; i < arguments.Length; i++)
        {
            switch (arguments[i])
            {
                case "-h" or "--help":
                    return new CommandLine { Command = Verb.Help };
                case "--version":
                    return new CommandLine { Command = Verb.Version };
                case "init" when isFirst:
                    parsed = parsed with { Command = Verb.Init };
                    break;
                case "history" when isFirst && i + 1 < arguments.Length && arguments[i + 1] == "verify":
                    parsed = parsed with { Command = Verb.VerifyHistory };
                    i++;
                    break;
                case "token" when isFirst && i + 1 < arguments.Length && arguments[i + 1] == "probe":
                    parsed = parsed with { Command = Verb.ProbeToken };
                    i++;
                    break;
                case "recover" when isFirst:
                    parsed = parsed with { Command = Verb.Recover };
                    break;
                case "restore" when isFirst:
                    parsed = parsed with { Command = Verb.Restore };
                    break;
                case "--accept-rollback" when parsed.Command == Verb.Recover:
                    parsed = parsed with { AcceptsRollback = true };
                    break;
                case "--reason" when parsed.PutsBack && parsed.Reason is null:
                    parsed = parsed with { Reason = Value(arguments, ref i) };
                    break;
                case "--deleted" when parsed.PutsBack && parsed.DeletedFile is null:
                    parsed = parsed with { DeletedFile = Path.GetFullPath(Value(arguments, ref i)) };
                    break;
                case "--yes" when parsed.PutsBack:
                    parsed = parsed with { Yes = true };
                    break;
                case [not '-', ..] when parsed.Command == Verb.Restore && parsed.BackupFile is null:
                    parsed = parsed with { BackupFile = Path.GetFullPath(arguments[i]) };
                    break;
                case "--database" when parsed.Command == Verb.VerifyHistory && parsed.DatabaseFile is null:
                    parsed = parsed with { DatabaseFile = Path.GetFullPath(Value(arguments, ref i)) };
                    break;
                case "--config" when parsed.ConfigurationFile is null:
                    parsed = parsed with { ConfigurationFile = Path.GetFullPath(Value(arguments, ref i)) };
                    break;
                case "--root" when parsed.Command == Verb.Init && parsed.RootOrigin is null:
                    parsed = parsed with { RootOrigin = Value(arguments, ref i) };
                    break;
                default:
                    throw Usage($"'{arguments[i]}' isn't understood here.");
            }

            isFirst = false;
        }

        return parsed;
    }

    public static StartupException Usage(string message) => new(ExitCode.Usage, message + " See kmsd --help.");

    private static string Value(ReadOnlySpan<string> arguments, ref int i) =>
        ++i < arguments.Length ? arguments[i] : throw Usage($"{arguments[i - 1]} needs a value.");
}
