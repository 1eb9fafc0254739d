namespace Kms.Client.Protocol;

/// <summary>A refusal that the caller may hear: a code and one sentence for a person.</summary>
public sealed class KmsException : Exception
{
    /// <summary>Makes a refusal.</summary>
    /// <param name="code">The reason.</param>
    /// <param name="message">A sentence without key bytes, plaintext, PINs, paths, type names or stack traces.</param>
    public KmsException(KmsErrorCode code, string message)
        : base(message) => Code = code;

    /// <summary>Makes a refusal that another exception led to; the inner one never crosses the socket.</summary>
    public KmsException(KmsErrorCode code, string message, Exception? innerException)
        : base(message, innerException) => Code = code;

    /// <summary>The reason.</summary>
    public KmsErrorCode Code { get; }

    /// <summary>After how long another try may succeed, where the daemon said so.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>A refusal as it came. The reason counts; the number only where an unknown reason leaves nothing else.</summary>
    internal static KmsException From(int code, string? message, ErrorDetail? detail)
    {
        KmsErrorCode named = detail is not null && KmsErrorReasons.TryParse(detail.Reason, out KmsErrorCode known) ? known
            : code != 0 && Enum.IsDefined((KmsErrorCode)code) ? (KmsErrorCode)code
            : KmsErrorCode.Internal;
        return new KmsException(named, message ?? "The daemon refused without saying why.")
        {
            RetryAfter = detail?.RetryAfterMs is long wait and >= 0 and <= int.MaxValue ? TimeSpan.FromMilliseconds(wait) : null,
        };
    }
}
