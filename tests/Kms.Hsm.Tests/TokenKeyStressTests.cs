using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;

namespace Kms.Hsm.Tests;

/// <summary>
/// Eight threads that make, unwrap, use and drop keys side by side, under a collector that runs all the time: every result is
/// checked, no operation fails, and nothing stays in the token.
/// </summary>
public sealed class TokenKeyStressTests
{
    private const int Threads = 8;

    // A quarter of those of the generation alone: keys are made among them.
    private static readonly int s_operations = TokenStressTests.Operations / 4;

    private static readonly byte[] s_data = "what it belongs to"u8.ToArray();

    [Fact]
    public async Task Keys_come_and_go_beside_those_in_use_and_every_result_is_right()
    {
        using Token token = SoftHsm.Open(sessions: Threads);
        RootGenerationDescriptor descriptor = token.CreateGeneration(1, SoftHsm.InstanceId);
        RootGeneration root = token.OpenGeneration(descriptor);
        int before = TokenSessions.CountObjects(token);
        ConcurrentBag<Exception> failures = [];
        var watch = Stopwatch.StartNew();
        int right;
        int collections;
        using (Ring ring = new(root))
        using (CancellationTokenSource done = new())
        {
            Task<int> collecting = TokenStressTests.Start(() => TokenStressTests.Collect(done.Token));
            List<Task<int>> working =
            [
                .. Enumerable.Range(0, Threads).Select(
                    async thread => await TokenStressTests.Start(() => Work(root, ring, thread, s_operations / Threads, failures))),
            ];
            right = (await Task.WhenAll(working)).Sum();
            await done.CancelAsync();
            collections = await collecting;
        }

        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{right} right operations beside {collections} collections in {watch.Elapsed.TotalSeconds:f1} s; {failures.Count} failed.");
        Assert.Empty(failures);
        Assert.Equal(s_operations / Threads * Threads, right);
        Assert.Equal(before, TokenSessions.CountObjects(token));
        token.DestroyGeneration(descriptor);
    }

    private static int Work(RootGeneration root, Ring ring, int thread, int operations, ConcurrentBag<Exception> failures)
    {
        int right = 0;
        for (int i = 0; i < operations; i++)
        {
            try
            {
                right += Step(root, ring, (i * Threads) + thread) ? 1 : 0;
            }
            catch (Exception exception) when (exception is TokenException or SealedBlobException or CryptographicException)
            {
                failures.Add(exception);
            }
        }

        return right;
    }

    private static bool Step(RootGeneration root, Ring ring, int number) => (number % 400) switch
    {
        // Rare, because they take long: 2 of 400 make an RSA key.
        0 or 200 => Makes(root, TokenKeyType.Rsa2048),
        < 10 => Makes(root, TokenKeyType.EcdsaP256),
        < 40 => Makes(root, TokenKeyType.Aes256),
        < 160 => ring.UnwrapsAndUses(number),
        < 180 => ring.RefusesABadBlob(number),
        < 200 => ring.RefusesABadTag(),
        < 230 => Seals(root),
        _ => ring.UsesAShared(number),
    };

    private static bool Makes(RootGeneration root, TokenKeyType type)
    {
        using TokenKey key = root.GenerateKey(type, out WrappedKey wrapped);
        using Judge judge = new(type, wrapped.PublicKey);
        return judge.Agrees(key);
    }

    private static bool Seals(RootGeneration root)
    {
        byte[] text = RandomNumberGenerator.GetBytes(32);
        using SecretBytes material = new(text.AsSpan().ToArray());
        using SecretBytes opened = root.Open(root.Seal(material, s_data), s_data);
        using SecretLease lease = opened.Open();
        return lease.Bytes.SequenceEqual(text);
    }

    /// <summary>What .NET says of a key's results.</summary>
    private sealed class Judge : IDisposable
    {
        private readonly RSA _rsa = RSA.Create();
        private readonly ECDsa _ecdsa = ECDsa.Create();

