namespace Kmsd.Storage;

/// <summary>
/// Requests that came together (pipelined) and are taken up one after the other by one thread: they are written in one batch, once
/// the last of them is taken up, and their answers leave together. One for each connection.
/// </summary>
/// <param name="writer">Who writes them.</param>
internal abstract class Burst(Writer writer)
{
    private const int Nobody = 0;

    private readonly Writer _writer = writer;

    [ThreadStatic]
    private static Burst? s_current;

    // The thread that takes it up. A thread that went on to something else isn't meant by what it left behind in s_current.
    private volatile int _thread;

    /// <summary>The one that this thread takes up; null if what it does stands alone.</summary>
    public static Burst? Current => s_current is Burst current && current._thread == Environment.CurrentManagedThreadId ? current : null;

    /// <summary>The one that this thread takes up for a writer; null if what it enqueues there stands alone.</summary>
    public static Burst? For(Writer writer) => Current is Burst current && ReferenceEquals(current._writer, writer) ? current : null;

    /// <summary>From here on what this thread enqueues waits for <see cref="Close"/>. That must come before the thread waits for anything.</summary>
    public void Open()
    {
        s_current = this;
        _thread = Environment.CurrentManagedThreadId;
    }

    /// <summary>Writes and answers what was enqueued since it was opened. Where it isn't open nothing happens.</summary>
    public void Close()
    {
        if (_thread == Nobody)
        {
            return;
        }

        _thread = Nobody;
        _writer.WriteWaiting(this);
    }

    /// <summary>Completes requests of this burst that are committed. Whoever waits for them goes on here.</summary>
    public void Answer(IEnumerable<WriteRequest> requests)
    {
        BeginAnswers();
        foreach (WriteRequest request in requests)
        {
            request.SucceedHere();
        }

        EndAnswers();
    }

    /// <summary>Answers come, one after the other: they may be held back.</summary>
    protected abstract void BeginAnswers();

    /// <summary>They have come.</summary>
    protected abstract void EndAnswers();
}
