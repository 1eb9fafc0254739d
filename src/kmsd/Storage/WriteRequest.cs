using Kms.Client.Protocol;

namespace Kmsd.Storage;

/// <summary>Something that wants to be written. Applied and settled by the writer alone.</summary>
internal abstract class WriteRequest
{
    /// <summary>A change reaches the disk before it is answered; a use survives the death of the process only.</summary>
    public abstract bool IsChange { get; }

    /// <summary>
    /// A change that says nothing new, such as the same row coded by another key: it need not reach the disk, and the witness hears of
    /// it with the next change that does. Whoever loses it in a power cut does it again.
    /// </summary>
    public virtual bool IsQuiet => false;

    /// <summary>Set by the writer: what it came with, and is answered with; null if it stands alone.</summary>
    public Burst? Burst { get; set; }

    /// <summary>Set by the writer when the request alone was refused.</summary>
    public bool IsRefused { get; set; }

    /// <summary>A use that appends to the history alone: it can be kept beside the database for now.</summary>
    public virtual bool MayBeDeferred => false;

    /// <summary>It destroys secrets: after its commit the write-ahead log is emptied, and only then is it answered.</summary>
    public virtual bool Erases => false;

    /// <summary>Writes inside the batch's transaction.</summary>
    /// <exception cref="KmsException">It is refused; the rest of the batch goes on. A use throws before it wrote anything.</exception>
    public abstract void Apply();

    /// <summary>The batch was committed. Whoever waits goes on elsewhere.</summary>
    public abstract void Succeed();

    /// <summary>The batch was committed. Whoever waits may go on here.</summary>
    public virtual void SucceedHere() => Succeed();

    /// <summary>It was refused, or the batch could not be committed: nothing of it stands.</summary>
    public abstract void Fail(Exception exception);
}
