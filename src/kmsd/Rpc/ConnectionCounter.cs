using System.Diagnostics.CodeAnalysis;

namespace Kmsd.Rpc;

/// <summary>How many connections are open, in all and by uid.</summary>
internal sealed class ConnectionCounter(int most, int mostByUid)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<uint, int> _byUid = [];
    private int _count;

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _count;
            }
        }
    }

    /// <summary>False if it would be one too many.</summary>
    /// <param name="uid">Whose it is.</param>
    /// <param name="limit">Which limit that is, and the setting that moves it.</param>
    public bool TryAdd(uint uid, [NotNullWhen(false)] out string? limit)
    {
        lock (_lock)
        {
            int own = _byUid.GetValueOrDefault(uid);
            limit = own >= mostByUid ? $"one user may have at most {mostByUid} ([limits] connections_per_uid)"
                : _count >= most ? $"at most {most} may be open in all ([limits] connections)"
                : null;
            if (limit is not null)
            {
                return false;
            }

            _count++;
            _byUid[uid] = own + 1;
            return true;
        }
    }

    public void Remove(uint uid)
    {
        lock (_lock)
        {
            _count--;
            if (--_byUid[uid] == 0)
            {
                _ = _byUid.Remove(uid);
            }
        }
    }
}
