using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm.Tests;

/// <summary>When a key's object in the token ends: never under an operation, always after the last one.</summary>
public sealed class TokenKeyLifetimeTests : IDisposable
{
    private const int Threads = 8;

    private static readonly byte[] s_digest = SHA256.HashData("a message"u8);

    private readonly Token _token = SoftHsm.Open(sessions: Threads);
    private readonly RootGenerationDescriptor _descriptor;
    private readonly RootGeneration _root;
    private readonly int _objects;

    public TokenKeyLifetimeTests()
    {
        _descriptor = _token.CreateGeneration(1, SoftHsm.InstanceId);
        _root = _token.OpenGeneration(_descriptor);
        _objects = TokenSessions.CountObjects(_token);
    }

    public void Dispose()
    {
        _token.Dispose();
        using Token token = SoftHsm.Open();
        token.DestroyGeneration(_descriptor);
    }

    [Fact]
    public void After_disposal_every_operation_is_refused_and_the_object_is_gone()
    {
        TokenKey aes = _root.GenerateKey(TokenKeyType.Aes256, out _);
        TokenKey rsa = _root.GenerateKey(TokenKeyType.Rsa2048, out _);
        TokenKey ecdsa = _root.GenerateKey(TokenKeyType.EcdsaP256, out _);
        byte[] payload = aes.Encrypt([], []);
        aes.Dispose();
        rsa.Dispose();
        ecdsa.Dispose();
        Action[] operations =
        [
            () => aes.Encrypt([], []), () => aes.Decrypt(payload, [], []), () => rsa.DecryptRaw(new byte[256], new byte[256]),
            () => rsa.SignPss(s_digest), () => rsa.SignPkcs1(s_digest), () => ecdsa.SignEcdsa(s_digest),
        ];
        Assert.All(operations, operation => Assert.Throws<ObjectDisposedException>(operation));
        Assert.Equal(_objects, TokenSessions.CountObjects(_token));
    }

    [Fact]
    public async Task An_object_stays_until_the_operation_that_uses_it_has_ended()
    {
        using FaultyModule module = new();
        using Token other = Reopened(out RootGeneration root);
        TokenKey key = root.GenerateKey(TokenKeyType.Aes256, out _);
        using ManualResetEventSlim hasBegun = new();
        using ManualResetEventSlim until = new();
        FaultyModule.HangEncryptions(hasBegun, until);
        Task<byte[]> running = Start(() => key.Encrypt("a text"u8, []));
        hasBegun.Wait(TestContext.Current.CancellationToken);
        key.Dispose();
        Assert.Equal(_objects + 1, TokenSessions.CountObjects(other));
        _ = Assert.Throws<ObjectDisposedException>(() => key.Encrypt([], []));
        until.Set();
        Assert.Equal(34, (await running).Length);
        Assert.Equal(_objects, TokenSessions.CountObjects(other));
        FaultyModule.HangEncryptions(null, null);
    }

    [Theory]
    [InlineData(TokenKeyType.Aes256)]
    [InlineData(TokenKeyType.EcdsaP256)]
    [InlineData(TokenKeyType.Rsa2048)]
    public async Task Disposal_under_eight_threads_of_use_ends_each_with_a_refusal_and_never_with_a_wrong_result(TokenKeyType type)
    {
        int rounds = TokenStressTests.Operations / 400;
        _root.GenerateKey(type, out WrappedKey wrapped).Dispose();
        using ECDsa? ecdsa = type == TokenKeyType.EcdsaP256 ? ECDsa.Create() : null;
        ecdsa?.ImportSubjectPublicKeyInfo(wrapped.PublicKey, out _);
        int done = 0;
        for (int round = 0; round < rounds; round++)
        {
            TokenKey key = _root.UnwrapKey(type, wrapped.Blob, wrapped.Mechanism);
            using CountdownEvent working = new(Threads);
            List<Task<int>> threads =
                [.. Enumerable.Range(0, Threads).Select(async _ => await Start(() => UseUntilRefused(key, ecdsa, working)))];
            working.Wait(TestContext.Current.CancellationToken);
            key.Dispose();
            done += (await Task.WhenAll(threads)).Sum();
            Assert.Equal(_objects, TokenSessions.CountObjects(_token));
        }

        Assert.True(done >= rounds * Threads);
        TestContext.Current.TestOutputHelper?.WriteLine($"{type}: {done} operations in {rounds} rounds.");
    }

