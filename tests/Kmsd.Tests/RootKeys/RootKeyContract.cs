using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.RootKeys;

namespace Kmsd.Tests.RootKeys;

/// <summary>What every root key promises; run on the one in memory, which tests of operations use, and on the token's.</summary>
public abstract class RootKeyContract
{
    private static readonly byte[] s_store = [.. Enumerable.Repeat((byte)5, 16)];

    private static readonly MaterialBinding s_binding = new(
        s_store, KeyTag.Parse("000102030405060708090a0b0c0d0e0f"), 1, KeyType.Aes256Gcm96);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_was_sealed_opens_under_its_binding()
    {
        using RootKey root = Make();
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        byte[] blob = await root.SealAsync(material, s_binding, Cancellation);
        Assert.NotEqual(blob, await root.SealAsync(material, s_binding, Cancellation));
        using SecretBytes opened = await root.OpenAsync(blob, s_binding, Cancellation);
        using SecretLease lease = opened.Open();
        Assert.Equal(Enumerable.Repeat((byte)7, 32), lease.Bytes.ToArray());
    }

    [Fact]
    public async Task Another_binding_is_an_integrity_failure_whichever_part_of_it_differs()
    {
        using RootKey root = Make();
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        byte[] blob = await root.SealAsync(material, s_binding, Cancellation);
        MaterialBinding[] others =
        [
            s_binding with { StoreId = [.. Enumerable.Repeat((byte)6, 16)] },
            s_binding with { Tag = KeyTag.Parse("000102030405060708090a0b0c0d0e0e") },
            s_binding with { Version = 2 },
            s_binding with { Type = KeyType.Rsa2048 },
        ];
        foreach (MaterialBinding other in others)
        {
            _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => OpenAsync(root, blob, other));
        }

        await OpenAsync(root, blob, s_binding);
        Assert.True(root.IsAvailable);
    }

    [Fact]
    public async Task An_altered_or_cut_blob_is_an_integrity_failure_and_the_root_stays_available()
    {
        using RootKey root = Make();
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        byte[] blob = await root.SealAsync(material, s_binding, Cancellation);
        for (int i = 0; i < blob.Length; i++)
        {
            byte[] changed = [.. blob];
            changed[i] ^= 0x80;
            _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => OpenAsync(root, changed, s_binding));
            byte[] cut = blob[..i];
            _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => OpenAsync(root, cut, s_binding));
        }

        await OpenAsync(root, blob, s_binding);
        Assert.True(root.IsAvailable);
    }

    [Fact]
    public async Task Random_fills_all_that_was_asked_for()
    {
        using RootKey root = Make();
        byte[] first = new byte[64];
        byte[] second = new byte[64];
        await root.FillRandomAsync(first, Cancellation);
        await root.FillRandomAsync(second, Cancellation);
        Assert.NotEqual(first, second);
        Assert.True(first.AsSpan(32).IndexOfAnyExcept((byte)0) >= 0);
    }

    [Fact]
    public void It_says_how_its_blobs_are_made()
    {
        using RootKey root = Make();
        Assert.Equal(1, root.Generation);
        Assert.Equal("CKM_AES_GCM", root.SealMechanism);
        Assert.NotEqual("", root.TokenFamily);
    }

    [Fact]
    public async Task Many_callers_at_once_each_get_their_own()
    {
        using RootKey root = Make();
        await Task.WhenAll(Enumerable.Range(0, 64).Select(async number =>
        {
            using SecretBytes material = new(32, bytes => bytes.Fill((byte)number));
            MaterialBinding binding = s_binding with { Version = number + 1 };
            byte[] blob = await root.SealAsync(material, binding, Cancellation);
            using SecretBytes opened = await root.OpenAsync(blob, binding, Cancellation);
            using SecretLease lease = opened.Open();
            Assert.Equal((byte)number, lease.Bytes[31]);
        }));
    }

    private protected abstract RootKey Make();

    private static async Task OpenAsync(RootKey root, byte[] blob, MaterialBinding binding)
    {
        using SecretBytes opened = await root.OpenAsync(blob, binding, Cancellation);
        Assert.Equal(32, opened.Length);
    }
}

public sealed class MemoryRootKeyTests : RootKeyContract
{
    private protected override RootKey Make() => new MemoryRootKey([1]);
}
