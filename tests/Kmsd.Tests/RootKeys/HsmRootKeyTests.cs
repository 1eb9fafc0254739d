using System.Text;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kms.Hsm.Tests;
using Kmsd.Hosting;
using Kmsd.Metrics;
using Kmsd.RootKeys;
using Kmsd.Tests.Metrics;

namespace Kmsd.Tests.RootKeys;

/// <summary>On SoftHSM. The tests of one class run one after the other, as a module that is initialised once a process needs.</summary>
public sealed class HsmRootKeyTests : RootKeyContract, IClassFixture<SoftHsm>, IDisposable
{
    private static readonly MaterialBinding s_binding = new(new byte[16], KeyTag.New(), 1, KeyType.Aes256Gcm96);

    private readonly ListLogger _log = new();
    private readonly DaemonMeter _meter = new(TimeProvider.System);

    [Fact]
    public async Task A_token_that_hangs_costs_its_caller_the_timeout_and_comes_back()
    {
        using FaultyModule module = new();
        using HsmRootKey root = Make(TimeSpan.FromMilliseconds(200));
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        using ManualResetEventSlim until = new();
        FaultyModule.HangEncryptions(null, until);
        _ = await Refusal.OfAsync(
            KmsErrorCode.TokenUnavailable, () => root.SealAsync(material, s_binding, TestContext.Current.CancellationToken));
        Assert.False(root.IsAvailable);
        _ = await Refusal.OfAsync(
            KmsErrorCode.TokenUnavailable, () => root.SealAsync(material, s_binding, TestContext.Current.CancellationToken));
        _ = Assert.Single(_log.Lines);

        until.Set();
        FaultyModule.HangEncryptions(null, null);
        _ = await root.SealAsync(material, s_binding, TestContext.Current.CancellationToken);
        Assert.True(root.IsAvailable);
        Assert.Equal(
            [("ok", 1), ("tokenUnavailable", 2)],
            _meter.Read().Where(sample => sample.Name == "kmsd_token_calls_total" && sample.Label("kind") == "seal").Select(sample => (sample.Label("outcome"), (int)sample.Value)));
        Assert.Equal(3, _meter.Value("kmsd_token_call_duration_seconds_count", ("kind", "seal")));

        // Twice the time-out, which a timer may end a millisecond early.
        Assert.InRange(_meter.Value("kmsd_token_call_duration_seconds_sum", ("kind", "seal")), 0.39, 60);
    }

    public void Dispose() => _meter.Dispose();

    [Fact]
    public async Task A_call_that_fails_is_unavailability_to_the_caller_and_the_whole_story_to_the_journal()
    {
        using FaultyModule module = new();
        using HsmRootKey root = Make(TimeSpan.FromSeconds(10));
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        FaultyModule.FailNextEncryption();
        KmsException refusal = await Refusal.OfAsync(
            KmsErrorCode.TokenUnavailable, () => root.SealAsync(material, s_binding, TestContext.Current.CancellationToken));
        Assert.DoesNotContain("CKR_", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("CKR_DEVICE_ERROR", Assert.Single(_log.Lines).Exception!.Message, StringComparison.Ordinal);
        _ = await root.SealAsync(material, s_binding, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Whoever_gives_up_is_let_go_while_the_call_runs_on()
    {
        using FaultyModule module = new();
        using HsmRootKey root = Make(TimeSpan.FromSeconds(10));
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        using ManualResetEventSlim hasBegun = new();
        using ManualResetEventSlim until = new();
        using CancellationTokenSource impatient = new();
        FaultyModule.HangEncryptions(hasBegun, until);
        Task<SealedMaterial> sealing = root.SealAsync(material, s_binding, impatient.Token);
        hasBegun.Wait(TestContext.Current.CancellationToken);
        await impatient.CancelAsync();
        _ = await Task.WhenAny(sealing);
        Assert.True(sealing.IsCanceled);
        Assert.True(root.IsAvailable);
        until.Set();
    }

    [Theory]
    [InlineData("", ExitCode.Configuration)]
    [InlineData("\n", ExitCode.Configuration)]
    [InlineData(SoftHsm.Pin + "\n\n", ExitCode.Configuration)]
    [InlineData(SoftHsm.Pin + " ", ExitCode.Configuration)]
    [InlineData("wrong-pin", ExitCode.PinRefused)]
    [InlineData(SoftHsm.Pin, ExitCode.Success)]
    [InlineData(SoftHsm.Pin + "\n", ExitCode.Success)]
    public void The_pin_is_the_file_without_one_line_feed_at_its_end(string content, int exitCode)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder.File("pin"), content, new UTF8Encoding(false));
        var refusal = Record.Exception(() => TokenAccess.Open(
            SoftHsm.ModulePath, new TokenSelector(SoftHsm.Label, null), folder.File("pin"), new TokenOptions()).Dispose()) as StartupException;
        Assert.Equal(exitCode, refusal?.ExitCode ?? ExitCode.Success);
    }

    [Theory]
    [InlineData(TokenFault.ModuleMissing, ExitCode.Configuration)]
    [InlineData(TokenFault.ModuleUnusable, ExitCode.Configuration)]
    [InlineData(TokenFault.TokenAbsent, ExitCode.TokenAbsent)]
    [InlineData(TokenFault.TokenAmbiguous, ExitCode.Configuration)]
    [InlineData(TokenFault.PinRefused, ExitCode.PinRefused)]
    [InlineData(TokenFault.PinLocked, ExitCode.PinRefused)]
    [InlineData(TokenFault.RootKeyMissing, ExitCode.Configuration)]
    [InlineData(TokenFault.RootKeyMismatch, ExitCode.Configuration)]
    [InlineData(TokenFault.RootKeyAmbiguous, ExitCode.Configuration)]
    [InlineData(TokenFault.Unsupported, ExitCode.Configuration)]
    [InlineData(TokenFault.Unavailable, ExitCode.TokenAbsent)]
    public void Every_fault_of_the_token_has_its_exit_code(TokenFault fault, int exitCode) =>
        Assert.Equal(exitCode, TokenFaults.ToStartupException(new TokenException(fault, "A sentence.")).ExitCode);

    [Fact]
    public void Every_fault_has_its_row_above() => Assert.Equal(12, Enum.GetValues<TokenFault>().Length);

    [Fact]
    public async Task What_the_database_names_isnt_destroyed_as_left_and_what_it_doesnt_name_is()
    {
        using HsmRootKey root = Make(TimeSpan.FromSeconds(30));
        Assert.DoesNotContain(9, await root.FindGenerationsAsync());
        _ = root.Token.CreateGeneration(9, SoftHsm.InstanceId);
        Assert.Contains(9, await root.FindGenerationsAsync());
        _ = await Assert.ThrowsAsync<InvalidOperationException>(() => root.DestroyLeftGenerationAsync(1));
        await root.DestroyLeftGenerationAsync(9);
        IReadOnlyList<long> left = await root.FindGenerationsAsync();
        Assert.Contains(1, left);
        Assert.DoesNotContain(9, left);
    }

    private protected override RootKey Make() => Make(TimeSpan.FromSeconds(30));

    private HsmRootKey Make(TimeSpan timeout)
    {
        TokenOptions options = new() { Sessions = 2, Timeout = timeout };
        Token token = SoftHsm.Open(sessions: options.Sessions, timeout: timeout);
        return new HsmRootKey(token, [token.CreateGeneration(1, SoftHsm.InstanceId)], 1, options, new TokenMeter(_meter), _log);
    }
}