    [Fact]
    public void After_its_session_was_lost_a_key_is_unavailable_for_ever_and_new_ones_live_in_another()
    {
        TokenKey aes = _root.GenerateKey(TokenKeyType.Aes256, out WrappedKey wrapped);
        using TokenKey ecdsa = _root.GenerateKey(TokenKeyType.EcdsaP256, out _);
        byte[] payload = aes.Encrypt("a text"u8, []);
        _token.Module.CloseSession(_token.Keys.Session);

        Unavailable(() => aes.Encrypt([], []));
        using TokenKey again = _root.UnwrapKey(TokenKeyType.Aes256, wrapped.Blob, wrapped.Mechanism);
        Unavailable(() => aes.Decrypt(payload, [], new byte[6]));
        Unavailable(() => ecdsa.SignEcdsa(s_digest));
        byte[] text = new byte[6];
        again.Decrypt(payload, [], text);
        Assert.Equal("a text"u8, text);

        // The old key's end is not the new one's.
        aes.Dispose();
        Assert.Equal(_objects + 1, TokenSessions.CountObjects(_token));
        again.Decrypt(payload, [], text);
    }

    [Fact]
    public void A_lost_session_is_noticed_by_whoever_unwraps_next()
    {
        using TokenKey key = _root.GenerateKey(TokenKeyType.Aes256, out WrappedKey wrapped);
        _token.Module.CloseSession(_token.Keys.Session);
        Unavailable(() => _root.UnwrapKey(TokenKeyType.Aes256, wrapped.Blob, wrapped.Mechanism).Dispose());
        using TokenKey again = _root.UnwrapKey(TokenKeyType.Aes256, wrapped.Blob, wrapped.Mechanism);
        Unavailable(() => key.Encrypt([], []));
        _ = again.Encrypt([], []);
    }

    [Fact]
    public void After_a_lost_login_every_key_is_unavailable_and_a_bad_tag_is_no_excuse()
    {
        using LimitedModule module = new();
        using Token token = Reopened(out RootGeneration root);
        using TokenKey aes = root.GenerateKey(TokenKeyType.Aes256, out WrappedKey wrapped);
        using TokenKey rsa = root.GenerateKey(TokenKeyType.Rsa2048, out _);
        using TokenKey ecdsa = root.GenerateKey(TokenKeyType.EcdsaP256, out _);
        byte[] payload = aes.Encrypt("a text"u8, []);
        Assert.Equal(0u, LimitedModule.Logout(token.Operate(session => session)));
        Unavailable(() => aes.Decrypt(payload, [], new byte[6]));
        Unavailable(() => aes.Encrypt([], []));
        Unavailable(() => rsa.SignPss(s_digest));
        Unavailable(() => rsa.DecryptRaw(new byte[256], new byte[256]));
        Unavailable(() => ecdsa.SignEcdsa(s_digest));
        Unavailable(() => root.UnwrapKey(TokenKeyType.Aes256, wrapped.Blob, wrapped.Mechanism).Dispose());
        Unavailable(() => root.GenerateKey(TokenKeyType.Aes256, out _).Dispose());
    }

    [Fact]
    public void An_object_that_could_not_be_destroyed_goes_with_the_next_call()
    {
        using LimitedModule module = new();
        using Token token = Reopened(out RootGeneration root);
        TokenKey key = root.GenerateKey(TokenKeyType.Aes256, out WrappedKey wrapped);
        LimitedModule.FailDestructions(2);
        key.Dispose();
        Assert.Equal(_objects + 1, TokenSessions.CountObjects(token));
        root.UnwrapKey(TokenKeyType.Aes256, wrapped.Blob, wrapped.Mechanism).Dispose();
        Assert.Equal(_objects, TokenSessions.CountObjects(token));
    }

