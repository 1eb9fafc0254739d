using System.CommandLine;
using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kmsctl.Files;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>The input is hashed here and only its digest sent: it may be of any length, and stays where it is.</summary>
internal static class SignatureCommands
{
    private static readonly Option<SignatureAlgorithm?> s_algorithm = CommonOptions.WireOption(
        "--algorithm", "Default: RSA_PSS_SHA_256 for RSA, ECDSA_SHA_256 for ECDSA", Wire.SignatureAlgorithms);

    private static readonly Option<SignatureEncoding?> s_encoding = CommonOptions.WireOption(
        "--encoding", "Of an ECDSA signature; default der", Wire.SignatureEncodings);

    public static Command Sign() => Session.Command(
        "sign", "Sign a file of any length with an RSA or ECDSA key and print the signature as one line (kms:v1:…).",
        async session =>
        {
            SignResult result = await session.Client.SignAsync(
                new SignRequest
                {
                    Key = session.Get(CommonOptions.Key),
                    Digest = await HashAsync(session),
                    Algorithm = session.Get(s_algorithm),
                    Encoding = session.Get(s_encoding),
                },
                session.CancellationToken);
            session.Report.WriteLine(result, ProtocolJsonContext.Default.SignResult, result.Signature);
        },
        CommonOptions.Key, CommonOptions.Input, s_algorithm, s_encoding);

    public static Command Verify()
    {
        var signature = new Argument<string>("SIGNATURE") { Description = "The line that 'sign' printed." };
        return Session.Command(
            "verify", "Check a signature: exits with 0 if it is the key's on this input, with 1 if not.",
            async session =>
            {
                VerifyResult result = await session.Client.VerifyAsync(
                    new VerifyRequest
                    {
                        Key = session.Get(CommonOptions.Key),
                        Signature = session.Get(signature),
                        Digest = await HashAsync(session),
                        Algorithm = session.Get(s_algorithm),
                        Encoding = session.Get(s_encoding),
                    },
                    session.CancellationToken);
                session.Report.WriteLine(result, ProtocolJsonContext.Default.VerifyResult, result.Valid ? "valid" : "not valid");
                if (!result.Valid)
                {
                    throw new CommandException(ExitCode.No, "The signature is not this key's on this input.");
                }
            },
            CommonOptions.Key, signature, CommonOptions.Input, s_algorithm, s_encoding);
    }

    private static async Task<byte[]> HashAsync(Session session)
    {
        await using Stream input = InputFile.Open(session.Get(CommonOptions.Input));
        return await SHA256.HashDataAsync(input, session.CancellationToken);
    }
}
