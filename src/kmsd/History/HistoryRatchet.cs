using System.Security.Cryptography;
using Kms.Hsm;

namespace Kmsd.History;

/// <summary>
/// The history key where it stands now. It only goes forward: the key of committed entries is zeroed once the commit has
/// gone beyond them. For the writer alone.
/// </summary>
internal sealed class HistoryRatchet : IDisposable
{
    private readonly long _firstSequence;
    private SecretBytes _committed;
    private long _committedIndex;
    private SecretBytes? _staged;
    private long _stagedIndex;

    // Of the key that linked last: keyed once, it serves all of that key's links.
    private IncrementalHash? _mac;
    private long _macIndex;

    /// <param name="first">The key of the first entries; stays the caller's, who zeroes it.</param>
    /// <param name="firstSequence">Of the first entry that the first key links.</param>
    /// <param name="sequence">Of the entry that comes next.</param>
    public HistoryRatchet(SecretBytes first, long firstSequence, long sequence)
    {
        _firstSequence = firstSequence;
        _committedIndex = HistoryChain.KeyIndex(firstSequence, sequence);
        _committed = Forward(first, _committedIndex);
    }

    public byte[] Link(ReadOnlySpan<byte> previous, long sequence, ReadOnlySpan<byte> digest)
    {
        long index = HistoryChain.KeyIndex(_firstSequence, sequence);
        if (_mac is null || _macIndex != index)
        {
            using SecretLease lease = KeyOf(index).Open();
            _mac?.Dispose();
            _mac = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, lease.Bytes);
            _macIndex = index;
        }

        return HistoryChain.Link(_mac, previous, sequence, digest);
    }

    /// <summary>Older entries than the next one are committed, and never linked again.</summary>
    public void Commit(long nextSequence)
    {
        long index = HistoryChain.KeyIndex(_firstSequence, nextSequence);
        if (index > _committedIndex)
        {
            SecretBytes next = _staged is not null && _stagedIndex == index ? _staged : Forward(_committed, index - _committedIndex);
            (_staged, SecretBytes? left) = (null, ReferenceEquals(next, _staged) ? null : _staged);
            left?.Dispose();
            _committed.Dispose();
            _committed = next;
            _committedIndex = index;
            if (_macIndex < index)
            {
                DropMac();
            }
        }
    }

    public void Dispose()
    {
        DropMac();
        _staged?.Dispose();
        _committed.Dispose();
    }

    /// <summary>A key some steps further; the caller owns it.</summary>
    public static SecretBytes Forward(SecretBytes key, long steps)
    {
        SecretBytes current;
        using (SecretLease lease = key.Open())
        {
            byte[] copy = GC.AllocateUninitializedArray<byte>(lease.Bytes.Length, pinned: true);
            lease.Bytes.CopyTo(copy);
            current = new SecretBytes(copy); // Takes over, and zeroes the source.
        }

        for (long step = 0; step < steps; step++)
        {
            using SecretBytes before = current;
#pragma warning disable IDISP003 // It is disposed as the one before.
            current = new SecretBytes(before.Length, next =>
            {
                using SecretLease lease = before.Open();
                HistoryChain.Next(lease.Bytes, next);
            });
#pragma warning restore IDISP003
        }

        return current;
    }

    private void DropMac()
    {
        _mac?.Dispose(); // Clears what it made of the key.
        _mac = null;
    }

    private SecretBytes KeyOf(long index)
    {
        if (index == _committedIndex)
        {
            return _committed;
        }

        if (_staged is null || _stagedIndex != index)
        {
            _staged?.Dispose();
            _staged = Forward(_committed, index - _committedIndex);
            _stagedIndex = index;
        }

        return _staged;
    }
}
