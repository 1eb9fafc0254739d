namespace Kms.Client.Protocol;

/// <summary>A refusal that the caller may hear: a code and one sentence for a person.</summary>
public sealed class KmsException : Exception
{
    /// <summary>The refusal is about a key: whether it is there, or the state that it or its version is in.</summary>
    public const string OfKey = "key";

    /// <summary>Operators may do it.</summary>
    public const string OperatorRole = "operator";

    /// <summary>Root administrators may do it.</summary>
    public const string RootAdministratorRole = "rootAdministrator";

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

    /// <summary>What it is about, where the daemon said so: <see cref="OfKey"/>, or what later versions say.</summary>
    public string? Subject { get; init; }

    /// <summary>
    /// Who may do it, where no role on a key or in a store allows it: <see cref="OperatorRole"/>, <see cref="RootAdministratorRole"/>, or what
    /// later versions say.
    /// </summary>
    public string? RequiredRole { get; init; }

    /// <summary>A refusal as it came. The reason counts; the number only where an unknown reason leaves nothing else.</summary>
    internal static KmsException From(int code, string? message, ErrorDetail? detail)
    {
        KmsErrorCode named = detail is not null && KmsErrorReasons.TryParse(detail.Reason, out KmsErrorCode known) ? known
            : code != 0 && Enum.IsDefined((KmsErrorCode)code) ? (KmsErrorCode)code
            : KmsErrorCode.Internal;
        return new KmsException(named, message ?? "The daemon refused without saying why.")
        {
            RetryAfter = detail?.RetryAfterMs is long wait and >= 0 and <= int.MaxValue ? TimeSpan.FromMilliseconds(wait) : null,
            Subject = detail?.Subject,
            RequiredRole = detail?.RequiredRole,
        };
    }
}
