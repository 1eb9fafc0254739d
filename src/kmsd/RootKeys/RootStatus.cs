namespace Kmsd.RootKeys;

/// <summary>What callers may know of the root key.</summary>
internal sealed class RootStatus(RootGenerations generations, IReadOnlyList<StoredShare> shares)
{
    public StoredGeneration Current => generations.Current;

    /// <summary>Those that still decide something: not the retired ones.</summary>
    public IEnumerable<StoredGeneration> Standing => generations.All.Values.Where(one => one.State != GenerationState.Retired);

    /// <summary>Those of which the token holds keys that nothing here needs.</summary>
    public IReadOnlyCollection<long> Left => generations.Left;

    /// <summary>Who holds shares of a generation.</summary>
    public IEnumerable<StoredShare> SharesOf(StoredGeneration generation) => shares.Where(share => share.Generation == generation.Number);

    /// <summary>It should have been replaced by now.</summary>
    public bool IsOverdue(DateTimeOffset now) => now > Current.RotateBy;
}
