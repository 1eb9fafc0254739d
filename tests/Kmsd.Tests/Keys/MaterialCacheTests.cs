using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Keys;
using Kmsd.Metrics;
using Kmsd.RootKeys;
using Kmsd.Tests.RootKeys;
using Microsoft.Extensions.Time.Testing;

namespace Kmsd.Tests.Keys;

public sealed class MaterialCacheTests : IDisposable
{
    private static readonly TimeSpan s_idle = TimeSpan.FromHours(1);

    private readonly MemoryRootKey _root = new([1]);
    private readonly FakeTimeProvider _clock = new();
    private readonly DaemonMeter _meter;
    private readonly CacheMeter _told;

    public MaterialCacheTests()
    {
        _meter = new DaemonMeter(_clock);
        _told = new CacheMeter(_meter);
    }

    public void Dispose()
    {
        _root.Dispose();
        _meter.Dispose();
    }

    [Fact]
    public async Task Material_is_opened_once_and_is_what_was_sealed()
    {
        using MaterialCache cache = new(_root, _clock, 2, s_idle, (_, _) => true, _told);
        Key key = await KeyAsync(7);
        using (MaterialLease first = await LeaseAsync(cache, key))
        using (MaterialLease second = await LeaseAsync(cache, key))
        {
            Assert.Same(first.Key, second.Key);
            Assert.Equal(7, FirstByte(first.Key));
        }

        _ = Assert.Single(_root.Opened);
        Assert.Equal(1, cache.Count);
    }

    [Fact]
    public async Task The_least_recently_used_goes_when_there_is_one_too_many()
    {
        using MaterialCache cache = new(_root, _clock, 2, s_idle, (_, _) => true, _told);
        Key[] keys = [await KeyAsync(0), await KeyAsync(1), await KeyAsync(2)];
        (await LeaseAsync(cache, keys[0])).Dispose();
        (await LeaseAsync(cache, keys[1])).Dispose();
        (await LeaseAsync(cache, keys[0])).Dispose();
        (await LeaseAsync(cache, keys[2])).Dispose();
        Assert.Equal(2, cache.Count);
        SecretBytes[] opened = [.. _root.Opened];
        Assert.Equal([false, true, false], opened.Select(IsGone));
        (await LeaseAsync(cache, keys[0])).Dispose();
        Assert.Equal(3, _root.Opened.Count);
    }

    [Theory]
    [InlineData("evicted")]
    [InlineData("dropped")]
    [InlineData("idle")]
    [InlineData("closed")]
    public async Task What_leaves_the_cache_while_it_is_leased_is_zeroed_when_the_last_lease_ends(string how)
    {
        using MaterialCache cache = new(_root, _clock, 1, s_idle, (_, _) => true, _told);
        Key key = await KeyAsync(7);
        MaterialLease first = await LeaseAsync(cache, key);
        MaterialLease second = await LeaseAsync(cache, key);
        SecretBytes material = ((SoftwareKey)first.Key).Material;
        switch (how)
        {
            case "evicted":
                (await LeaseAsync(cache, await KeyAsync(8))).Dispose();
                break;
            case "dropped":
                cache.Drop(key.Tag);
                break;
            case "idle":
                _clock.Advance(s_idle);
                cache.DropIdle();
                break;
            default:
                cache.Dispose();
                break;
        }

        Assert.Equal(7, FirstByte(material));
        first.Dispose();
        first.Dispose();
        Assert.Equal(7, FirstByte(second.Key));
        second.Dispose();
        Assert.True(IsGone(material));
    }

    [Fact]
    public async Task Only_what_was_idle_for_the_whole_time_goes()
    {
        using MaterialCache cache = new(_root, _clock, 10, s_idle, (_, _) => true, _told);
        Key idle = await KeyAsync(1);
        Key used = await KeyAsync(2);
        (await LeaseAsync(cache, idle)).Dispose();
        (await LeaseAsync(cache, used)).Dispose();
        _clock.Advance(s_idle - TimeSpan.FromSeconds(1));
        cache.DropIdle();
        Assert.Equal(2, cache.Count);
        (await LeaseAsync(cache, used)).Dispose();
        _clock.Advance(TimeSpan.FromSeconds(1));
        cache.DropIdle();
        Assert.Equal(1, cache.Count);
        Assert.Equal([true, false], _root.Opened.Select(IsGone));
    }

