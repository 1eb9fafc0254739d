namespace Kmsd.Storage;

/// <summary>What a start leaves in memory between its steps, where it reads much: it is collected at once, so that the peak stays near what is kept.</summary>
internal static class LoadingMemory
{
    private const int Much = 100_000;

    /// <param name="rows">How many were read.</param>
    public static void Tidy(int rows)
    {
        if (rows >= Much)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: true, compacting: true);
        }
    }
}
