using Kms.Client.Protocol;
using Kmsd.Metrics;
using Kmsd.Storage;
using Kmsd.Tests.Metrics;

namespace Kmsd.Tests.Storage;

public sealed class WriterTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Database _database;
    private readonly Ledger _ledger;
    private readonly ListLogger<Writer> _log = new();
    private readonly DaemonMeter _meter = new(TimeProvider.System);
    private readonly Writer _writer;
    private readonly ManualResetEventSlim _held = new();
    private Task _holding = Task.CompletedTask;

    // Otherwise it writes at once, whatever other tests do.
    private bool _seesPool;

    public WriterTests()
    {
        _database = Database.Create(_folder.File(Database.FileName));
        _ledger = new Ledger(_database);
        _writer = new Writer(_database, [_ledger], witness: null, new WriterMeter(_meter), _log)
        {
            IsPoolBusy = () => _seesPool && ThreadPool.PendingWorkItemCount > 0,
        };
        Hold();
    }

    public void Dispose()
    {
        _held.Set();
        _writer.Dispose();
        _meter.Dispose();
        _held.Dispose();
        _database.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(512, 1)]
    [InlineData(513, 2)]
    public async Task What_waits_is_committed_together_up_to_a_bound(int requests, int commits)
    {
        Task<int>[] changes = [.. Enumerable.Range(0, requests).Select(number => AddAsync(number))];
        Assert.Equal(requests, _writer.QueueLength);
        await RunToEndAsync();
        Assert.Equal(Enumerable.Range(0, requests), await Task.WhenAll(changes));
        Assert.Equal(commits, Batches);

        // What holds the writer is a request of its own, and the last commit has none.
        Assert.Equal((commits + 2, requests + 1), (_meter.Value("kmsd_commit_requests_count"), _meter.Value("kmsd_commit_requests_sum")));
        Assert.Equal(requests, _ledger.Current);
        Assert.Equal(requests, _database.Prepare("SELECT count(*) FROM notifications").QueryNumber());
    }

    [Fact]
    public async Task A_change_that_is_refused_takes_only_itself_back()
    {
        Task<int> before = AddAsync(1);
        Task<int> refused = ChangeAsync<int>(() =>
        {
            _ = _ledger.Add(2);
            throw new KmsException(KmsErrorCode.Forbidden, "No.");
        });
        Task<int> broken = ChangeAsync<int>(() =>
        {
            _ = _ledger.Add(3);
            throw new InvalidOperationException("A fault of our own.");
        });
        Task<int> after = AddAsync(4);
        await RunToEndAsync();

        Assert.Equal((1, 4), (await before, await after));
        Assert.Equal(KmsErrorCode.Forbidden, (await Assert.ThrowsAsync<KmsException>(async () => await refused)).Code);
        _ = await Assert.ThrowsAsync<InvalidOperationException>(async () => await broken);
        Assert.Equal([1, 4], Rows());
        Assert.Equal((2, 1), (_ledger.Current, Batches));
        Assert.True(_writer.IsHealthy);
    }

    [Fact]
    public async Task A_use_that_is_refused_leaves_the_rest_of_its_batch()
    {
        Use use = new(() => throw new KmsException(KmsErrorCode.Forbidden, "No."));
        await _writer.EnqueueAsync(use, TestContext.Current.CancellationToken);
        Use another = new(() => _ledger.Add(1));
        await _writer.EnqueueAsync(another, TestContext.Current.CancellationToken);
        await RunToEndAsync();
        _ = Assert.IsType<KmsException>(use.Failure);
        Assert.True(another.HasSucceeded);
        Assert.False(use.HasSucceeded);
        Assert.Equal([1], Rows());
    }

    [Fact]
    public async Task When_the_storage_fails_all_of_the_batch_is_refused_and_nothing_of_it_stays()
    {
        Task<int> first = AddAsync(1);
        Task<int> fatal = ChangeAsync(() =>
        {
            _database.Execute("INSERT INTO no_such_table VALUES (1)");
            return 2;
        });
        Task<int> third = AddAsync(3);
        await RunOneBatchAsync(first, fatal, third);
        foreach (Task<int> change in new[] { first, fatal, third })
        {
            _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, async () => await change);
        }

        Assert.Equal((0, 0, 1), (_ledger.Current, _ledger.Staged, _ledger.Rollbacks));
        Assert.False(_writer.IsHealthy);
        _ = Assert.Single(_log.Lines);

        Task<int> next = AddAsync(4);
        Assert.Equal(4, await next);
        Assert.True(_writer.IsHealthy);
        await EndAsync();
        Assert.Equal([4], Rows());
    }

    [Fact]
    public async Task A_disk_that_is_full_refuses_and_room_is_used_again()
    {
        _database.Execute("PRAGMA max_page_count = 1"); // SQLite takes the present size instead.
        Task<int> large = ChangeAsync(() => _ledger.Add(1, new string('x', 1 << 20)));
        await RunOneBatchAsync(large);
        _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, async () => await large);
        Assert.False(_writer.IsHealthy);
        _database.Execute("PRAGMA max_page_count = 1000000");
        Assert.Equal(2, await ChangeAsync(() => _ledger.Add(2, new string('x', 1 << 20))));
        await EndAsync();
        Assert.Equal([2], Rows());
    }

    [Fact]
    public async Task Whoever_gave_up_before_it_was_written_gets_nothing_written()
    {
        using CancellationTokenSource impatient = new();
        Task<int> change = _writer.ChangeAsync(() => _ledger.Add(1), impatient.Token);
        await impatient.CancelAsync();
        await RunToEndAsync();
        _ = await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await change);
        Assert.Empty(Rows());
    }

    [Fact]
    public async Task Whoever_gives_up_while_it_is_written_has_it_done()
    {
        using CancellationTokenSource impatient = new();
        Task<int> change = _writer.ChangeAsync(
            () =>
            {
                impatient.Cancel();
                return _ledger.Add(1);
            },
            impatient.Token);
        await RunToEndAsync();
        Assert.Equal(1, await change);
        Assert.Equal([1], Rows());
    }

    [Fact]
    public async Task A_batch_with_a_change_is_written_in_full_and_one_of_uses_is_not()
    {
        List<long> synchrony = [];
        Use use = new(() => synchrony.Add(_database.Prepare("PRAGMA synchronous").QueryNumber()));
        await _writer.EnqueueAsync(use, TestContext.Current.CancellationToken);
        await RunOneBatchAsync(use.Completion);
        Task<int> change = ChangeAsync(() =>
        {
            synchrony.Add(_database.Prepare("PRAGMA synchronous").QueryNumber());
            return _ledger.Add(1);
        });
        _ = await change;
        await EndAsync();
        Assert.Equal([1, 2], synchrony);
    }

    [Fact]
    public async Task Whoever_comes_while_nobody_writes_writes_at_once_and_in_order_with_the_others()
    {
        await RunOneBatchAsync(_holding);
        Use use = new(() => _ledger.Add(1));
        Assert.True(_writer.EnqueueAsync(use, TestContext.Current.CancellationToken).AsTask().IsCompletedSuccessfully);
        Assert.True(use.HasSucceeded);
        _seesPool = true;
        int next = 1;
        List<int> order = [];
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(
            async () =>
            {
                for (int i = 0; i < 200; i++)
                {
                    Use one = new(() => order.Add(_ledger.Add(++next)));
                    await _writer.EnqueueAsync(one, TestContext.Current.CancellationToken);
                    await one.Completion;
                }
            },
            TestContext.Current.CancellationToken)));
        await EndAsync();
        Assert.Equal(Enumerable.Range(2, 1600), order);
        Assert.Equal(1601, Rows().Count);
        Assert.False(_writer.Broken.IsCompleted);
    }

    [Fact]
    public async Task A_ledger_that_fails_at_its_commit_breaks_the_writer_for_good()
    {
        await RunOneBatchAsync(_holding);
        _ledger.FailsToCommit = true;
        Task<int> change = AddAsync(1);
        _ = await Assert.ThrowsAsync<InvalidOperationException>(() => _writer.Broken);
        Assert.False(change.IsCompleted);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_can_neither_be_kept_nor_taken_back_breaks_the_writer_and_nobody_is_told_anything(bool passes)
    {
        await RunOneBatchAsync(_holding);
        _ledger.CannotDefer = true;
        Use use = new(() => { }) { MayWait = true };
        Task<int>? change = null;
        if (passes)
        {
            change = ChangeAsync(() =>
            {
                Assert.True(_writer.EnqueueAsync(use, TestContext.Current.CancellationToken).AsTask().IsCompletedSuccessfully);
                _writer.LetUsesPass();
                return _ledger.Add(1);
            });
        }
        else
        {
            await _writer.EnqueueAsync(use, TestContext.Current.CancellationToken);
        }

        _ = await Assert.ThrowsAsync<WriterBrokenException>(() => _writer.Broken);
        Assert.False(use.Completion.IsCompleted);
        Assert.NotEqual(true, change?.IsCompleted);
        Assert.Equal(0, _ledger.Commits - 1); // The one that was held.
    }

    [Fact]
    public async Task Nothing_is_answered_before_its_commit()
    {
        Task<int> change = AddAsync(1);
        _ledger.AtFlush = () => Assert.True(!change.IsCompleted || _ledger.Current == 1);
        await RunToEndAsync();
        Assert.Equal(1, await change);
        Assert.Equal(1, Batches);
    }

    /// <summary>Without the one that was held, and the last one that stopping makes.</summary>
    private int Batches => _ledger.Commits - 2;

    private Task<int> AddAsync(int number) => ChangeAsync(() => _ledger.Add(number));

    private Task<T> ChangeAsync<T>(Func<T> apply) => _writer.ChangeAsync(apply, TestContext.Current.CancellationToken);

    /// <summary>Has a request of its own batch wait, so that those that come meanwhile form the next.</summary>
    private void Hold()
    {
        using ManualResetEventSlim isHeld = new();
        Use first = new(() =>
        {
            isHeld.Set();
            _held.Wait();
        });
        _holding = Task.Run(() => _writer.EnqueueAsync(first, CancellationToken.None).AsTask());
        isHeld.Wait();
    }

    private async Task RunToEndAsync()
    {
        _held.Set();
        await EndAsync();
    }

    /// <summary>Lets the writer go on and waits until these are settled.</summary>
    private async Task RunOneBatchAsync(params Task[] requests)
    {
        _held.Set();
        _ = await Task.WhenAny(Task.WhenAll(requests));
    }

    private async Task EndAsync()
    {
        await _holding;
        await _writer.StopAsync();
    }

    private List<int> Rows()
    {
        List<int> rows = [];
        _database.Prepare("SELECT sequence FROM notifications ORDER BY sequence").Query(reader => rows.Add(reader.GetInt32(0)));
        return rows;
    }

    /// <summary>Counts rows in memory as the daemon's ledgers do.</summary>
    private sealed class Ledger(Database database) : IBatchParticipant
    {
        private int _mark;

        public int Staged { get; private set; }

        public int Current { get; private set; }

        public int Commits { get; private set; }

        public int Rollbacks { get; private set; }

        public Action? AtFlush { get; set; }

        public int Add(int number, string kind = "kind")
        {
            database.Prepare("""
                INSERT INTO notifications (sequence, at, kind, principal, mac_generation, encoding_version, row_code)
                VALUES ($1, 0, $2, '', 0, 0, x'')
                """).BindAll((long)number, kind).ExecuteOne();
            Staged++;
            return number;
        }

        public void Mark() => _mark = Staged;

        public void ReturnToMark() => Staged = _mark;

        public void Flush(bool isFull) => AtFlush?.Invoke();

        public bool FailsToCommit { get; set; }

        public bool CannotDefer { get; set; }

        public void Defer()
        {
            if (CannotDefer)
            {
                throw new WriterBrokenException("It stays.", new IOException());
            }
        }

        public void Commit()
        {
            if (FailsToCommit)
            {
                throw new InvalidOperationException("A fault of our own.");
            }

            Current = Staged;
            Commits++;
        }

        public void Rollback()
        {
            Staged = Current;
            Rollbacks++;
        }
    }

    private sealed class Use(Action apply) : WriteRequest
    {
        private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override bool IsChange => false;

        public override bool MayBeDeferred => MayWait;

        public bool MayWait { get; init; }

        public bool HasSucceeded { get; private set; }

        public Exception? Failure { get; private set; }

        public Task Completion => _completion.Task;

        public override void Apply() => apply();

        public override void Succeed()
        {
            HasSucceeded = true;
            _completion.SetResult();
        }

        public override void Fail(Exception exception)
        {
            Failure = exception;
            _completion.SetResult();
        }
    }
}
