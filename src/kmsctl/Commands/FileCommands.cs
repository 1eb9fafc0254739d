using System.CommandLine;
using System.Globalization;
using Kms.Client.SealedFiles;
using Kmsctl.Files;
using Kmsctl.Output;

namespace Kmsctl.Commands;

internal static class FileCommands
{
    private delegate Task<SealedFileHeader> Transfer(Stream input, Stream output, IProgress<long>? progress);

    public static Command Make()
    {
        var input = new Argument<string>("IN") { Description = "The file to read; '-' is standard input." };
        var sealedFile = new Argument<string>("FILE") { Description = "A file that 'file encrypt' made; it is changed in place." };
        var output = new Argument<string>("OUT") { Description = "The file to make (mode 0600); it appears only when it is whole, so it can't be '-'." };
        return new("file", "Encrypt and decrypt files of any length.")
        {
            Session.Command(
                "encrypt", "Encrypt a file with a data key of its own, which is sealed under KEY and kept in the file.",
                session => RunAsync(session, "Encrypting", session.Get(input), session.Get(output), (from, to, progress) =>
                    SealedFile.EncryptAsync(
                        session.Client, session.Get(CommonOptions.Key), from, to, progress, session.CancellationToken)),
                CommonOptions.Key, input, output, CommonOptions.Force),
            Session.Command(
                "decrypt", "Decrypt a file that 'file encrypt' made.",
                session => RunAsync(session, "Decrypting", session.Get(input), session.Get(output), (from, to, progress) =>
                    SealedFile.DecryptAsync(session.Client, from, to, progress, session.CancellationToken)),
                input, output, CommonOptions.Force),
            Session.Command(
                "reencrypt",
                "Have a sealed file's data key sealed anew under the newest version of its key, in place; the content isn't touched.",
                ResealAsync, sealedFile),
            Session.Command("info", "Show under which key a file is sealed, without opening it.", ShowAsync, input),
        };

        async Task ResealAsync(Session session)
        {
            await using FileStream file = InputFile.OpenForChange(session.Get(sealedFile));
            SealedFileHeader before = await SealedFile.ReadHeaderAsync(file, session.CancellationToken);
            file.Position = 0;
            SealedFileHeader after = await SealedFile.ResealAsync(session.Client, file, session.CancellationToken);
            if (session.Report.IsJson)
            {
                Write(session, after);
            }
            else if (!Console.IsOutputRedirected)
            {
                await Question.TellAsync(string.Create(
                    CultureInfo.InvariantCulture, $"Version {before.KeyVersion} sealed it, now version {after.KeyVersion}."));
            }
        }

        async Task ShowAsync(Session session)
        {
            await using Stream file = InputFile.Open(session.Get(input));
            Write(session, await SealedFile.ReadHeaderAsync(file, session.CancellationToken));
        }
    }

    private static async Task RunAsync(Session session, string what, string inputPath, string outputPath, Transfer transfer)
    {
        await using Stream input = InputFile.Open(inputPath);
        using var output = NewFile.Create(outputPath, session.Get(CommonOptions.Force));
        SealedFileHeader header = await ProgressBar.RunAsync(
            what, input.CanSeek ? input.Length : 0, progress => transfer(input, output.Stream, progress));
        session.CancellationToken.ThrowIfCancellationRequested();
        output.Commit();
        if (session.Report.IsJson)
        {
            Write(session, header);
        }
    }

    private static void Write(Session session, SealedFileHeader header)
    {
        var description = new SealedFileDescription
        {
            Key = header.Key.Text,
            KeyVersion = header.KeyVersion,
            FileId = Convert.ToHexStringLower(header.FileId.Span),
            SealedDataKey = header.SealedDataKey,
        };
        session.Report.Write(description, KmsctlJsonContext.Default.SealedFileDescription, () =>
        {
            var sheet = new Sheet(null, "what", "value");
            sheet.Add("key", description.Key);
            sheet.Add("key version", Text.Of(description.KeyVersion));
            sheet.Add("file id", description.FileId);
            sheet.Add("sealed data key", description.SealedDataKey);
            return sheet;
        });
    }
}
