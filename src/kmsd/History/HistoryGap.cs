using System.Security.Cryptography;

namespace Kmsd.History;

/// <summary>Entries that were erased by one purge, as a verification meets them: how many, the first, and what names them. It keeps few of the numbers, since there may be millions.</summary>
internal sealed class HistoryGap : IDisposable
{
    private const int MostKept = 128;

    private readonly List<long> _latest;
    private IncrementalHash? _before;
    private byte[]? _digest;

    public HistoryGap(long first)
    {
        First = first;
        Count = 1;
        _latest = [first];
    }

    public long First { get; }

    public long Count { get; private set; }

    /// <summary>Adds an entry's number, higher than those before.</summary>
    public void Add(long sequence)
    {
        Count++;
        _latest.Add(sequence);
        if (_latest.Count == MostKept)
        {
            _before ??= IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            _before.AppendData(HistoryLog.BytesOf(_latest));
            _latest.Clear();
        }
    }

    /// <summary>True if these are the entries that a purge entry names. Nothing is added after that.</summary>
    public bool Is(long count, byte[]? digest) => Count == count && digest is not null && digest.AsSpan().SequenceEqual(Digest());

    public bool IsSameAs(HistoryGap other) => Is(other.Count, other.Digest());

    public void Dispose() => _before?.Dispose();

    private byte[] Digest()
    {
        if (_digest is null)
        {
            _before?.AppendData(HistoryLog.BytesOf(_latest));
            _digest = _before?.GetHashAndReset() ?? HistoryLog.DigestOf(_latest);
        }

        return _digest;
    }
}
