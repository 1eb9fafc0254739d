using Kms.Client.Protocol;
using Kmsd.Storage;

namespace Kmsd.Tests.Storage;

public sealed class BurstTests : IDisposable
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(20);

    private readonly Batches _batches = new();
    private readonly WriterHost _host;
    private readonly Answers _burst;

    public BurstTests()
    {
        _host = new WriterHost(_batches);
        _burst = new Answers(_host.Writer);
    }

    public void Dispose()
    {
        _burst.Close(); // The thread that opened it runs other tests.
        _host.Dispose();
    }

    [Fact]
    public void What_came_together_is_written_in_one_batch_and_answered_where_it_was_taken_up()
    {
        List<int> applied = [];
        Use[] uses = [.. Enumerable.Range(0, 5).Select(number => new Use(() => applied.Add(number)))];
        _burst.Open();
        Assert.All(uses, use => Assert.True(Enqueue(use)));
        Assert.Empty(applied);

        _burst.Close();

        Assert.Equal([0, 1, 2, 3, 4], applied);
        Assert.Equal(1, _batches.Deferred);
        Assert.Equal(1, _burst.Begun);
        Assert.Equal(1, _burst.Ended);
        Assert.All(uses, use => Assert.Equal((Environment.CurrentManagedThreadId, true), (use.AnsweredBy, use.WasBetween)));
    }

    [Fact]
    public async Task After_its_end_what_this_thread_does_stands_alone()
    {
        _burst.Open();
        _burst.Close();
        Use use = new(() => { });
        Assert.True(Enqueue(use));
        await use.Answered.WaitAsync(s_soon, TestContext.Current.CancellationToken);

        Assert.False(use.WasBetween);
        Assert.Equal(0, _burst.Begun); // There was nothing to answer.
    }

    [Fact]
    public async Task What_another_thread_writes_takes_it_along_and_it_is_still_answered_together()
    {
        Use[] uses = [new Use(() => { }), new Use(() => { })];
        Use alone = new(() => { });
        _burst.Open();
        Assert.All(uses, use => Assert.True(Enqueue(use)));
        await Task.Factory.StartNew(
            () => Assert.True(Enqueue(alone)), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await Task.WhenAll([alone.Answered, .. uses.Select(use => use.Answered)]);

        Assert.False(alone.WasBetween);
        Assert.All(uses, use => Assert.True(use.WasBetween));
        Assert.Equal(1, _burst.Begun);
    }

    [Fact]
    public void One_that_is_refused_takes_only_itself_back()
    {
        Use before = new(() => { });
        Use refused = new(() => throw new KmsException(KmsErrorCode.InvalidState, "No."));
        Use after = new(() => { });
        _burst.Open();
        Assert.All([before, refused, after], use => Assert.True(Enqueue(use)));
        _burst.Close();

        Assert.Equal((true, false, true), (before.HasSucceeded, refused.HasSucceeded, after.HasSucceeded));
        Assert.Equal("No.", refused.Failure?.Message);
    }

    [Fact]
    public async Task A_change_among_them_makes_it_a_transaction()
    {
        Use use = new(() => { });
        _burst.Open();
        Assert.True(Enqueue(use));
        Task<int> change = _host.Writer.ChangeAsync(() => 7, TestContext.Current.CancellationToken);
        Assert.False(change.IsCompleted);
        _burst.Close();

        Assert.Equal(7, await change);
        Assert.Equal((0, 1), (_batches.Deferred, _batches.Committed));
        Assert.True(use.HasSucceeded);
    }

    /// <summary>The pool's threads serve many connections: one that left a burst open behind it would hold back what others do.</summary>
    [Fact]
    public async Task A_thread_that_went_on_takes_up_nothing_of_it_when_another_thread_does()
    {
        _burst.Open();
        Thread other = new(_burst.Open);
        other.Start();
        other.Join();

        Assert.Null(Burst.Current);
        Use use = new(() => { });
        Assert.True(Enqueue(use));
        await use.Answered.WaitAsync(s_soon, TestContext.Current.CancellationToken);
    }

    /// <summary>Its end would write what the one has, and never what the other was given.</summary>
    [Fact]
    public async Task What_another_writer_is_given_stands_alone()
    {
        using WriterHost other = new();
        Use use = new(() => { });
        _burst.Open();
        await other.Writer.EnqueueAsync(use, TestContext.Current.CancellationToken);
        await use.Answered.WaitAsync(s_soon, TestContext.Current.CancellationToken);
        _burst.Close();

        Assert.True(use.HasSucceeded);
    }

    [Fact]
    public async Task Where_the_queue_is_full_it_ends_early()
    {
        const int Capacity = 8192;
        Use[] uses = [.. Enumerable.Range(0, Capacity).Select(_ => new Use(() => { }))];
        _burst.Open();
        Assert.All(uses, use => Assert.True(Enqueue(use)));
        Assert.False(uses[0].HasSucceeded);
        Use last = new(() => { });
        await _host.Writer.EnqueueAsync(last, TestContext.Current.CancellationToken);
        await Task.WhenAll([last.Answered, .. uses.Select(use => use.Answered)]);

        Assert.All(uses, use => Assert.True(use.HasSucceeded));
    }

    /// <summary>True if it didn't wait.</summary>
    private bool Enqueue(Use use)
    {
        use.Among = _burst;
        return _host.Writer.EnqueueAsync(use, TestContext.Current.CancellationToken).AsTask().IsCompletedSuccessfully;
    }

    private sealed class Batches : IBatchParticipant
    {
        public int Deferred { get; private set; }

        public int Committed { get; private set; }

        public void CommitDeferred() => Deferred++;

        public void Mark()
        {
        }

        public void ReturnToMark()
        {
        }

        public void Flush(bool isFull)
        {
        }

        public void Commit() => Committed++;

        public void Rollback()
        {
        }
    }

    private sealed class Answers(Writer writer) : Burst(writer)
    {
        public int Begun { get; private set; }

        public int Ended { get; private set; }

        protected override void BeginAnswers() => Begun++;

        protected override void EndAnswers() => Ended++;
    }

    private sealed class Use(Action apply) : WriteRequest
    {
        private readonly TaskCompletionSource _answered = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override bool IsChange => false;

        public override bool MayBeDeferred => true;

        public Answers? Among { get; set; }

        public bool HasSucceeded { get; private set; }

        public bool WasBetween { get; private set; }

        public int AnsweredBy { get; private set; }

        public Exception? Failure { get; private set; }

        public Task Answered => _answered.Task;

        public override void Apply() => apply();

        public override void Succeed()
        {
            HasSucceeded = true;
            AnsweredBy = Environment.CurrentManagedThreadId;
            _answered.SetResult();
        }

        public override void SucceedHere()
        {
            WasBetween = Among is { } among && among.Begun == among.Ended + 1;
            Succeed();
        }

        public override void Fail(Exception exception)
        {
            Failure = exception;
            _answered.SetResult();
        }
    }
}