    [Fact]
    public async Task Dropping_a_key_leaves_the_others()
    {
        using MaterialCache cache = new(_root, _clock, 10, s_idle, (_, _) => true, _told);
        Key[] keys = [await KeyAsync(0), await KeyAsync(1)];
        (await LeaseAsync(cache, keys[0])).Dispose();
        (await LeaseAsync(cache, keys[1])).Dispose();
        cache.Drop(keys[0].Tag);
        Assert.Equal([true, false], _root.Opened.Select(IsGone));
    }

    [Fact]
    public async Task One_opening_serves_all_who_wait_and_whoever_gives_up_does_not_end_it()
    {
        using MaterialCache cache = new(_root, _clock, 2, s_idle, (_, _) => true, _told);
        using CancellationTokenSource impatient = new();
        Key key = await KeyAsync(7);
        TaskCompletionSource opening = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _root.OpeningWaitsFor = opening.Task;
        Task<MaterialLease> givesUp = cache.LeaseAsync(key, key.CurrentVersion, impatient.Token).AsTask();
        Task<MaterialLease>[] patient = [.. Enumerable.Range(0, 5).Select(_ => LeaseAsync(cache, key))];
        await impatient.CancelAsync();
        _ = await Task.WhenAny(givesUp);
        Assert.True(givesUp.IsCanceled);
        opening.SetResult();
        MaterialLease[] leases = await Task.WhenAll(patient);
        Assert.All(leases, lease => Assert.Equal(7, FirstByte(lease.Key)));
        _ = Assert.Single(_root.Opened);
        Array.ForEach(leases, lease => lease.Dispose());
    }

