using System.Collections.Concurrent;
using Kmsd.Rpc;
using Kmsd.Storage;
using Kmsd.Tests.Storage;

namespace Kmsd.Tests.Rpc;

public sealed class DispatchContextTests : IDisposable
{
    private readonly WriterHost _host = new();
    private readonly DispatchContext _context = new();

    public void Dispose() => _host.Dispose();

    [Fact]
    public void One_of_a_burst_begins_where_it_was_read()
    {
        int begunBy = 0;
        Lines burst = new(_host.Writer);
        burst.Open();
        _context.Post(_ => begunBy = Environment.CurrentManagedThreadId, null);
        burst.Close();

        Assert.Equal(Environment.CurrentManagedThreadId, begunBy);
    }

    [Fact]
    public void Nothing_overtakes_what_was_handed_over_before()
    {
        ConcurrentQueue<int> begun = new();
        using ManualResetEventSlim goOn = new();
        using CountdownEvent all = new(3);
        int here = Environment.CurrentManagedThreadId;
        for (bool isHere = true; isHere;)
        {
            // While other tests keep the pool busy it begins here: then again.
            isHere = false;
            Run(1, () =>
            {
                isHere = Environment.CurrentManagedThreadId == here;
                if (isHere)
                {
                    begun.Clear();
                    all.AddCount();
                }
                else
                {
                    goOn.Wait();
                }
            });
        }

        Lines burst = new(_host.Writer);
        burst.Open();
        Run(2, () => { });
        Run(3, () => { });
        burst.Close();
        Assert.True(begun.Count <= 1);
        goOn.Set();
        all.Wait(TestContext.Current.CancellationToken);

        Assert.Equal([1, 2, 3], begun);

        void Run(int number, Action wait) => _context.Post(
            _ =>
            {
                begun.Enqueue(number);
                wait();
                _ = all.Signal();
            },
            null);
    }

    private sealed class Lines(Writer writer) : Burst(writer)
    {
        protected override void BeginAnswers()
        {
        }

        protected override void EndAnswers()
        {
        }
    }
}