    [Fact]
    public void A_session_that_only_seemed_lost_is_closed_and_leaves_no_key_behind()
    {
        using LimitedModule module = new();
        using Token token = Reopened(out RootGeneration root);
        using TokenKey key = root.GenerateKey(TokenKeyType.Aes256, out WrappedKey wrapped);
        LimitedModule.Lack(CKM.CKM_AES_GCM, CKR.CKR_DEVICE_ERROR);
        LimitedModule.FailSessionInfos(1);
        Unavailable(() => key.Encrypt([], []));
        LimitedModule.Lack(CKM.CKM_VENDOR_DEFINED);
        Unavailable(() => key.Encrypt([], []));
        Assert.Equal(_objects + 1, TokenSessions.CountObjects(token));
        using TokenKey again = root.UnwrapKey(TokenKeyType.Aes256, wrapped.Blob, wrapped.Mechanism);
        Assert.Equal(_objects + 1, TokenSessions.CountObjects(token));
        _ = again.Encrypt([], []);
    }

    [Fact]
    public void A_fault_that_leaves_the_session_leaves_its_keys()
    {
        using LimitedModule module = new();
        using Token token = Reopened(out RootGeneration root);
        using TokenKey key = root.GenerateKey(TokenKeyType.Aes256, out _);
        LimitedModule.Lack(CKM.CKM_AES_GCM, CKR.CKR_DEVICE_ERROR);
        Unavailable(() => key.Encrypt([], []));
        LimitedModule.Lack(CKM.CKM_VENDOR_DEFINED);
        Assert.Equal(28, key.Encrypt([], []).Length);
    }

    [Fact]
    public void A_key_outlives_the_sessions_it_is_used_in()
    {
        using TokenKey key = _root.GenerateKey(TokenKeyType.Aes256, out _);
        HashSet<ulong> used = [];
        for (int i = 0; i < 20; i++)
        {
            byte[] payload = key.Encrypt("a text"u8, []);
            payload[^1] ^= 1;

            // A failed operation closes its worker session.
            _ = Assert.Throws<SealedBlobException>(() => key.Decrypt(payload, [], new byte[6]));
            _ = used.Add(_token.Operate(session => session));
        }

        Assert.True(used.Count > 1);
        Assert.DoesNotContain(_token.Keys.Session, used);
    }

    [Fact]
    public void Disposal_after_the_tokens_is_no_error()
    {
        TokenKey key = _root.GenerateKey(TokenKeyType.Aes256, out _);
        _token.Dispose();
        _ = Assert.Throws<ObjectDisposedException>(() => key.Encrypt([], []));
        key.Dispose();
    }

    private static int UseUntilRefused(TokenKey key, ECDsa? ecdsa, CountdownEvent working)
    {
        for (int done = 0; ; done++)
        {
            try
            {
                bool isRight = key.Type switch
                {
                    TokenKeyType.Aes256 => EncryptsAndDecrypts(key),
                    TokenKeyType.EcdsaP256 => ecdsa!.VerifyHash(s_digest, key.SignEcdsa(s_digest)),
                    _ => key.SignPkcs1(s_digest).Length == 256,
                };
                Assert.True(isRight);
            }
            catch (ObjectDisposedException)
            {
                return done;
            }

            if (done == 0)
            {
                _ = working.Signal();
            }
        }
    }

    private static bool EncryptsAndDecrypts(TokenKey key)
    {
        byte[] text = RandomNumberGenerator.GetBytes(40);
        byte[] opened = new byte[40];
        key.Decrypt(key.Encrypt(text, s_digest), s_digest, opened);
        return opened.AsSpan().SequenceEqual(text);
    }

    private static void Unavailable(Action operation) =>
        Assert.Equal(TokenFault.Unavailable, Assert.Throws<TokenException>(operation).Fault);

    private static Task<T> Start<T>(Func<T> work) =>
        Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>A module reads its function table when it is loaded.</summary>
    private Token Reopened(out RootGeneration root)
    {
        _token.Dispose();
        Token token = SoftHsm.Open(sessions: Threads);
        root = token.OpenGeneration(_descriptor);
        return token;
    }
}
