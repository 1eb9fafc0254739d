using System.Security.Cryptography;
using Kms.Hsm.Native;

namespace Kms.Hsm.Tests;

public sealed class TokenTests
{
    [Fact]
    public void A_token_is_found_by_its_label_and_says_what_it_is()
    {
        using Token token = SoftHsm.Open();
        Assert.Equal(SoftHsm.Label, token.Description.Label);
        Assert.Equal(16, token.Description.Serial.Length);
        Assert.Equal($"{token.Description.Manufacturer}/{token.Description.Model}", token.Description.Family);
        Assert.Contains("SoftHSM", token.Description.Family, StringComparison.Ordinal);
    }

    [Fact]
    public void A_token_is_found_by_its_serial()
    {
        string serial;
        using (Token byLabel = SoftHsm.Open(SoftHsm.OtherLabel))
        {
            serial = byLabel.Description.Serial;
        }

        using Token token = SoftHsm.Open(label: null, serial);
        Assert.Equal(SoftHsm.OtherLabel, token.Description.Label);
    }

    [Fact]
    public void Of_two_tokens_with_one_label_neither_is_taken_and_each_is_named_by_serial()
    {
        TokenException refusal = Assert.Throws<TokenException>(() => SoftHsm.Open(SoftHsm.TwinLabel).Dispose());
        Assert.Equal(TokenFault.TokenAmbiguous, refusal.Fault);
        string[] serials = refusal.Message.Split(["serial: ", ", ", "."], StringSplitOptions.RemoveEmptyEntries)[^2..];
        foreach (string serial in serials)
        {
            using Token token = SoftHsm.Open(label: null, serial);
            Assert.Equal(SoftHsm.TwinLabel, token.Description.Label);
            Assert.Equal(serial, token.Description.Serial);
        }

        Assert.NotEqual(serials[0], serials[1]);
    }

    [Theory]
    [InlineData("kms-tes", null)]
    [InlineData("KMS-TEST", null)]
    [InlineData(null, "0000000000000000")]
    public void A_token_that_is_not_there_is_absent(string? label, string? serial)
    {
        TokenException refusal = Assert.Throws<TokenException>(() => SoftHsm.Open(label, serial).Dispose());
        Assert.Equal(TokenFault.TokenAbsent, refusal.Fault);
        Assert.Contains(label ?? serial!, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData("kms-test", "0000000000000000")]
    public void A_selector_names_exactly_one_of_label_and_serial(string? label, string? serial) =>
        Assert.Throws<ArgumentException>(() => SoftHsm.Open(label, serial).Dispose());

    [Theory]
    [InlineData("wrong-pin")]
    [InlineData("right-pin-2718\n")]
    [InlineData("x~9")]
    public void A_wrong_pin_is_tried_exactly_once_and_the_right_one_works_after_it(string pin)
    {
        using FaultyModule module = new();
        TokenException refusal = Assert.Throws<TokenException>(() => SoftHsm.Open(pin: pin).Dispose());
        Assert.Equal(TokenFault.PinRefused, refusal.Fault);
        Assert.Equal("C_Login", Assert.IsType<Pkcs11Exception>(refusal.InnerException).Function);
        Assert.DoesNotContain(pin, refusal.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, FaultyModule.Logins);

        using Token token = SoftHsm.Open();
        Assert.Equal(2, FaultyModule.Logins);
    }

    [Fact]
    public void A_process_logs_in_once_whatever_it_does_afterwards()
    {
        using FaultyModule module = new();
        using Token token = SoftHsm.Open(sessions: 2);
        _ = token.SelfTest();
        _ = token.FindRootObjects();
        token.GenerateRandom(new byte[16]);
        _ = Assert.Throws<TokenException>(() => token.Operate(session =>
        {
            token.Module.DestroyObject(session, 0xFFFF_FFFF);
            return true;
        }));
        _ = token.FindRootObjects();
        Assert.Equal(1, FaultyModule.Logins);
    }

    [Fact]
    public void A_module_that_is_not_there_is_missing()
    {
        TokenException refusal = Assert.Throws<TokenException>(() => SoftHsm.Open(module: "/nonexistent/libpkcs11.so").Dispose());
        Assert.Equal(TokenFault.ModuleMissing, refusal.Fault);
    }

    [Fact]
    public void A_library_without_pkcs11_is_no_module_and_a_module_loads_after_it()
    {
        string library = File.ReadLines("/proc/self/maps").Select(line => line[(line.LastIndexOf(' ') + 1)..])
            .First(path => path.EndsWith("/libc.so.6", StringComparison.Ordinal));
        Assert.Equal(TokenFault.ModuleUnusable, Assert.Throws<TokenException>(() => SoftHsm.Open(module: library).Dispose()).Fault);
        using Token token = SoftHsm.Open();
        Assert.Equal(SoftHsm.Label, token.Description.Label);
    }

    [Fact]
    public void A_file_of_text_is_no_module()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, "not a library");
            Assert.Equal(TokenFault.ModuleUnusable, Assert.Throws<TokenException>(() => SoftHsm.Open(module: path).Dispose()).Fault);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void A_module_is_named_by_its_absolute_path() =>
        Assert.Throws<ArgumentException>(() => SoftHsm.Open(module: "libsofthsm2.so").Dispose());