        public Judge(TokenKeyType type, byte[]? publicKey)
        {
            if (type == TokenKeyType.Rsa2048)
            {
                _rsa.ImportSubjectPublicKeyInfo(publicKey, out _);
            }
            else if (type == TokenKeyType.EcdsaP256)
            {
                _ecdsa.ImportSubjectPublicKeyInfo(publicKey, out _);
            }
        }

        public bool Agrees(TokenKey key)
        {
            byte[] digest = RandomNumberGenerator.GetBytes(32);
            byte[] opened = new byte[32];
            switch (key.Type)
            {
                case TokenKeyType.Aes256:
                    key.Decrypt(key.Encrypt(digest, s_data), s_data, opened);
                    return opened.AsSpan().SequenceEqual(digest);
                case TokenKeyType.EcdsaP256:
                    lock (_ecdsa)
                    {
                        return _ecdsa.VerifyHash(digest, key.SignEcdsa(digest));
                    }

                default:
                    return AgreesOnRsa(key, digest);
            }
        }

        public void Dispose()
        {
            _rsa.Dispose();
            _ecdsa.Dispose();
        }

        private bool AgreesOnRsa(TokenKey key, byte[] digest)
        {
            byte[] encoded = new byte[256];
            byte[] payload;
            lock (_rsa)
            {
                payload = _rsa.Encrypt(digest, RSAEncryptionPadding.Pkcs1);
            }

            key.DecryptRaw(payload, encoded);
            byte[] signature = digest[0] % 2 == 0 ? key.SignPss(digest) : key.SignPkcs1(digest);
            lock (_rsa)
            {
                return encoded.AsSpan(224).SequenceEqual(digest) && _rsa.VerifyHash(
                    digest, signature, HashAlgorithmName.SHA256, digest[0] % 2 == 0 ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1);
            }
        }
    }

    /// <summary>A key of each type that all threads share, and its blob.</summary>
    private sealed class Ring : IDisposable
    {
        private readonly List<(TokenKey Key, WrappedKey Wrapped, Judge Judge)> _keys = [];

        public Ring(RootGeneration root)
        {
            Root = root;
            foreach (TokenKeyType type in new[] { TokenKeyType.Aes256, TokenKeyType.Rsa2048, TokenKeyType.EcdsaP256 })
            {
                TokenKey key = root.GenerateKey(type, out WrappedKey wrapped);
                _keys.Add((key, wrapped, new Judge(type, wrapped.PublicKey)));
            }
        }

        private RootGeneration Root { get; }

        public bool UsesAShared(int number) => _keys[number % 3].Judge.Agrees(_keys[number % 3].Key);

        public bool UnwrapsAndUses(int number)
        {
            (TokenKey shared, WrappedKey wrapped, Judge judge) = _keys[number % 3];
            using TokenKey key = Root.UnwrapKey(shared.Type, wrapped.Blob, wrapped.Mechanism);
            return judge.Agrees(key);
        }

        public bool RefusesABadBlob(int number)
        {
            (TokenKey shared, WrappedKey wrapped, _) = _keys[number % 3];
            byte[] blob = [.. wrapped.Blob];
            blob[number % blob.Length] ^= 4;
            try
            {
                Root.UnwrapKey(shared.Type, blob, wrapped.Mechanism).Dispose();
                return false;
            }
            catch (SealedBlobException)
            {
                return true;
            }
        }

        public bool RefusesABadTag()
        {
            byte[] payload = _keys[0].Key.Encrypt(s_data, s_data);
            payload[^1] ^= 1;
            try
            {
                _keys[0].Key.Decrypt(payload, s_data, new byte[s_data.Length]);
                return false;
            }
            catch (SealedBlobException)
            {
                return true;
            }
        }

        public void Dispose() => _keys.ForEach(entry =>
        {
            entry.Key.Dispose();
            entry.Judge.Dispose();
        });
    }
}
