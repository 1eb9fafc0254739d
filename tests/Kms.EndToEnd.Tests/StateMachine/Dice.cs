namespace Kms.EndToEnd.Tests.StateMachine;

/// <summary>The same choices for the same seed, on every machine: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).</summary>
internal sealed class Dice(ulong seed)
{
    private ulong _state = seed;

    /// <summary>0 to one less than <paramref name="sides"/>.</summary>
    public int Roll(int sides) => (int)(Next() % (ulong)sides);

    /// <summary>True so many times in a hundred.</summary>
    public bool In100(int times) => Roll(100) < times;

    public T Pick<T>(IReadOnlyList<T> from) => from[Roll(from.Count)];

    /// <summary>Each as often as its weight says.</summary>
    public T PickWeighted<T>(IReadOnlyList<(int Weight, T Value)> from)
    {
        int roll = Roll(from.Sum(one => one.Weight));
        foreach ((int weight, T value) in from)
        {
            if (roll < weight)
            {
                return value;
            }

            roll -= weight;
        }

        throw new InvalidOperationException("The weights don't add up.");
    }

    public byte[] Bytes(int length) => [.. Enumerable.Range(0, length).Select(_ => (byte)Roll(256))];

    private ulong Next()
    {
        unchecked
        {
            _state += 0x9e3779b97f4a7c15;
            ulong mixed = (_state ^ (_state >> 30)) * 0xbf58476d1ce4e5b9;
            mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
            return mixed ^ (mixed >> 31);
        }
    }
}
