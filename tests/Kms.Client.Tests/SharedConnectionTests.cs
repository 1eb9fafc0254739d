using System.Text;
using Kms.Client.Protocol;
using Kms.Client.Transport;

namespace Kms.Client.Tests;

/// <summary>What happens to requests when connections end, callers give up, and many share one client.</summary>
public sealed class SharedConnectionTests
{
    private const string Encrypted = """{"ciphertext":"kms:v1:AAAA","keyVersion":1}""";
    private const string Status = """{"status":"ok","version":"0.1.0","token":"ok","database":"ok"}""";

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static KeyRequest Mail => new() { Key = "mail" };

    private static DeleteKeyRequest Delete => new() { Key = "mail" };

    private static VersionRequest VersionOne => new() { Key = "mail", Version = 1 };

    private static GrantRequest Grant => new() { Key = "mail", Principal = "uid:1000", Role = KeyRole.Encryptor };

    [Fact]
    public async Task At_most_128_requests_are_in_flight()
    {
        int now = 0;
        int most = 0;
        using var gate = new SemaphoreSlim(0);
        await using var daemon = new FakeDaemon(async call =>
        {
            int count = Interlocked.Increment(ref now);
            InterlockedMax(ref most, count);
            await gate.WaitAsync();
            Interlocked.Decrement(ref now);
            return FakeDaemon.Result(call, Status);
        });
        await using var client = new KmsClient(daemon.Path);
        Task<StatusResult>[] all = [.. Enumerable.Range(0, 400).Select(_ => client.GetStatusAsync(Stop))];
        await UntilAsync(() => Volatile.Read(ref now) == 128);
        await Task.Delay(100, Stop);
        Assert.Equal(128, daemon.Received.Count);
        gate.Release(all.Length);
        _ = await Task.WhenAll(all);
        Assert.Equal(128, most);
    }

    [Fact]
    public async Task Many_threads_get_each_their_own_answer()
    {
        await using var daemon = new FakeDaemon(async call =>
        {
            if (call.Id % 3 == 0)
            {
                await Task.Delay(1); // Answers overtake each other.
            }

            return FakeDaemon.Result(call, $$"""{"plaintext":"{{Convert.ToBase64String(Encoding.UTF8.GetBytes(call.Text("ciphertext")))}}","keyVersion":1}""");
        });
        await using var client = new KmsClient(daemon.Path);
        await Parallel.ForAsync(0, 5_000, new ParallelOptions { MaxDegreeOfParallelism = 64, CancellationToken = Stop }, async (i, stop) =>
        {
            using DecryptResult answer = await client.DecryptAsync(new DecryptRequest { Key = "mail", Ciphertext = $"number {i}" }, stop);
            Assert.Equal($"number {i}", Encoding.UTF8.GetString(answer.Plaintext.AsSpan()));
        });
        Assert.Equal(1, daemon.Connections);
    }

    [Fact]
    public async Task Cancelling_at_random_loses_no_answer_and_no_slot()
    {
        await using var daemon = new FakeDaemon(async call =>
        {
            await Task.Delay((int)(call.Id % 4));
            return FakeDaemon.Result(call, Status);
        });
        await using var client = new KmsClient(daemon.Path);
        await Parallel.ForAsync(0, 2_000, new ParallelOptions { MaxDegreeOfParallelism = 200, CancellationToken = Stop }, async (i, _) =>
        {
            using var enough = new CancellationTokenSource(TimeSpan.FromMilliseconds(i % 7));
            try
            {
                Assert.Equal("ok", (await client.GetStatusAsync(i % 2 == 0 ? enough.Token : CancellationToken.None)).Status);
            }
            catch (OperationCanceledException) when (i % 2 == 0)
            {
                // As asked.
            }
        });
        _ = await Task.WhenAll(Enumerable.Range(0, 200).Select(_ => client.GetStatusAsync(Stop)));
        Assert.Equal(1, daemon.Connections);
    }

    [Fact]
    public async Task Disposal_ends_what_waits()
    {
        await using var daemon = new FakeDaemon(Silence);
        var client = new KmsClient(daemon.Path);
        Task<StatusResult>[] waiting = [.. Enumerable.Range(0, 200).Select(_ => client.GetStatusAsync(Stop))];
        await UntilAsync(() => daemon.Received.Count == Connection.MostInFlight);
        await client.DisposeAsync();
        foreach (Task<StatusResult> task in waiting)
        {
            _ = await Assert.ThrowsAsync<ObjectDisposedException>(() => task);
        }

        _ = await Assert.ThrowsAsync<ObjectDisposedException>(() => client.GetStatusAsync(Stop));
    }

