using System.Collections.Immutable;
using Kmsd.Storage;

namespace Kmsd.RootKeys;

/// <summary>The generations of the root key and their rows. Readers take what is committed; the writer alone changes it.</summary>
internal sealed class RootGenerations(
    Database database, RowAuthenticator authenticator, RowSet rows, IEnumerable<StoredGeneration> loaded) : IBatchParticipant
{
    private volatile ImmutableSortedDictionary<long, StoredGeneration> _committed = loaded.ToImmutableSortedDictionary(one => one.Number, one => one);
    private volatile ImmutableSortedSet<long> _left = [];
    private ImmutableSortedDictionary<long, StoredGeneration>? _changed;
    private ImmutableSortedDictionary<long, StoredGeneration>? _mark;

    /// <summary>All that are committed, by their numbers.</summary>
    public ImmutableSortedDictionary<long, StoredGeneration> All => _committed;

    /// <summary>The one that carries and vouches for what is made now.</summary>
    public StoredGeneration Current => _committed.Values.Last(one => one.State == GenerationState.Current);

    /// <summary>
    /// Those of which the token holds keys and that the database doesn't name, or calls retired: an older database was put back, or an
    /// older token. As it was at the start; nobody but an administrator removes them.
    /// </summary>
    public ImmutableSortedSet<long> Left => _left;

    /// <summary>Compares with what the token holds, before anybody is served.</summary>
    public void NoteInToken(IEnumerable<long> generations) =>
        _left = [.. generations.Where(number => !All.TryGetValue(number, out StoredGeneration? named) || named.State == GenerationState.Retired)];

    /// <summary>Its keys are destroyed.</summary>
    public void RemoveLeft(long generation) => _left = _left.Remove(generation);

    /// <summary>What the batch has made of them so far. For the writer only.</summary>
    public ImmutableSortedDictionary<long, StoredGeneration> Staged => _changed ?? _committed;

    /// <summary>Adds a generation, or replaces what its row says.</summary>
    public void Put(StoredGeneration generation)
    {
        generation.Put(database, authenticator, rows);
        _changed = Staged.SetItem(generation.Number, generation);
    }

    /// <summary>Removes one that was planned and never taken into use.</summary>
    public void Delete(StoredGeneration generation)
    {
        generation.Delete(database, authenticator, rows);
        _changed = Staged.Remove(generation.Number);
    }

    public void Mark() => _mark = _changed;

    public void ReturnToMark() => _changed = _mark;

    public void Flush(bool isFull)
    {
    }

    public void Commit()
    {
        _committed = Staged;
        _changed = null;
    }

    public void Rollback() => _changed = null;
}
