using Kmsd.Storage;
using Microsoft.VisualStudio.Threading;

namespace Kmsd.Rpc;

/// <summary>
/// Where the methods of one connection begin: in the order in which their requests were read, one after the other, each up to where it
/// first waits. A lone request begins in the pool, so that this thread reads on meanwhile: the library's way. One of a burst begins where
/// it was read, and so does a lone one while others wait for the pool: handing it over would cost as much as beginning it.
/// </summary>
internal sealed class DispatchContext : SynchronizationContext
{
    private readonly NonConcurrentSynchronizationContext _pool = new(sticky: false);

    // Handed over, and not yet begun or up to where they first wait. Raised by the one reader only.
    private int _handedOver;

    public override void Post(SendOrPostCallback d, object? state)
    {
        if (Volatile.Read(ref _handedOver) == 0 && (Burst.Current is not null || ThreadPool.PendingWorkItemCount > 0))
        {
            d(state);
            return;
        }

        _ = Interlocked.Increment(ref _handedOver);
        _pool.Post(
            call =>
            {
                try
                {
                    d(call);
                }
                finally
                {
                    _ = Interlocked.Decrement(ref _handedOver);
                }
            },
            state);
    }

    public override SynchronizationContext CreateCopy() => this;
}
