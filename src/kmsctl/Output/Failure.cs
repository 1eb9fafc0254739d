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

/// <summary>What a command is about: whoever may give the right to it. The zero is neither a key nor a store.</summary>
internal enum About
{
    Nothing = 0,
    Key = 1,
    Store = 2,
}

/// <summary>How an exception is told.</summary>
internal sealed record Failure(int ExitCode, string Sentence)
{
    public static Failure From(Exception exception, About about) => exception switch
    {
        CommandException command => new(command.ExitCode, command.Message),
        KmsException refusal => new(
            refusal.Code switch
            {
                > 0 => Output.ExitCode.Refused + (int)refusal.Code,
                KmsErrorCode.InvalidParams => Output.ExitCode.Usage,
                _ => Output.ExitCode.Internal,
            },
            Tell(refusal, about)),
        KmsUnreachableException unreachable => new(Output.ExitCode.Unreachable, unreachable.Message),
        SealedFileException file => new(Output.ExitCode.BadData, file.Message),
        IOException or UnauthorizedAccessException => new(
            Output.ExitCode.InputOutput, $"Reading or writing failed: {exception.Message.TrimEnd('.')}; check the disk and try again."),
        _ => new(
            Output.ExitCode.Internal,
            $"Something unexpected happened ({exception.GetType().Name}: {exception.Message}); please report it."),
    };

    public static Task WriteAsync(string sentence) => Console.Error.WriteLineAsync($"kmsctl: {Text.Clean(sentence)}");

    /// <summary>The daemon's sentence, and advice where it gives none itself.</summary>
    private static string Tell(KmsException refusal, About about)
    {
        string sentence = CommandWords.Translate(refusal.Message);
        return sentence.Contains("kmsctl ", StringComparison.Ordinal) || sentence.Contains(" --", StringComparison.Ordinal)
            ? sentence
            : $"{sentence} {Advice(refusal, about)}".TrimEnd();
    }

    private static string Advice(KmsException refusal, About about) => refusal.Code switch
    {
        KmsErrorCode.NotFound when refusal.Subject == KmsException.OfKey => "See 'kmsctl key list' and 'kmsctl whoami' for what you may use.",
        KmsErrorCode.Forbidden when refusal.RequiredRole == KmsException.OperatorRole =>
            "No role on a key allows it: ask an operator to do it; 'kmsctl whoami' shows whether you are one.",
        KmsErrorCode.Forbidden when refusal.RequiredRole == KmsException.RootAdministratorRole =>
            "No role on a key allows it: ask a root administrator to do it.",
        KmsErrorCode.Forbidden when refusal.RequiredRole is not null => string.Empty,
        KmsErrorCode.Forbidden when about == About.Key => "A manager of the key or of its store can give you a role on it: kmsctl grant add.",
        KmsErrorCode.Forbidden when about == About.Store => "A manager of the store may; he or an operator can make you one: kmsctl member add.",
        KmsErrorCode.InvalidState when refusal.Subject == KmsException.OfKey => "See 'kmsctl key show' and 'kmsctl version list'.",
        KmsErrorCode.ConfirmationRequired => "For programs: --confirm-name NAME.",
        KmsErrorCode.AlreadyExists => "Choose another name.",
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
