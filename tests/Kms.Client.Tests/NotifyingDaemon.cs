using System.Collections.Concurrent;
using System.Globalization;
using System.Text;

namespace Kms.Client.Tests;

/// <summary>A daemon that keeps notifications, lists them in pages, and pushes new ones to those who subscribed, as kmsd does.</summary>
internal sealed class NotifyingDaemon : IAsyncDisposable
{
    private readonly FakeDaemon _daemon;
    private readonly Lock _lock = new();
    private readonly SortedSet<long> _kept = [];
    private readonly ConcurrentDictionary<FakeConnection, bool> _subscribers = new();
    private int _lists;

    public NotifyingDaemon() => _daemon = new FakeDaemon(AnswerAsync);

    public int PageLength { get; init; } = 100;

    /// <summary>What happens after a list was asked for and before it is looked up.</summary>
    public Func<Task> BeforeList { get; set; } = () => Task.CompletedTask;

    /// <summary>How many lists were answered.</summary>
    public int Lists => Volatile.Read(ref _lists);

    public string Path => _daemon.Path;

    public int Connections => _daemon.Connections;

    public IEnumerable<string> Calls => _daemon.Received.Select(call => call.Method == "notifications.list"
        ? $"{call.Method} {call.Params.GetProperty("after").GetInt64()}"
        : call.Method);

    public long Last
    {
        get
        {
            lock (_lock)
            {
                return _kept.Max;
            }
        }
    }

    public static byte[] Notice(long number) => Encoding.UTF8.GetBytes(Text(number));

    /// <summary>Keeps without pushing.</summary>
    public void Keep(params ReadOnlySpan<long> numbers)
    {
        lock (_lock)
        {
            foreach (long number in numbers)
            {
                _kept.Add(number);
            }
        }
    }

    /// <summary>Keeps, and pushes to everybody.</summary>
    public async Task PushAsync(params long[] numbers)
    {
        foreach (long number in numbers)
        {
            Keep(number);
            await SayAsync($$"""{"jsonrpc":"2.0","method":"notifications.event","params":{{Text(number)}}}""");
        }
    }

    public async Task SayAsync(string line)
    {
        foreach (FakeConnection subscriber in _subscribers.Keys)
        {
            await subscriber.SendAsync(line);
        }
    }

    public async Task UntilListedAsync(int times = 1)
    {
        await UntilAsync(() => Lists >= times);
    }

    public async Task UntilAllHungUpAsync()
    {
        await UntilAsync(() => _subscribers.Keys.All(connection => connection.HasEnded));
    }

    /// <summary>Ends every connection; new ones are served.</summary>
    public void Drop()
    {
        foreach (FakeConnection subscriber in _subscribers.Keys)
        {
            subscriber.Close();
        }

        _subscribers.Clear();
    }

    public async Task StopAsync()
    {
        await _daemon.StopAsync();
        _subscribers.Clear();
    }

    public void Start() => _daemon.Start();

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            Assert.True(i < 1_600, "It didn't happen within eight seconds.");
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    private static string Text(long number) => string.Create(
        CultureInfo.InvariantCulture, $$"""{"sequence":{{number}},"at":"2026-11-24T12:00:00.000Z","kind":"kind-{{number}}"}""");

    private async Task<string?> AnswerAsync(FakeCall call)
    {
        if (call.Method == "notifications.subscribe")
        {
            _subscribers[call.Connection] = true;
            return FakeDaemon.Result(call, "{}");
        }

        await BeforeList();
        long after = call.Params.TryGetProperty("after", out System.Text.Json.JsonElement given) ? given.GetInt64() : 0;
        long[] found;
        lock (_lock)
        {
            found = [.. _kept.Where(number => number > after).Take(PageLength + 1)];
        }

        string page = string.Join(',', found.Take(PageLength).Select(Text));
        string next = found.Length > PageLength ? string.Create(CultureInfo.InvariantCulture, $",\"next\":{found[PageLength - 1]}") : "";
        _ = Interlocked.Increment(ref _lists);
        return FakeDaemon.Result(call, $$"""{"notifications":[{{page}}]{{next}}}""");
    }
}
