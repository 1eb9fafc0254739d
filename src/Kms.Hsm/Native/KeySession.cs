using System.Collections.Concurrent;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm.Native;

/// <summary>
/// The session in which unwrapped keys live: closing it would destroy them (PKCS#11 v2.40 §4.4), so it is none of the workers'
/// and stays open as long as the token. One call at a time. Once it is lost its keys are too, and none of their handles
/// may be used again: the token may have given them to others.
/// </summary>
internal sealed class KeySession(Module module, ulong slot, TimeSpan timeout)
{
    private readonly Lock _lock = new();

    // Keys that nobody uses any more, and that couldn't be destroyed yet.
    private readonly ConcurrentQueue<ulong> _condemned = new();

    // CK_INVALID_HANDLE until it is first needed.
    private ulong _session;
    private volatile bool _isLost;

    public bool IsLost => _isLost;

    /// <summary>For tests, which close it.</summary>
    public ulong Session => Volatile.Read(ref _session);

    /// <exception cref="TokenException">The session is lost, or busy for the whole time-out.</exception>
    public T Use<T>(Func<ulong, T> call)
    {
        if (!_lock.TryEnter(timeout))
        {
            throw new TokenException(TokenFault.Unavailable, $"The token's session for keys was busy for {timeout.TotalSeconds} s.");
        }

        try
        {
            ThrowIfLost();
            if (_session == 0)
            {
                Volatile.Write(ref _session, module.OpenSession(slot, readWrite: false));
            }

            DestroyCondemned();
            return call(_session);
        }
        finally
        {
            _lock.Exit();
        }
    }

    public void ThrowIfLost()
    {
        if (_isLost)
        {
            throw new TokenException(TokenFault.Unavailable, "The token's session was lost, and its keys with it.");
        }
    }

    /// <summary>After a call of any session failed: this one may be gone with it.</summary>
    public void NoteLoss()
    {
        ulong session = Volatile.Read(ref _session);
        if (!_isLost && session != 0 && !module.IsLoggedIn(session))
        {
            _isLost = true;
        }
    }

    /// <summary>Of a lost session: where it is there after all, its keys end with it. Nobody may be in a call.</summary>
    public bool Close()
    {
        try
        {
            module.CloseSession(Session);
            return true;
        }
        catch (Pkcs11Exception)
        {
            // As was to be expected: it is gone, and its keys with it (§4.4).
            return false;
        }
    }

    /// <summary>A key that nobody uses any more is destroyed with the next call.</summary>
    public void Condemn(ulong key) => _condemned.Enqueue(key);

    private void DestroyCondemned()
    {
        for (int left = _condemned.Count; left > 0 && _condemned.TryDequeue(out ulong key); left--)
        {
            try
            {
                module.DestroyObject(_session, key);
            }
            catch (Pkcs11Exception exception) when ((CKR)exception.ReturnValue == CKR.CKR_OBJECT_HANDLE_INVALID)
            {
                // It is gone already.
            }
            catch (Pkcs11Exception)
            {
                // Tried again with the next call; the caller of this one has nothing to do with it.
                _condemned.Enqueue(key);
            }
        }
    }
}
