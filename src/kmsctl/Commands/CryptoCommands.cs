using System.CommandLine;
using Kms.Client.Protocol;
using Kmsctl.Files;

namespace Kmsctl.Commands;

internal static class CryptoCommands
{
    public static Command Encrypt() => Session.Command(
        "encrypt", "Encrypt a small value (at most 32 KiB) and print it as one line (kms:v1:…); for more, see 'file encrypt'.",
        async session =>
        {
            using SensitiveBytes plaintext = await SmallInput.ReadAsync(
                session.Get(CommonOptions.Input), Limits.PlaintextBytes, session.CancellationToken);
            EncryptResult result = await session.Client.EncryptAsync(
                new EncryptRequest { Key = session.Get(CommonOptions.Key), Plaintext = plaintext, Context = session.Context },
                session.CancellationToken);
            session.Report.WriteLine(result, ProtocolJsonContext.Default.EncryptResult, result.Ciphertext);
        },
        CommonOptions.Key, CommonOptions.Input, CommonOptions.Context);

    public static Command Decrypt() => Session.Command(
        "decrypt", "Decrypt what 'encrypt' or 'data-key' printed, and write the plaintext's bytes to standard output.",
        async session =>
        {
            string ciphertext = await SmallInput.ReadLineAsync(session.Get(CommonOptions.Input), session.CancellationToken);
            using DecryptResult result = await session.Client.DecryptAsync(
                new DecryptRequest { Key = session.Get(CommonOptions.Key), Ciphertext = ciphertext, Context = session.Context },
                session.CancellationToken);
            session.Report.WriteBytes(result, ProtocolJsonContext.Default.DecryptResult, result.Plaintext);
        },
        CommonOptions.Key, CommonOptions.Input, CommonOptions.Context);

    public static Command DataKey()
    {
        var bits = new Option<int?>("--bits") { Description = "128, 256 (default) or 512.", HelpName = "BITS" };
        var plaintextOut = new Option<string?>("--plaintext-out")
        {
            Description = "Write the data key's own bytes to this new file (mode 0600).",
            HelpName = "FILE",
        };
        return Session.Command(
            "data-key", "Make a data key and print it sealed; 'decrypt' opens it again.",
            async session =>
            {
                string? path = session.Get(plaintextOut);
                using NewFile? file = path is null ? null : NewFile.Create(path, session.Get(CommonOptions.Force));
                using CreateDataKeyResult made = await session.Client.CreateDataKeyAsync(
                    new CreateDataKeyRequest
                    {
                        Key = session.Get(CommonOptions.Key),
                        Bits = session.Get(bits),
                        Context = session.Context,
                        IncludePlaintext = file is not null,
                    },
                    session.CancellationToken);
                if (file is not null)
                {
                    file.Write((made.Plaintext ?? throw new KmsException(KmsErrorCode.Internal, "The daemon didn't send the key.")).AsSpan());
                    file.Commit();
                }

                // The plaintext goes to its file alone.
                using var result = new CreateDataKeyResult { Ciphertext = made.Ciphertext, KeyVersion = made.KeyVersion };
                session.Report.WriteLine(result, ProtocolJsonContext.Default.CreateDataKeyResult, result.Ciphertext);
            },
            CommonOptions.Key, bits, CommonOptions.Context, plaintextOut, CommonOptions.Force);
    }

    public static Command DrawRandom()
    {
        var bytes = new Argument<int>("BYTES") { Description = "1 to 1024." };
        return Session.Command(
            "random", "Print random bytes from the token's generator, in base64.",
            async session =>
            {
                using RandomResult result = await session.Client.DrawRandomAsync(
                    new RandomRequest { Bytes = session.Get(bytes) }, session.CancellationToken);
                session.Report.WriteBase64(result, ProtocolJsonContext.Default.RandomResult, result.Random);
            },
            bytes);
    }
}
