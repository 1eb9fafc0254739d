using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Hosting;

namespace Kmsd.RootKeys;

/// <summary>The one table from what a token says to what the operator's shell or a caller is told.</summary>
internal static class TokenFaults
{
    public static StartupException ToStartupException(TokenException exception) => new(
        exception.Fault switch
        {
            TokenFault.TokenAbsent or TokenFault.Unavailable => ExitCode.TokenAbsent,
            TokenFault.PinRefused or TokenFault.PinLocked => ExitCode.PinRefused,
            _ => ExitCode.Configuration,
        },
        exception.Message,
        exception);

    /// <summary>For a caller the cause doesn't matter, and could say too much: the token isn't there for him.</summary>
    public static KmsException ToKmsException(Exception exception) => exception switch
    {
        SealedBlobException => new KmsException(
            KmsErrorCode.IntegrityFailure, "The key's stored material doesn't authenticate.", exception),
        TokenException { Fault: TokenFault.Unsupported } => new KmsException(
            KmsErrorCode.Unsupported, "The token doesn't offer what this needs.", exception),
        _ => new KmsException(KmsErrorCode.TokenUnavailable, "The token doesn't answer. If it was unplugged or reset, an operator must restart kmsd.", exception),
    };
}
