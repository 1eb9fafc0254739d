using System.CommandLine;
using Kms.Client;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>One run of one command: what was asked, the daemon's client, and where the answer goes.</summary>
internal sealed class Session : IAsyncDisposable
{
    private readonly ParseResult _parsed;

    private Session(ParseResult parsed, CancellationToken cancellationToken)
    {
        _parsed = parsed;
        Client = new KmsClient(parsed.GetValue(CommonOptions.Socket));
        Report = new Report(parsed.GetValue(CommonOptions.Json), !Console.IsOutputRedirected);
        CancellationToken = cancellationToken;
    }

    public KmsClient Client { get; }

    public Report Report { get; }

    public CancellationToken CancellationToken { get; }

    public T Get<T>(Argument<T> argument) => _parsed.GetRequiredValue(argument);

    /// <summary>The value of an argument that may be absent.</summary>
    public T? Find<T>(Argument<T> argument) => _parsed.GetValue(argument);

    public T? Get<T>(Option<T> option) => _parsed.GetValue(option);

    /// <summary>The value of an option that is always there.</summary>
    public T GetRequired<T>(Option<T> option) => _parsed.GetRequiredValue(option);

    public byte[]? Context => ContextOf(CommonOptions.Context) is { Length: > 0 } context ? context : null;

    /// <exception cref="CommandException">It is too long: told before anything is read or sent, and with what may take its place.</exception>
    public byte[]? ContextOf(Option<string?> option)
    {
        byte[]? context = Get(option) is { } text ? System.Text.Encoding.UTF8.GetBytes(text) : null;
        return context is not { Length: > Limits.ContextBytes } ? context : throw new CommandException(
            ExitCode.Refused + (int)KmsErrorCode.TooLarge,
            $"{option.Name} is longer than {Text.Of((long)Limits.ContextBytes)} bytes; of something longer give a digest.");
    }

    public ValueTask DisposeAsync() => Client.DisposeAsync();

    /// <summary>A command that does <paramref name="work"/>.</summary>
    public static Command Command(string name, string description, Func<Session, Task> work, params Symbol[] symbols)
    {
        var command = new Command(name, description);
        foreach (Symbol symbol in symbols)
        {
            if (symbol is Argument argument)
            {
                command.Arguments.Add(argument);
            }
            else
            {
                command.Options.Add((Option)symbol);
            }
        }

        command.SetAction(async (parsed, cancellationToken) =>
        {
            await using var session = new Session(parsed, cancellationToken);
            await work(session);
            return ExitCode.Ok;
        });
        return command;
    }
}