    [Fact]
    public async Task Giving_up_tells_the_daemon_and_leaves_the_connection_usable()
    {
        await using var daemon = new FakeDaemon(call => call.Method == "keys.get" ? null : FakeDaemon.Result(call, Status));
        await using var client = new KmsClient(daemon.Path);
        using var enough = new CancellationTokenSource();
        Task<KeyDescription> asking = client.GetKeyAsync(Mail, enough.Token);
        await UntilAsync(() => !daemon.Received.IsEmpty);
        await enough.CancelAsync();
        OperationCanceledException exception = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
        Assert.Equal(enough.Token, exception.CancellationToken);
        await UntilAsync(() => !daemon.Cancelled.IsEmpty);
        Assert.Equal(daemon.Received.Single().Id, daemon.Cancelled.Single());
        Assert.Equal("ok", (await client.GetStatusAsync(Stop)).Status);
        Assert.Equal(1, daemon.Connections);
    }

    [Fact]
    public async Task What_was_given_up_before_it_was_sent_is_never_sent()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, Status));
        await using var client = new KmsClient(daemon.Path);
        _ = await client.GetStatusAsync(Stop);
        _ = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.AddGrantAsync(Grant, new CancellationToken(true)));
        _ = await client.GetStatusAsync(Stop);
        Assert.Equal(2, daemon.Received.Count);
    }

    [Fact]
    public async Task A_read_is_sent_once_more_on_a_fresh_connection()
    {
        await using var daemon = new FakeDaemon(CloseFirst(Status));
        await using var client = new KmsClient(daemon.Path);
        Assert.Equal("ok", (await client.GetStatusAsync(Stop)).Status);
        Assert.Equal((2, 2), (daemon.Received.Count, daemon.Connections));
    }

    [Fact]
    public async Task The_use_of_a_key_is_sent_once_more_too()
    {
        await using var daemon = new FakeDaemon(CloseFirst(Encrypted));
        await using var client = new KmsClient(daemon.Path);
        using var plaintext = new SensitiveBytes(3);
        _ = await client.EncryptAsync(new EncryptRequest { Key = "mail", Plaintext = plaintext }, Stop);
        Assert.Equal(2, daemon.Received.Count);
    }

    [Fact]
    public async Task A_read_is_not_sent_a_third_time()
    {
        await using var daemon = new FakeDaemon(Close);
        await using var client = new KmsClient(daemon.Path);
        KmsUnreachableException exception = await Assert.ThrowsAsync<KmsUnreachableException>(() => client.GetStatusAsync(Stop));
        Assert.False(exception.OutcomeUnknown);
        Assert.Equal(2, daemon.Received.Count);
    }

    [Fact]
    public async Task What_only_reads_or_uses_a_key_is_sent_twice_at_most()
    {
        await using var daemon = new FakeDaemon(Close);
        await using var client = new KmsClient(daemon.Path);
        using var message = new SensitiveBytes(1);
        Func<Task>[] calls =
        [
            () => client.ReencryptAsync(new ReencryptRequest { Key = "mail", Ciphertext = "kms:v1:AAAA" }, Stop),
            () => client.SignAsync(new SignRequest { Key = "mail", Message = message }, Stop),
            () => client.VerifyAsync(new VerifyRequest { Key = "mail", Message = message, Signature = "kms:v1:AAAA" }, Stop),
            () => client.EncryptBatchAsync(new EncryptBatchRequest { Key = "mail", Items = [] }, Stop),
            () => client.DecryptBatchAsync(new DecryptBatchRequest { Key = "mail", Items = [] }, Stop),
            () => client.ReencryptBatchAsync(new ReencryptBatchRequest { Key = "mail", Items = [] }, Stop),
            () => client.GetPublicKeyAsync(new GetPublicKeyRequest { Key = "mail" }, Stop),
            () => client.ListVersionsAsync(new ListVersionsRequest { Key = "mail" }, Stop),
            () => client.ListDeletedKeysAsync(new ListDeletedKeysRequest(), Stop),
            () => client.ReadDeletedKeyHistoryAsync(new DeletedKeyHistoryRequest { Tag = "t" }, Stop),
        ];
        foreach (Func<Task> call in calls)
        {
            daemon.Received.Clear();
            KmsUnreachableException exception = await Assert.ThrowsAsync<KmsUnreachableException>(call);
            Assert.False(exception.OutcomeUnknown);
            Assert.Equal(2, daemon.Received.Count);
        }
    }

    [Fact]
    public async Task A_change_is_never_repeated_and_its_outcome_called_unknown()
    {
        await using var daemon = new FakeDaemon(Close);
        await using var client = new KmsClient(daemon.Path);
        Func<Task>[] changes =
        [
            () => client.AddGrantAsync(Grant, Stop), () => client.RemoveGrantAsync(Grant, Stop),
            () => client.CreateKeyAsync(new CreateKeyRequest { Name = "mail", Type = KeyType.Aes256Gcm96 }, Stop),
            () => client.AddMemberAsync(new AddMemberRequest { Store = "default", Principal = "uid:1", Role = StoreRole.User }, Stop),
            () => client.RemoveMemberAsync(new RemoveMemberRequest { Store = "default", Principal = "uid:1" }, Stop),
            () => client.UpdateKeyAsync(new UpdateKeyRequest { Key = "mail" }, Stop),
            () => client.RotateKeyAsync(Mail, Stop), () => client.EnableKeyAsync(Mail, Stop), () => client.DisableKeyAsync(Mail, Stop),
            () => client.SetRotationPeriodAsync(new SetRotationPeriodRequest { Key = "mail", Days = 1 }, Stop),
            () => client.RequestDeletionAsync(Delete, Stop), () => client.CancelDeletionAsync(Mail, Stop),
            () => client.DeleteNowAsync(Delete, Stop),
            () => client.DisableVersionAsync(VersionOne, Stop), () => client.EnableVersionAsync(VersionOne, Stop),
            () => client.PurgeDeletedKeyAsync(new PurgeDeletedKeyRequest { Tag = "t", Reason = "r" }, Stop),
            () => client.ReleaseDeletionsAsync(Stop),
        ];
        foreach (Func<Task> change in changes)
        {
            daemon.Received.Clear();
            KmsUnreachableException exception = await Assert.ThrowsAsync<KmsUnreachableException>(change);
            Assert.True(exception.OutcomeUnknown);
            _ = Assert.Single(daemon.Received);
        }
    }

    [Fact]
    public async Task After_a_restart_a_change_goes_out_on_a_new_connection()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, """{"grants":[]}"""));
        await using var client = new KmsClient(daemon.Path);
        for (int restarts = 0; restarts < 5; restarts++)
        {
            _ = await client.AddGrantAsync(Grant, Stop);
            await daemon.StopAsync();
            daemon.Start();
            await Task.Delay(50, Stop); // The kernel tells the client of the end; it needs a moment to hear it.
        }

        Assert.Equal(5, daemon.Connections);
    }

    [Fact]
    public async Task Without_a_daemon_it_is_unreachable_and_later_not()
    {
        await using var daemon = new FakeDaemon(call => FakeDaemon.Result(call, Status));
        await daemon.StopAsync();
        await using var client = new KmsClient(daemon.Path);
        KmsUnreachableException refused = await Assert.ThrowsAsync<KmsUnreachableException>(() => client.AddGrantAsync(Grant, Stop));
        Assert.False(refused.OutcomeUnknown);
        daemon.Start();
        Assert.Equal("ok", (await client.GetStatusAsync(Stop)).Status);
    }

    [Theory]
    [InlineData("not JSON")]
    [InlineData("[]")]
    [InlineData("""{"jsonrpc":"2.0","id":"text","result":{}}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1""")]
    public async Task Nonsense_from_the_server_ends_the_connection(string line)
    {
        await using var daemon = new FakeDaemon(_ => line);
        await using var client = new KmsClient(daemon.Path);
        _ = await Assert.ThrowsAsync<KmsUnreachableException>(() => client.GetStatusAsync(Stop));
        Assert.Equal(2, daemon.Connections);
    }

    /// <summary>Closes the first connection; answers on every other.</summary>
    private static Func<FakeCall, string?> CloseFirst(string result)
    {
        FakeConnection? first = null;
        return call => (first ??= call.Connection) == call.Connection ? Close(call) : FakeDaemon.Result(call, result);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            Assert.True(i < 1_000, "It didn't happen within ten seconds.");
            await Task.Delay(10, Stop);
        }
    }

    private static void InterlockedMax(ref int target, int value)
    {
        for (int seen = Volatile.Read(ref target); value > seen; seen = Volatile.Read(ref target))
        {
            _ = Interlocked.CompareExchange(ref target, value, seen);
        }
    }

    private static string? Silence(FakeCall call) => null;

    private static string? Close(FakeCall call)
    {
        call.Connection.Close();
        return null;
    }
}
