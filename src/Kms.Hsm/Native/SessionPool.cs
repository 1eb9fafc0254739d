using System.Collections.Concurrent;

namespace Kms.Hsm.Native;

/// <summary>A bounded number of worker sessions, opened when they are first needed. A session in which a call failed is closed.</summary>
internal sealed class SessionPool(Module module, ulong slot, int size, TimeSpan timeout) : IDisposable
{
    private readonly SemaphoreSlim _free = new(size);
    private readonly ConcurrentBag<ulong> _idle = [];

    /// <exception cref="TokenException">Every session was busy for the whole time-out.</exception>
    public T Use<T>(Func<ulong, T> operation)
    {
        if (!_free.Wait(timeout))
        {
            throw new TokenException(TokenFault.Unavailable, $"All {size} sessions of the token were busy for {timeout.TotalSeconds} s.");
        }

        try
        {
            if (!_idle.TryTake(out ulong session))
            {
                session = module.OpenSession(slot, readWrite: false);
            }

            try
            {
                T result = operation(session);
                _idle.Add(session);
                return result;
            }
            catch
            {
                Discard(session);
                throw;
            }
        }
        finally
        {
            _ = _free.Release();
        }
    }

    public void Dispose() => _free.Dispose();

    /// <summary>A call that failed may have left an operation half done, so the session isn't used again.</summary>
    private void Discard(ulong session)
    {
        try
        {
            module.CloseSession(session);
        }
        catch (Pkcs11Exception)
        {
            // The call's own failure is on its way to the caller; a session that can't be closed is gone already.
        }
    }
}
