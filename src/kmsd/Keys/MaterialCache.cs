using System.Diagnostics.CodeAnalysis;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.RootKeys;

namespace Kmsd.Keys;

/// <summary>
/// Opened keys of versions, kept up to a bound on count and idle time: in locked memory, or in the token. They are handed out
/// as leases: what leaves the cache is zeroed or destroyed when the last lease on it ends, never under somebody's hands.
/// </summary>
/// <param name="root">Opens what isn't here yet.</param>
/// <param name="clock">Tells how long something wasn't used.</param>
/// <param name="capacity">How many versions are kept.</param>
/// <param name="idle">How long an unused one is kept.</param>
/// <param name="stands">Whether a version may be used still: what was disabled while it was opened isn't kept.</param>
/// <param name="meter">Told what was here and what wasn't.</param>
internal sealed class MaterialCache(
    RootKey root, TimeProvider clock, int capacity, TimeSpan idle, Func<KeyTag, long, bool> stands, CacheMeter meter) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(KeyTag Tag, long Version), LinkedListNode<Entry>> _entries = [];
    private readonly Dictionary<(KeyTag Tag, long Version), Task<bool>> _opening = [];

    // Most recently used first.
    private readonly LinkedList<Entry> _byUse = new();
    private bool _isDisposed;

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _entries.Count;
            }
        }
    }

    /// <summary>The opened key of a version; the caller disposes the lease.</summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>, <c>integrityFailure</c>.</exception>
    public async ValueTask<MaterialLease> LeaseAsync(Key key, KeyVersion version, CancellationToken cancellationToken)
    {
        (KeyTag Tag, long Number) name = (key.Tag, version.Number);
        for (bool wasMissed = false; ; wasMissed = true)
        {
            if (TryLease(name) is MaterialLease lease)
            {
                if (!wasMissed)
                {
                    meter.Hit();
                }

                return lease;
            }

            if (!wasMissed)
            {
                meter.Missed();
            }

            // One opening serves everybody who waits for it, so it isn't cancelled with the first of them. What it brings may
            // be pushed out again before it is leased; then it is opened again.
            _ = await OpenOnceAsync(key, version).WaitAsync(cancellationToken);
        }
    }

    /// <summary>
    /// Before a public key is used or handed out: sees that it belongs to the version's private key. Of a version that isn't
    /// here the key is opened for that alone, once a run, whatever its state.
    /// </summary>
    /// <exception cref="KmsException"><c>tokenUnavailable</c>, <c>integrityFailure</c>.</exception>
    public async ValueTask ProvePublicKeyAsync(Key key, KeyVersion version, CancellationToken cancellationToken)
    {
        if (!version.Proof.IsGiven)
        {
            using OpenedKey opened = await OpenAsync(key, version, key.BindingOf(version.Number)).WaitAsync(cancellationToken);
        }
    }

    /// <summary>Forgets every version of a key; what is in use is zeroed when it is given back.</summary>
    public void Drop(KeyTag tag) => DropWhere(entry => entry.Name.Tag == tag);

    /// <summary>Forgets what wasn't used for the idle time.</summary>
    public void DropIdle()
    {
        long now = clock.GetTimestamp();
        DropWhere(entry => clock.GetElapsedTime(entry.LastUsed, now) >= idle);
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _isDisposed = true;
        }

        DropWhere(_ => true);
    }

    private Task<bool> OpenOnceAsync(Key key, KeyVersion version)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (_entries.ContainsKey((key.Tag, version.Number)))
            {
                // Another's opening ended between the caller's look and this one.
                return Task.FromResult(true);
            }

            if (!_opening.TryGetValue((key.Tag, version.Number), out Task<bool>? opening))
            {
                _opening.Add((key.Tag, version.Number), opening = OpenAndKeepAsync(key, version));
            }

            return opening;
        }
    }

    private async Task<bool> OpenAndKeepAsync(Key key, KeyVersion version)
    {
        (KeyTag Tag, long Number) name = (key.Tag, version.Number);
        try
        {
            // Leaves the caller's lock first: what follows takes it again.
            await Task.Yield();
            if (Keep(name, await OpenAsync(key, version, key.BindingOf(version.Number))))
            {
                return true;
            }

            ObjectDisposedException.ThrowIf(_isDisposed, this);
            throw Refusals.OfKey(KmsErrorCode.InvalidState, "The key was disabled or deleted meanwhile.");
        }
        finally
        {
            lock (_lock)
            {
                _ = _opening.Remove(name);
            }
        }
    }

    private async Task<OpenedKey> OpenAsync(Key key, KeyVersion version, MaterialBinding binding)
    {
        OpenedKey opened = key.Protection == KeyProtection.Hsm
            ? new HsmKey(await root.UnwrapAsync(version.Material, version.PublicKey, binding, CancellationToken.None))
            : OpenSoftware(await root.OpenAsync(version.Material, binding, CancellationToken.None), key.Type, version.PublicKey);
        version.Proof.Give();
        return opened;
    }

    /// <summary>
    /// Takes over the material. The seal binds it to its version; this ties the public key to it. A key in the token is tied to
    /// both by its binding.
    /// </summary>
    [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "It takes the material over.")]
    private static SoftwareKey OpenSoftware(SecretBytes material, KeyType type, byte[]? publicKey)
    {
        try
        {
            bool isPair = type switch
            {
                KeyType.Rsa2048 => Rsa2048.IsPair(material, publicKey),
                KeyType.EcdsaP256 => EcdsaP256.IsPair(material, publicKey),
                _ => publicKey is null,
            };
            return isPair ? new SoftwareKey(material) : throw Refusals.IsNoPair();
        }
        catch
        {
            material.Dispose();
            throw;
        }
    }

    private MaterialLease? TryLease((KeyTag Tag, long Version) name)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue(name, out LinkedListNode<Entry>? node))
            {
                return null;
            }

            if (node.Value.Key.IsLost)
            {
                Remove(node);
                return null;
            }

            _byUse.Remove(node);
            _byUse.AddFirst(node);
            node.Value.LastUsed = clock.GetTimestamp();
            return node.Value.Lease();
        }
    }

    /// <summary>False if it may not be kept: then it is gone.</summary>
    private bool Keep((KeyTag Tag, long Version) name, OpenedKey key)
    {
        Entry entry = new(name, key) { LastUsed = clock.GetTimestamp() };
        lock (_lock)
        {
            // Asked under the lock: a drop that came before this sees the state that the commit before it has made.
            if (_isDisposed || !stands(name.Tag, name.Version))
            {
                entry.Release();
                return false;
            }

            _entries.Add(name, _byUse.AddFirst(entry));
            while (_entries.Count > capacity)
            {
                Remove(_byUse.Last!);
            }

            return true;
        }
    }

    private void DropWhere(Func<Entry, bool> condition)
    {
        lock (_lock)
        {
            for (LinkedListNode<Entry>? node = _byUse.First; node is not null;)
            {
                LinkedListNode<Entry>? next = node.Next;
                if (condition(node.Value))
                {
                    Remove(node);
                }

                node = next;
            }
        }
    }

    private void Remove(LinkedListNode<Entry> node)
    {
        _byUse.Remove(node);
        _ = _entries.Remove(node.Value.Name);
        node.Value.Release();
    }

    /// <summary>An opened key with the number of those who hold it; the cache itself is one of them.</summary>
    internal sealed class Entry((KeyTag Tag, long Version) name, OpenedKey key)
    {
        private int _holders = 1;

        public (KeyTag Tag, long Version) Name { get; } = name;

        public long LastUsed { get; set; }

        public OpenedKey Key { get; } = key;

        /// <summary>Under the cache's lock, while the cache still holds it: so the count is never raised from zero.</summary>
        public MaterialLease Lease()
        {
            _ = Interlocked.Increment(ref _holders);
            return new MaterialLease(this);
        }

        [SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP007", Justification = "The entry took the key over.")]
        public void Release()
        {
            if (Interlocked.Decrement(ref _holders) == 0)
            {
                Key.Dispose();
            }
        }
    }
}

/// <summary>A version's opened key, for as long as the lease lasts.</summary>
internal sealed class MaterialLease(MaterialCache.Entry entry) : IDisposable
{
    private MaterialCache.Entry? _entry = entry;

    public OpenedKey Key => (_entry ?? throw new ObjectDisposedException(nameof(MaterialLease))).Key;

    public void Dispose() => Interlocked.Exchange(ref _entry, null)?.Release();
}
