using System.Collections.Concurrent;
using Kms.Hsm;

namespace Kmsd.Storage;

/// <summary>
/// Keys for one use, such as vouching for rows: one for each root generation that isn't retired, derived by its mac key. For
/// several threads at once.
/// </summary>
internal sealed class GenerationKeys : IDisposable
{
    private readonly ConcurrentDictionary<long, SecretBytes> _keys = new();

    /// <param name="generation">Of the root key.</param>
    /// <param name="key">Taken over.</param>
    public void Add(long generation, SecretBytes key)
    {
        if (!_keys.TryAdd(generation, key))
        {
            throw new ArgumentException($"There is a key of generation {generation} already.", nameof(generation));
        }
    }

    /// <summary>The generation is retired: what its key made verifies no more.</summary>
    public void Remove(long generation)
    {
        if (_keys.TryRemove(generation, out SecretBytes? key))
        {
            key.Dispose();
        }
    }

    /// <summary>The numbers of those that are in use.</summary>
    public ICollection<long> Generations => _keys.Keys;

    /// <summary>Null if no such generation is in use.</summary>
    public SecretBytes? Find(long generation) => _keys.GetValueOrDefault(generation);

    /// <summary>The key of a generation that must be in use; stays this one's.</summary>
    public SecretBytes Get(long generation) =>
        Find(generation) ?? throw new InvalidOperationException($"Generation {generation} of the root key isn't in use.");

    public void Dispose()
    {
        foreach (SecretBytes key in _keys.Values)
        {
            key.Dispose();
        }

        _keys.Clear();
    }
}
