namespace Kms.Client.SealedFiles;

/// <summary>What is wrong with a sealed file.</summary>
public enum SealedFileFault
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>It doesn't start as a sealed file does.</summary>
    NotSealed = 1,

    /// <summary>It is a sealed file of a format that this library doesn't know.</summary>
    UnknownFormat = 2,

    /// <summary>It was altered, cut short, put together from others, or has something behind its end.</summary>
    Damaged = 3,

    /// <summary>It would become longer than the format allows.</summary>
    TooLong = 4,
}

/// <summary>A sealed file can't be read or written; nothing of a chunk that doesn't authenticate was released.</summary>
public sealed class SealedFileException : Exception
{
    /// <summary>Makes one; the message is a sentence for a person.</summary>
    public SealedFileException(SealedFileFault fault, string message)
        : base(message) => Fault = fault;

    /// <summary>Makes one that another exception led to.</summary>
    public SealedFileException(SealedFileFault fault, string message, Exception? innerException)
        : base(message, innerException) => Fault = fault;

    /// <summary>What is wrong.</summary>
    public SealedFileFault Fault { get; }
}
