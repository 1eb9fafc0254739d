using System.Collections.Immutable;
using System.Globalization;
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
          kmsd init --root ceremony [--shares N] [--threshold K] [--no-spare] [--accept] [--config FILE]
                                             make it at a terminal, and split it among custodians
          kmsd root rotate --reason TEXT [--shares N] [--threshold K] [--no-spare] [--accept] [--config FILE]
                                             hold a ceremony for the root key's next generation, with the daemon stopped
          kmsd root verify-shares [--share-file FILE]... [--config FILE]
                                             prove that custodians' shares still make the root key, with the daemon stopped
          kmsd root restore [--from FILE] [--share-file FILE]... [--config FILE]
                                             put the root key into a new token, from shares
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
          --root ceremony the root key is drawn here, put into the token, and split into shares (SLIP-39)
          --shares N      how many shares, 2 to 16; 3 if not given
          --threshold K   how many of them make the root key, 2 to N-1; 2 if not given
          --no-spare      K may be N: a lost share loses the root key
          --accept        one person, medium or site may have two shares
          --share-file FILE  a share in a file, instead of words that are typed; may be given again
          --from FILE     the database that names the root key: a copy or a backup, instead of the state folder's
          -h, --help      this text
          --version       the version

        Exit codes: 0 success, 64 usage or abandoned, 65 data doesn't verify, 70 internal, 73 socket or state folder in use, not
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
        VerifyShares = 9,
        RestoreRoot = 10,
        RotateRoot = 11,
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

    private bool Splits => Command is Verb.Init or Verb.RotateRoot;

    private bool PutsBack => Command is Verb.Recover or Verb.Restore;

    public int? Shares { get; private init; }

    public int? Threshold { get; private init; }

    public bool AllowsNoSpare { get; private init; }

    public bool AcceptsSame { get; private init; }

    public ImmutableArray<string> ShareFiles { get; private init; } = [];

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
                case "help" when isFirst:
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
                case "--reason" when (parsed.PutsBack || parsed.Command == Verb.RotateRoot) && parsed.Reason is null:
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
                case "root" when isFirst && i + 1 < arguments.Length && arguments[i + 1] is "verify-shares" or "restore" or "rotate":
                    parsed = parsed with
                    {
                        Command = arguments[++i] switch
                        {
                            "restore" => Verb.RestoreRoot,
                            "rotate" => Verb.RotateRoot,
                            _ => Verb.VerifyShares,
                        },
                    };
                    break;
                case "--share-file" when parsed.Command is Verb.VerifyShares or Verb.RestoreRoot:
                    parsed = parsed with { ShareFiles = parsed.ShareFiles.Add(Path.GetFullPath(Value(arguments, ref i))) };
                    break;
                case "--from" when parsed.Command == Verb.RestoreRoot && parsed.DatabaseFile is null:
                    parsed = parsed with { DatabaseFile = Path.GetFullPath(Value(arguments, ref i)) };
                    break;
                case "--shares" when parsed.Splits && parsed.Shares is null:
                    parsed = parsed with { Shares = Number(arguments, ref i) };
                    break;
                case "--threshold" when parsed.Splits && parsed.Threshold is null:
                    parsed = parsed with { Threshold = Number(arguments, ref i) };
                    break;
                case "--no-spare" when parsed.Splits && !parsed.AllowsNoSpare:
                    parsed = parsed with { AllowsNoSpare = true };
                    break;
                case "--accept" when parsed.Splits && !parsed.AcceptsSame:
                    parsed = parsed with { AcceptsSame = true };
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
                case "root" when isFirst:
                    return HelpOrSecond(arguments, "rotate, verify-shares or restore");
                case "history" when isFirst:
                    return HelpOrSecond(arguments, "verify");
                case "token" when isFirst:
                    return HelpOrSecond(arguments, "probe");
                default:
                    throw Usage($"'{arguments[i]}' isn't understood here.");
            }

            isFirst = false;
        }

        return parsed;
    }

    public static StartupException Usage(string message) => new(ExitCode.Usage, message + " See kmsd --help.");

    /// <summary>A first word whose second is none of its own: help, if that is asked for.</summary>
    private static CommandLine HelpOrSecond(ReadOnlySpan<string> arguments, string known)
    {
        const int Second = 1;
        return arguments.Length <= Second || arguments[Second] is [] ? throw Usage($"kmsd {arguments[0]} needs a second word: {known}.")
            : arguments[Second] is "-h" or "--help" or "help" ? new CommandLine { Command = Verb.Help }
            : throw Usage($"'{arguments[Second]}' isn't a word that kmsd {arguments[0]} knows: {known}.");
    }

    private static int Number(ReadOnlySpan<string> arguments, ref int i) =>
        int.TryParse(Value(arguments, ref i), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            ? number
            : throw Usage($"{arguments[i - 1]} needs a number, not '{arguments[i]}'.");

    private static string Value(ReadOnlySpan<string> arguments, ref int i) =>
        ++i < arguments.Length ? arguments[i] : throw Usage($"{arguments[i - 1]} needs a value.");
}