    [Fact]
    public void A_second_token_while_one_is_open_is_refused_and_does_not_close_the_first()
    {
        using Token token = SoftHsm.Open();
        TokenException refusal = Assert.Throws<TokenException>(() => SoftHsm.Open(SoftHsm.OtherLabel).Dispose());
        Assert.Equal(TokenFault.ModuleUnusable, refusal.Fault);
        Assert.Equal(SoftHsm.Label, token.Description.Label);
        token.GenerateRandom(new byte[16]);
    }

    [Fact]
    public void The_self_test_sees_every_mechanism_work_and_leaves_nothing_in_the_token()
    {
        using Token token = SoftHsm.Open();
        int before = token.Operate(session => CountObjects(token, session));
        Assert.Equal(new TokenCapabilities(AesGcm: true, AesKeyWrap: true, HmacSha256: true), token.SelfTest());
        Assert.Equal(before, token.Operate(session => CountObjects(token, session)));
    }

    [Fact]
    public void A_token_that_fails_its_self_test_is_refused_and_left_clean()
    {
        using FaultyModule module = new();
        using Token token = SoftHsm.Open();
        int before = token.Operate(session => CountObjects(token, session));
        FaultyModule.FailNextEncryption();
        TokenException refusal = Assert.Throws<TokenException>(token.SelfTest);
        Assert.Equal(TokenFault.Unavailable, refusal.Fault);
        Assert.Equal(before, token.Operate(session => CountObjects(token, session)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1024)]
    public void Random_comes_in_the_length_asked_for_and_never_twice(int length)
    {
        using Token token = SoftHsm.Open();
        byte[] guarded = new byte[length + 2];
        token.GenerateRandom(guarded.AsSpan(1, length));
        Assert.Equal(0, guarded[0]);
        Assert.Equal(0, guarded[^1]);

        byte[] first = new byte[32];
        byte[] second = new byte[32];
        token.GenerateRandom(first);
        token.GenerateRandom(second);
        Assert.NotEqual(first, second);
        Assert.NotEqual(first, new byte[32]);
    }

    [Fact]
    public void After_disposal_every_operation_says_so()
    {
        Token token = SoftHsm.Open();
        RootGenerationDescriptor descriptor = token.CreateGeneration(1, SoftHsm.InstanceId);
        RootGeneration root = token.OpenGeneration(descriptor);
        using SecretBytes material = new(32, bytes => RandomNumberGenerator.Fill(bytes));
        token.DestroyGeneration(descriptor);
        token.Dispose();
        token.Dispose();

        Action[] operations =
        [
            () => token.SelfTest(),
            () => token.CreateGeneration(2, SoftHsm.InstanceId),
            () => token.OpenGeneration(descriptor),
            () => token.DestroyGeneration(descriptor),
            () => token.FindRootObjects(),
            () => token.GenerateRandom(new byte[8]),
            () => root.Seal(material, []),
            () => root.Open(new byte[60], []).Dispose(),
            () => root.DeriveKey("label").Dispose(),
            () => root.GenerateKey(TokenKeyType.Aes256, out _).Dispose(),
            () => root.UnwrapKey(TokenKeyType.Aes256, new byte[40], "CKM_AES_KEY_WRAP").Dispose(),
        ];
        foreach (Action operation in operations)
        {
            _ = Assert.Throws<ObjectDisposedException>(operation);
        }
    }

    [Fact]
    public async Task A_call_that_hangs_keeps_the_module_from_being_finalised_and_others_from_waiting_for_ever()
    {
        using FaultyModule module = new();
        using Token token = SoftHsm.Open(sessions: 2, timeout: TimeSpan.FromMilliseconds(200));
        RootGenerationDescriptor descriptor = token.CreateGeneration(1, SoftHsm.InstanceId);
        RootGeneration root = token.OpenGeneration(descriptor);
        using SecretBytes material = new(32, bytes => bytes.Fill(1));
        using ManualResetEventSlim until = new();
        using ManualResetEventSlim hasBegun = new();
        FaultyModule.HangEncryptions(hasBegun, until);
        Task<byte[]> hanging = Task.Factory.StartNew(
            () => root.Seal(material, []), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        hasBegun.Wait(TestContext.Current.CancellationToken);

        TokenException refusal = Assert.Throws<TokenException>(() => token.CreateGeneration(2, SoftHsm.InstanceId));
        Assert.Equal(TokenFault.Unavailable, refusal.Fault);
        token.Dispose();
        token.GenerateRandom(new byte[8]);

        until.Set();
        byte[] blob = await hanging;
        Assert.Equal(60, blob.Length);
        FaultyModule.HangEncryptions(null, null);
        token.DestroyGeneration(descriptor);
    }

    private static int CountObjects(Token token, ulong session)
    {
        using Template everything = new();
        return token.Module.Find(session, everything).Count;
    }
}
