namespace Kms.Client;

/// <summary>The daemon can't be reached, isn't to be trusted, or went away before it answered.</summary>
public sealed class KmsUnreachableException : Exception
{
    /// <summary>Makes one; the message is a sentence for a person.</summary>
    public KmsUnreachableException(string message)
        : base(message)
    {
    }

    /// <summary>Makes one that another exception led to.</summary>
    public KmsUnreachableException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    /// <summary>
    /// True if a change was sent and no answer came: it may have been carried out. Look (<c>keys.get</c>, <c>grants.list</c>…)
    /// before you send it again.
    /// </summary>
    public bool OutcomeUnknown { get; init; }
}
