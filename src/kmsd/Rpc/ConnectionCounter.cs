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
    public bool TryAdd(uint uid)
    {
        lock (_lock)
        {
            int own = _byUid.GetValueOrDefault(uid);
            if (_count >= most || own >= mostByUid)
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