    [Fact]
    public async Task An_opening_that_fails_is_tried_again_by_the_next_who_asks()
    {
        using MaterialCache cache = new(_root, _clock, 2, s_idle, (_, _) => true, _told);
        Key key = await KeyAsync(7);
        _root.IsAway = true;
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => LeaseAsync(cache, key));
        Assert.Equal(0, cache.Count);
        _root.IsAway = false;
        (await LeaseAsync(cache, key)).Dispose();
        Assert.Equal(1, cache.Count);
    }

    [Fact]
    public async Task Material_opened_for_another_version_store_tag_or_type_is_refused()
    {
        using MaterialCache cache = new(_root, _clock, 2, s_idle, (_, _) => true, _told);
        Key key = await KeyAsync(7);
        Key[] changed =
        [
            key with { StoreId = StoreId.New() }, key with { Tag = KeyTag.New() }, key with { Type = KeyType.Rsa2048 },
            key with { Versions = [key.CurrentVersion with { Number = 2 }] },
        ];
        foreach (Key other in changed)
        {
            _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => LeaseAsync(cache, other));
        }

        (await LeaseAsync(cache, key)).Dispose();
    }

    [Fact]
    public async Task A_key_that_the_token_has_lost_is_unwrapped_again_and_one_that_is_dropped_leaves_the_token()
    {
        using MaterialCache cache = new(_root, _clock, 2, s_idle, (_, _) => true, _told);
        Key key = await KeyAsync(7) with { Protection = KeyProtection.Hsm };
        (SealedMaterial material, _) = await _root.GenerateAsync(key.BindingOf(1), TestContext.Current.CancellationToken);
        key = key.With(key.CurrentVersion with { Material = material });
        using (MaterialLease lease = await LeaseAsync(cache, key))
        {
            _ = Assert.IsType<HsmKey>(lease.Key);
        }

        (await LeaseAsync(cache, key)).Dispose();
        MemoryHeldKey lost = Assert.Single(_root.Held);
        lost.WasLost = true;
        (await LeaseAsync(cache, key)).Dispose();
        Assert.Equal(2, _root.Held.Count);
        Assert.Equal([true, false], _root.Opened.Select(IsGone));
        cache.Drop(key.Tag);
        Assert.Equal([true, true], _root.Opened.Select(IsGone));
    }

    [Fact]
    public async Task A_closed_cache_leases_nothing_and_keeps_nothing_that_was_on_its_way()
    {
        MaterialCache cache = new(_root, _clock, 2, s_idle, (_, _) => true, _told);
        Key key = await KeyAsync(7);
        TaskCompletionSource opening = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _root.OpeningWaitsFor = opening.Task;
        Task<MaterialLease> late = LeaseAsync(cache, key);
        cache.Dispose();
        opening.SetResult();
        _ = await Assert.ThrowsAsync<ObjectDisposedException>(async () => await late);
        Assert.True(IsGone(Assert.Single(_root.Opened)));
        _ = await Assert.ThrowsAsync<ObjectDisposedException>(() => LeaseAsync(cache, key));
    }

    [Fact]
    public async Task Many_threads_lease_while_others_drop_and_nothing_is_left_behind()
    {
        const int Threads = 4;
        const int Leases = 5000;
        Key[] keys = [await KeyAsync(0), await KeyAsync(1), await KeyAsync(2)];
        using (MaterialCache cache = new(_root, _clock, 2, s_idle, (_, _) => true, _told))
        {
            using CancellationTokenSource done = new();
            var dropping = Task.Run(
                () =>
                {
                    while (!done.IsCancellationRequested)
                    {
                        cache.Drop(keys[0].Tag);
                    }
                },
                TestContext.Current.CancellationToken);
            await Task.WhenAll(Enumerable.Range(0, Threads).Select(thread => Task.Run(
                async () =>
                {
                    for (int i = 0; i < Leases; i++)
                    {
                        int which = (thread + i) % 3 == 0 ? i % 3 : 0;
                        using MaterialLease lease = await LeaseAsync(cache, keys[which]);
                        Assert.Equal(which, FirstByte(lease.Key));
                    }
                },
                TestContext.Current.CancellationToken)));
            await done.CancelAsync();
            await dropping;
            Assert.InRange(cache.Count, 0, 2);
        }

        Assert.All(_root.Opened, material => Assert.True(IsGone(material)));
    }

    private static Task<MaterialLease> LeaseAsync(MaterialCache cache, Key key) =>
        cache.LeaseAsync(key, key.CurrentVersion, TestContext.Current.CancellationToken).AsTask();

    private async Task<Key> KeyAsync(byte fill)
    {
        var tag = KeyTag.New();
        var store = StoreId.New();
        using SecretBytes material = new(32, bytes => bytes.Fill(fill));
        SealedMaterial sealedMaterial = await _root.SealAsync(
            material, new MaterialBinding(store.ToBytes(), tag, 1, KeyType.Aes256Gcm96), TestContext.Current.CancellationToken);
        KeyVersion version = new()
        {
            Number = 1,
            State = KeyState.Enabled,
            CreatedAt = default,
            StateChangedAt = default,
            Material = sealedMaterial,
        };
        return new Key
        {
            Tag = tag,
            StoreId = store,
            Name = "key",
            Type = KeyType.Aes256Gcm96,
            Protection = KeyProtection.Software,
            State = KeyState.Enabled,
            Memo = "",
            CreatedAt = default,
            StateChangedAt = default,
            RotationPeriodDays = 90,
            NextRotationAt = default,
            Versions = [version],
        };
    }

    private static byte FirstByte(OpenedKey key) => FirstByte(((SoftwareKey)key).Material);

    private static byte FirstByte(SecretBytes material)
    {
        using SecretLease lease = material.Open();
        return lease.Bytes[0];
    }

    private static bool IsGone(SecretBytes material)
    {
        try
        {
            _ = FirstByte(material);
            return false;
        }
        catch (ObjectDisposedException)
        {
            return true;
        }
    }
}
