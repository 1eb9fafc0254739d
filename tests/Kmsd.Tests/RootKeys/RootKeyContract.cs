using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Keys;
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
        SealedMaterial blob = await root.SealAsync(material, s_binding, Cancellation);
        Assert.NotEqual(blob.Blob, (await root.SealAsync(material, s_binding, Cancellation)).Blob);
        using SecretBytes opened = await root.OpenAsync(blob, s_binding, Cancellation);
        using SecretLease lease = opened.Open();
        Assert.Equal(Enumerable.Repeat((byte)7, 32), lease.Bytes.ToArray());
    }

    [Fact]
    public async Task Another_binding_is_an_integrity_failure_whichever_part_of_it_differs()
    {
        using RootKey root = Make();
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        SealedMaterial blob = await root.SealAsync(material, s_binding, Cancellation);
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
        SealedMaterial blob = await root.SealAsync(material, s_binding, Cancellation);
        for (int i = 0; i < blob.Blob.Length; i++)
        {
            byte[] changed = [.. blob.Blob];
            changed[i] ^= 0x80;
            _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => OpenAsync(root, blob with { Blob = changed }, s_binding));
            byte[] cut = blob.Blob[..i];
            _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => OpenAsync(root, blob with { Blob = cut }, s_binding));
        }

        _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => OpenAsync(root, blob with { Generation = 2 }, s_binding));

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
    public async Task It_says_how_its_blobs_are_made()
    {
        using RootKey root = Make();
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        SealedMaterial blob = await root.SealAsync(material, s_binding, Cancellation);
        Assert.Equal((1, "CKM_AES_GCM", root.TokenFamily), (blob.Generation, blob.Mechanism, blob.TokenFamily));
        Assert.Equal(1, root.Generation);
        Assert.NotEqual("", root.TokenFamily);
        Assert.Null(blob.Binding);
    }

    [Theory]
    [InlineData(KeyType.Aes256Gcm96, "CKM_AES_KEY_WRAP")]
    [InlineData(KeyType.Rsa2048, "CKM_AES_KEY_WRAP_PAD")]
    [InlineData(KeyType.EcdsaP256, "CKM_AES_KEY_WRAP_PAD")]
    public async Task A_key_made_in_the_token_does_after_it_was_wrapped_what_its_type_can(KeyType type, string mechanism)
    {
        using RootKey root = Make();
        MaterialBinding binding = s_binding with { Type = type };
        (SealedMaterial material, byte[]? publicKey) = await root.GenerateAsync(binding, Cancellation);
        Assert.Equal((1, mechanism, root.TokenFamily), (material.Generation, material.Mechanism, material.TokenFamily));
        Assert.NotNull(material.Binding);
        using HeldKey key = await root.UnwrapAsync(material, publicKey, binding, Cancellation);
        Assert.False(key.IsLost);
        byte[] digest = SHA256.HashData("a message"u8);
        switch (type)
        {
            case KeyType.Aes256Gcm96:
                Assert.Null(publicKey);
                using (SensitiveBytes text = new("a text"u8))
                using (SensitiveBytes? opened = await key.DecryptAsync(await key.EncryptAsync(text, digest, Cancellation), digest, Cancellation))
                {
                    Assert.Equal("a text"u8.ToArray(), opened!.AsSpan().ToArray());
                    byte[] payload = await key.EncryptAsync(text, digest, Cancellation);
                    payload[^1] ^= 1;
                    Assert.Null(await key.DecryptAsync(payload, digest, Cancellation));
                }

                break;
            case KeyType.Rsa2048:
                foreach (SignatureAlgorithm algorithm in new[] { SignatureAlgorithm.RsaPssSha256, SignatureAlgorithm.RsaPkcs1Sha256 })
                {
                    byte[] made = await key.SignAsync(digest, algorithm, Cancellation);
                    Assert.True(Rsa2048.Verify(publicKey, digest, made, algorithm));
                }

                using (SensitiveBytes? block = await key.DecryptRawAsync(Rsa2048.Encrypt(publicKey, "a text"u8), Cancellation))
                {
                    byte[] message = new byte[190];
                    Assert.True(Oaep.TryDecode(block!.AsSpan(), message, out int length));
                    Assert.Equal("a text"u8.ToArray(), message[..length]);
                }

                Assert.Null(await key.DecryptRawAsync([.. Enumerable.Repeat((byte)255, 256)], Cancellation));
                break;
            default:
                byte[] signature = await key.SignAsync(digest, SignatureAlgorithm.EcdsaSha256, Cancellation);
                Assert.True(EcdsaP256.Verify(publicKey, digest, signature, DSASignatureFormat.IeeeP1363FixedFieldConcatenation));
                break;
        }
    }

    [Theory]
    [InlineData(KeyType.Aes256Gcm96)]
    [InlineData(KeyType.Rsa2048)]
    [InlineData(KeyType.EcdsaP256)]
    public async Task A_key_of_the_token_is_unwrapped_for_what_it_belongs_to_and_for_nothing_else(KeyType type)
    {
        using RootKey root = Make();
        MaterialBinding binding = s_binding with { Type = type };
        (SealedMaterial material, byte[]? publicKey) = await root.GenerateAsync(binding, Cancellation);
        (SealedMaterial other, byte[]? otherPublicKey) = await root.GenerateAsync(binding with { Version = 2 }, Cancellation);
        (SealedMaterial Material, byte[]? PublicKey, MaterialBinding Binding)[] mixed =
        [
            (material, publicKey, binding with { Version = 2 }),
            (material, publicKey, binding with { Tag = KeyTag.New() }),
            (material, publicKey, binding with { StoreId = [.. Enumerable.Repeat((byte)6, 16)] }),
            (other, otherPublicKey, binding),
            (material with { Blob = other.Blob }, publicKey, binding),
            (material with { Blob = other.Blob, Binding = other.Binding }, publicKey, binding),
            (material with { Binding = other.Binding }, publicKey, binding),
            (material with { Binding = null }, publicKey, binding),
            (material with { Binding = [] }, publicKey, binding),
            (material with { Generation = 2 }, publicKey, binding),
            (material with { Blob = material.Blob[..^8] }, publicKey, binding),
        ];
        if (publicKey is not null)
        {
            mixed = [.. mixed, (material, otherPublicKey, binding), (material, null, binding), (material, [1, 2, 3], binding)];
        }

        foreach ((SealedMaterial wrong, byte[]? itsPublicKey, MaterialBinding itsBinding) in mixed)
        {
            _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, async () =>
            {
                using HeldKey key = await root.UnwrapAsync(wrong, itsPublicKey, itsBinding, Cancellation);
            });
        }

        using HeldKey right = await root.UnwrapAsync(material, publicKey, binding, Cancellation);
        Assert.True(root.IsAvailable);
    }

    [Fact]
    public async Task Of_versions_that_are_carried_over_together_each_has_its_own_outcome()
    {
        using RootKey root = Make();
        using SecretBytes secret = new(32, bytes => bytes.Fill(7));
        MaterialBinding binding = s_binding with { Type = KeyType.EcdsaP256 };
        SealedMaterial material = await root.SealAsync(secret, s_binding, Cancellation);
        (SealedMaterial held, byte[]? publicKey) = await root.GenerateAsync(binding, Cancellation);
        byte[] altered = [.. material.Blob];
        altered[^1] ^= 1;
        IReadOnlyList<Rewrapped> made = await root.RewrapAsync(
            [
                new ToRewrap(material, KeyProtection.Software, null, s_binding),
                new ToRewrap(material with { Blob = altered }, KeyProtection.Software, null, s_binding),
                new ToRewrap(held, KeyProtection.Hsm, publicKey, binding),
                new ToRewrap(held, KeyProtection.Hsm, publicKey, binding with { Version = 2 }),
                new ToRewrap(material with { Generation = 2 }, KeyProtection.Software, null, s_binding),
                new ToRewrap(material, KeyProtection.Software, null, s_binding),
            ],
            root.Generation,
            Cancellation);
        KmsErrorCode? refused = KmsErrorCode.IntegrityFailure;
        Assert.Equal([null, refused, null, refused, refused, null], made.Select(one => one.Refusal?.Code));
        foreach (int i in new[] { 0, 5 })
        {
            Assert.NotEqual(material.Blob, made[i].Material!.Blob);
            await OpenAsync(root, made[i].Material!, s_binding);
        }

        using HeldKey key = await root.UnwrapAsync(made[2].Material!, publicKey, binding, Cancellation);
        Assert.All([1, 3, 4], i => Assert.Null(made[i].Material));
        Assert.True(root.IsAvailable);
    }

    [Fact]
    public async Task Many_callers_at_once_each_get_their_own()
    {
        using RootKey root = Make();
        await Task.WhenAll(Enumerable.Range(0, 64).Select(async number =>
        {
            using SecretBytes material = new(32, bytes => bytes.Fill((byte)number));
            MaterialBinding binding = s_binding with { Version = number + 1 };
            SealedMaterial blob = await root.SealAsync(material, binding, Cancellation);
            using SecretBytes opened = await root.OpenAsync(blob, binding, Cancellation);
            using SecretLease lease = opened.Open();
            Assert.Equal((byte)number, lease.Bytes[31]);
        }));
    }

    [Fact]
    public async Task A_generation_derives_the_same_whether_it_is_named_or_found()
    {
        using RootKey root = Make();
        _ = await root.CreateGenerationAsync(StoredGeneration.Plan(
            7, [.. Enumerable.Range(1, 16).Select(number => (byte)number)], StoredGeneration.TokenOrigin, DateTimeOffset.UnixEpoch, rotateDays: 365));
        using SecretBytes named = await root.DeriveKeyAsync("rows", 7, Cancellation);
        using SecretBytes? found = await root.FindDerivedKeyAsync("rows", 7);
        using SecretLease one = named.Open();
        using SecretLease other = found!.Open();
        Assert.Equal(one.Bytes.ToArray(), other.Bytes.ToArray());
    }

    [Theory]
    [InlineData(8)]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(1L << 32)]
    [InlineData((1L << 32) + 1)]
    [InlineData(long.MaxValue)]
    public async Task A_generation_that_isnt_there_derives_nothing(long generation)
    {
        using RootKey root = Make();
        using SecretBytes? found = await root.FindDerivedKeyAsync("rows", generation);
        Assert.Null(found);
    }

    private protected abstract RootKey Make();

    private static async Task OpenAsync(RootKey root, SealedMaterial blob, MaterialBinding binding)
    {
        using SecretBytes opened = await root.OpenAsync(blob, binding, Cancellation);
        Assert.Equal(32, opened.Length);
    }
}

public sealed class MemoryRootKeyTests : RootKeyContract
{
    private protected override RootKey Make() => new MemoryRootKey([1]);
}
