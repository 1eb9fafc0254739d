using System.Globalization;
using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm.Tests;

/// <summary>Many threads, and a collector that runs all the time: memory of native calls must be ours for as long as they run.</summary>
public sealed class TokenStressTests
{
    private const int Threads = 8;

    internal static int Operations { get; } = int.Parse(
        Environment.GetEnvironmentVariable("KMS_STRESS_OPERATIONS") ?? "8000", CultureInfo.InvariantCulture);

    [Fact]
    public async Task Under_forced_collections_eight_threads_get_right_results_only()
    {
        int operations = Operations;
        using Token token = SoftHsm.Open(sessions: Threads);
        RootGenerationDescriptor descriptor = token.CreateGeneration(1, SoftHsm.InstanceId);
        RootGeneration root = token.OpenGeneration(descriptor);
        byte[] known = RandomNumberGenerator.GetBytes(32);

        // Stays open until the module is finalised: the known key lives as long as this session.
        ulong session = token.Module.OpenSession(TokenSessions.SlotOf(token), readWrite: false);
        ulong knownHandle = Import(token.Module, session, known);
        using CancellationTokenSource done = new();
        Task<int> collecting = Start(() => Collect(done.Token));
        int[] counts = await Task.WhenAll(Enumerable.Range(0, Threads).Select(
            _ => Start(() => Work(token, root, knownHandle, known, operations / Threads))));
        await done.CancelAsync();
        int collections = await collecting;
        token.DestroyGeneration(descriptor);
        Assert.True(collections > 1);
        Assert.Equal(operations / Threads * Threads, counts.Sum());
        TestContext.Current.TestOutputHelper?.WriteLine($"{counts.Sum()} operations agreed beside {collections} collections.");
    }

    [Fact]
    public async Task Disposal_under_load_ends_every_thread_with_a_typed_refusal()
    {
        Token token = SoftHsm.Open(sessions: Threads);
        RootGenerationDescriptor descriptor = token.CreateGeneration(1, SoftHsm.InstanceId);
        RootGeneration root = token.OpenGeneration(descriptor);
        using SecretBytes material = new(32, bytes => bytes.Fill(1));
        using CountdownEvent working = new(Threads);
        List<Task<Exception>> threads =
            [.. Enumerable.Range(0, Threads).Select(async _ => await Start(() => SealAndOpenUntilRefused(root, material, working)))];
        working.Wait(TestContext.Current.CancellationToken);
        token.Dispose();
        Assert.All(await Task.WhenAll(threads), end => Assert.IsType<ObjectDisposedException>(end));
        using Token again = SoftHsm.Open();
        Assert.Equal(1u, again.OpenGeneration(descriptor).Number);
        again.DestroyGeneration(descriptor);
    }

    internal static Task<T> Start<T>(Func<T> work) =>
        Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static Exception SealAndOpenUntilRefused(RootGeneration root, SecretBytes material, CountdownEvent working)
    {
        bool isFirst = true;
        try
        {
            while (true)
            {
                root.Open(root.Seal(material, []), []).Dispose();
                if (isFirst)
                {
                    isFirst = false;
                    _ = working.Signal();
                }
            }
        }
        catch (Exception exception) when (exception is TokenException or ObjectDisposedException)
        {
            return exception;
        }
    }

    private static int Work(Token token, RootGeneration root, ulong knownHandle, byte[] known, int operations)
    {
        int right = 0;
        for (int i = 0; i < operations; i++)
        {
            byte[] text = RandomNumberGenerator.GetBytes(1 + (i % 512));
            byte[] data = RandomNumberGenerator.GetBytes(i % 128);
            bool isRight = i % 2 == 0 ? SealsAndOpens(root, text, data) : AgreesWithDotNet(token, knownHandle, known, text, data);
            right += isRight ? 1 : 0;
        }

        return right;
    }

    private static bool SealsAndOpens(RootGeneration root, byte[] text, byte[] data)
    {
        using SecretBytes material = new(text.AsSpan().ToArray());
        using SecretBytes opened = root.Open(root.Seal(material, data), data);
        using SecretLease lease = opened.Open();
        return lease.Bytes.SequenceEqual(text);
    }

    private static bool AgreesWithDotNet(Token token, ulong handle, byte[] known, byte[] text, byte[] data)
    {
        byte[] nonce = RandomNumberGenerator.GetBytes(Mechanism.GcmNonceLength);
        byte[] sealedText = token.Operate(session =>
        {
            using var mechanism = Mechanism.AesGcm(nonce, data);
            return token.Module.Encrypt(session, mechanism, handle, text, Mechanism.GcmTagLength);
        });
        byte[] expected = new byte[text.Length + Mechanism.GcmTagLength];
        using AesGcm gcm = new(known, Mechanism.GcmTagLength);
        gcm.Encrypt(nonce, text, expected.AsSpan(0, text.Length), expected.AsSpan(text.Length), data);
        return expected.AsSpan().SequenceEqual(sealedText);
    }

    private static ulong Import(Module module, ulong session, byte[] value)
    {
        using Template template = new();
        return module.CreateObject(session, template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY).Add(CKA.CKA_KEY_TYPE, CKK.CKK_AES)
            .Add(CKA.CKA_TOKEN, false).Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_ENCRYPT, true).Add(CKA.CKA_VALUE, value));
    }

    internal static int Collect(CancellationToken done)
    {
        int count = 0;
        while (!done.IsCancellationRequested)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            count++;
        }

        return count;
    }
}
