using System.Globalization;
using Kms.Client;
using Kms.Client.Protocol;
using Kms.Client.SealedFiles;

namespace Kmsctl.Output;

/// <summary>A command that can't go on: one sentence for the person, one number for the program.</summary>
internal sealed class CommandException(int exitCode, string sentence, Exception? inner = null) : Exception(sentence, inner)
{
    public int ExitCode => exitCode;
}

/// <summary>How an exception is told.</summary>
internal sealed record Failure(int ExitCode, string Sentence)
{
    public static Failure From(Exception exception) => exception switch
    {
        CommandException command => new(command.ExitCode, command.Message),
        KmsException refusal => new(
            refusal.Code switch
            {
                > 0 => Output.ExitCode.Refused + (int)refusal.Code,
                KmsErrorCode.InvalidParams => Output.ExitCode.Usage,
                _ => Output.ExitCode.Internal,
            },
            $"{refusal.Message} {Advice(refusal)}".TrimEnd()),
        KmsUnreachableException unreachable => new(Output.ExitCode.Unreachable, unreachable.Message),
        SealedFileException file => new(Output.ExitCode.BadData, file.Message),
        IOException or UnauthorizedAccessException => new(
            Output.ExitCode.InputOutput, $"Reading or writing failed: {exception.Message.TrimEnd('.')}; check the disk and try again."),
        _ => new(
            Output.ExitCode.Internal,
            $"Something unexpected happened ({exception.GetType().Name}: {exception.Message}); please report it."),
    };

    public static Task WriteAsync(string sentence) => Console.Error.WriteLineAsync($"kmsctl: {Text.Clean(sentence)}");

    private static string Advice(KmsException refusal) => refusal.Code switch
    {
        KmsErrorCode.NotFound when refusal.Subject == KmsException.OfKey => "See 'kmsctl key list' and 'kmsctl whoami' for what you may use.",
        KmsErrorCode.Forbidden when refusal.RequiredRole == KmsException.OperatorRole =>
            "No role on a key allows it: ask an operator to do it; 'kmsctl whoami' shows whether you are one.",
        KmsErrorCode.Forbidden when refusal.RequiredRole == KmsException.RootAdministratorRole =>
            "No role on a key allows it: ask a root administrator to do it.",
        KmsErrorCode.Forbidden =>
            "Ask a manager of the key for a role on it (kmsctl grant add), or an operator for one in the store (kmsctl member add).",
        KmsErrorCode.InvalidState when refusal.Subject == KmsException.OfKey => "See 'kmsctl key show'.",
        KmsErrorCode.ConfirmationRequired => "For programs: --confirm-name NAME.",
        KmsErrorCode.AlreadyExists => "Choose another name.",
        KmsErrorCode.TooLarge => "For more, use 'kmsctl file encrypt'.",
        KmsErrorCode.InvalidCiphertext => "Check the key, the context, and that the text is whole.",
        KmsErrorCode.LimitExceeded when refusal.RetryAfter is { } wait =>
            string.Create(CultureInfo.InvariantCulture, $"Try again in {Math.Ceiling(wait.TotalSeconds)} s."),
        KmsErrorCode.TokenUnavailable => "See 'kmsctl status'.",
        KmsErrorCode.StorageUnavailable or KmsErrorCode.IntegrityFailure =>
            "Tell the operator; the daemon's journal says more (journalctl -u kmsd).",
        KmsErrorCode.MethodNotFound => "Compare the versions of kmsctl and kmsd.",
        KmsErrorCode.InvalidParams => "See --help for the forms that arguments have.",
        _ => string.Empty,
    };
}
