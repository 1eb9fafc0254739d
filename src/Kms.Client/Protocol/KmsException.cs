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
}
