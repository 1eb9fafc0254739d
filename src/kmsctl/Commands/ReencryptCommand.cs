using System.CommandLine;
using Kms.Client.Protocol;
using Kmsctl.Files;
using Kmsctl.Output;

namespace Kmsctl.Commands;

internal static class ReencryptCommand
{
    private const long LongLines = 1024 * 1024; // From here on a bar is shown.

    public static Command Make()
    {
        var newContext = new Option<string?>("--new-context")
        {
            Description = "The context of the new ciphertext; default: --context. A different one needs a role that decrypts.",
            HelpName = "TEXT",
        };
        var lines = new Option<bool>("--lines") { Description = "IN has a ciphertext on every line; OUT gets the new ones, in order." };
        var output = new Argument<string?>("OUT")
        {
            Description = "With --lines: the file to make (mode 0600); it appears only when it is whole.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        return Session.Command(
            "reencrypt", "Seal what 'encrypt' printed again under the newest version; the plaintext never leaves the daemon.",
            async session =>
            {
                byte[]? context = session.ContextOf(newContext);
                string? path = session.Find(output);
                if (session.Get(lines) != path is not null)
                {
                    throw new CommandException(
                        ExitCode.Usage, "OUT goes with --lines, and --lines with IN and OUT; see 'kmsctl reencrypt --help'.");
                }

                await (path is null ? OneAsync(session, context) : LinesAsync(session, path, context));
            },
            CommonOptions.Key, CommonOptions.Input, output, lines, CommonOptions.Context, newContext, CommonOptions.Force);
    }

    private static async Task OneAsync(Session session, byte[]? newContext)
    {
        string ciphertext = await SmallInput.ReadLineAsync(session.Get(CommonOptions.Input), session.CancellationToken);
        ReencryptResult result = await session.Client.ReencryptAsync(
            new ReencryptRequest
            {
                Key = session.Get(CommonOptions.Key),
                Ciphertext = ciphertext,
                Context = session.Context,
                NewContext = newContext,
            },
            session.CancellationToken);
        session.Report.WriteLine(result, ProtocolJsonContext.Default.ReencryptResult, result.Ciphertext);
    }

    private static async Task LinesAsync(Session session, string path, byte[]? newContext)
    {
        KeyDescription key = await session.Client.GetKeyAsync(
            new KeyRequest { Key = session.Get(CommonOptions.Key) }, session.CancellationToken);
        await using Stream input = InputFile.Open(session.Get(CommonOptions.Input));
        using var output = NewFile.Create(path, session.Get(CommonOptions.Force));
        var work = new ReencryptLines(session.Client, key, session.Context, newContext);
        long count = await ProgressBar.RunAsync(
            "Reencrypting", input.CanSeek ? input.Length : 0,
            progress => work.RunAsync(input, output.Stream, progress, session.CancellationToken), LongLines);
        session.CancellationToken.ThrowIfCancellationRequested();
        output.Commit();
        if (session.Report.IsJson)
        {
            session.Report.WriteLine(new LinesDescription { Lines = count }, KmsctlJsonContext.Default.LinesDescription, string.Empty);
        }
    }
}
