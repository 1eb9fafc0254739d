namespace Kmsd.Custody;

/// <summary>Which shares together make the secret.</summary>
internal static class Quorums
{
    /// <summary>Every choice of as many as are needed, each by its places in order.</summary>
    public static IEnumerable<int[]> Of(int count, int threshold)
    {
        int[] chosen = [.. Enumerable.Range(0, threshold)];
        while (true)
        {
            yield return [.. chosen];
            int last = threshold - 1;
            while (last >= 0 && chosen[last] == count - threshold + last)
            {
                last--;
            }

            if (last < 0)
            {
                yield break;
            }

            chosen[last]++;
            for (int next = last + 1; next < threshold; next++)
            {
                chosen[next] = chosen[next - 1] + 1;
            }
        }
    }
}
