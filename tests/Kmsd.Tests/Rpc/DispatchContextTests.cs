using System.Collections.Concurrent;
using Kmsd.Metrics;
using Kmsd.Rpc;
using Kmsd.Storage;

namespace Kmsd.Tests.Rpc;

public sealed class DispatchContextTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Database _database;
    private readonly DaemonMeter _meter = new(TimeProvider.System);
    private readonly Writer _writer;
    private readonly DispatchContext _context = new();

    public DispatchContextTests()
    {
        _database = Database.Create(_folder.File(Database.FileName));
        _writer = new Writer(_database, [], witness: null, new WriterMeter(_meter), new ListLogger<Writer>());
    }

    public void Dispose()
    {
        _writer.Dispose();
        _meter.Dispose();
        _database.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void One_of_a_burst_begins_where_it_was_read()
    {
        int begunBy = 0;
        Lines burst = new(_writer);
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

        Lines burst = new(_writer);
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
