using Kms.Client.Protocol;
using Kmsd.RootKeys;
using Kmsd.Tests.Recovery;

namespace Kmsd.Tests.Rotation;

/// <summary>Keys that stay in the token when a backup from before a rotation is put back: named, kept apart, and removed by hand alone.</summary>
public sealed class LeftGenerationTests
{
    private static readonly RotateRootRequest s_rotate = new() { Reason = "yearly" };

    [Fact]
    public async Task They_are_named_at_the_start_and_in_the_status_and_nothing_removes_them()
    {
        await using Daemon daemon = await RestoredAsync();
        Assert.Equal([2L], daemon.Operations.ReadRootStatus.Run(Daemon.Operator).Left!);
        Assert.Contains(daemon.RootLog.Lines, line => line.Line.Contains("root generations that this database doesn't need: 2.", StringComparison.Ordinal));
        await daemon.RestartAsync();
        Assert.Equal([2L], daemon.Operations.ReadRootStatus.Run(Daemon.Operator).Left!);
        Assert.Equal([1L, 2L], daemon.Root.Generations);
    }

    [Fact]
    public async Task Where_nothing_is_left_nothing_is_said()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RestartAsync();
        Assert.Null(daemon.Operations.ReadRootStatus.Run(Daemon.Operator).Left);
        Assert.Empty(daemon.RootLog.Lines);
    }

    /// <summary>The database that was set aside names the other generation 2: a label must not mean two.</summary>
    [Fact]
    public async Task A_new_generation_takes_no_number_that_the_token_has_seen()
    {
        await using Daemon daemon = await RestoredAsync();
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        Assert.Equal([1L, 2L, 3L], daemon.Root.Generations);
        Assert.Equal(3, daemon.Root.Generation);
        Assert.Equal([2L], daemon.Operations.ReadRootStatus.Run(Daemon.Operator).Left!);
    }

    [Fact]
    public async Task An_administrator_removes_them_and_their_number_stays_taken()
    {
        await using Daemon daemon = await RestoredAsync();
        string ciphertext = await daemon.EncryptAsync(Daemon.Manager, "kept");
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => RetireAsync(daemon, 2, Daemon.Manager));
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => RetireAsync(daemon, 3));
        Assert.Equal([1L, 2L], daemon.Root.Generations);
        await RetireAsync(daemon, 2);
        Assert.Equal([1L], daemon.Root.Generations);
        RootStatusResult status = daemon.Operations.ReadRootStatus.Run(Daemon.Operator);
        Assert.Null(status.Left);
        Assert.Equal([1L], status.Generations.Select(one => one.Generation));
        Assert.Equal("generation 2, left in the token: it was replaced", daemon.Query("SELECT detail FROM history WHERE operation = 'root.retire'"));
        ListNotificationsResult told = await daemon.Operations.ListNotifications.RunAsync(Daemon.Operator, new ListNotificationsRequest(), CancellationToken.None);
        _ = Assert.Single(told.Notifications, notice => notice.Kind == "root.retired");
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => RetireAsync(daemon, 2));
        await daemon.RestartAsync();
        Assert.Equal("a text"u8.ToArray(), await daemon.DecryptAsync(Daemon.Manager, "kept", ciphertext));
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        Assert.Equal([1L, 3L], daemon.Root.Generations);

        // That number 2 was given up today says nothing of when generation 1 was replaced.
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(7) - TimeSpan.FromSeconds(1));
        KmsException early = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => RetireAsync(daemon, 1));
        Assert.Contains("7 days after", early.Message, StringComparison.Ordinal);
        daemon.Clock.Advance(TimeSpan.FromSeconds(1));
        await RetireAsync(daemon, 1);
        Assert.Equal([3L], daemon.Root.Generations);
    }

    [Fact]
    public async Task The_seven_days_count_from_the_rotation_and_not_from_what_was_left()
    {
        await using Daemon daemon = await RestoredAsync();
        await RetireAsync(daemon, 2);
        daemon.Clock.Advance(TimeSpan.FromDays(6));
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(6));
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => RetireAsync(daemon, 1));
        Assert.Equal([1L, 3L], daemon.Root.Generations);
    }

    [Fact]
    public async Task A_token_that_goes_away_meanwhile_leaves_them_to_be_removed_again()
    {
        await using Daemon daemon = await RestoredAsync();
        daemon.Root.OnDestroyLeft = () => throw new KmsException(KmsErrorCode.TokenUnavailable, "It is gone.");
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => RetireAsync(daemon, 2));
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.Equal([2L], daemon.Operations.ReadRootStatus.Run(Daemon.Operator).Left!);
        daemon.Root.OnDestroyLeft = null;
        await RetireAsync(daemon, 2);
        Assert.Equal([1L], daemon.Root.Generations);
        await daemon.RestartAsync();
        Assert.Null(daemon.Operations.ReadRootStatus.Run(Daemon.Operator).Left);
    }

    /// <summary>A token that was itself put back holds again what was destroyed.</summary>
    [Fact]
    public async Task Keys_of_a_retired_generation_that_are_there_again_are_left_too()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        byte[] key = daemon.Root.KeyOf(1);
        await RetireAsync(daemon, 1);
        await daemon.StopAsync();
        daemon.Root.PutBack(1, key);
        await daemon.ResumeAsync();
        Assert.Equal([1L], daemon.Operations.ReadRootStatus.Run(Daemon.Operator).Left!);
        await RetireAsync(daemon, 1);
        Assert.Equal([2L], daemon.Root.Generations);
        Assert.Equal(GenerationState.Retired, daemon.Installation.Generations.All[1].State);
        await daemon.RestartAsync();
    }

    /// <summary>Rotated, then put back to before it.</summary>
    private static async Task<Daemon> RestoredAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("kept", ("uid:1000", KeyRole.EncryptorDecryptor));
        string backup = await RestoreTests.BackUpAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        await daemon.StopAsync();
        Assert.Contains("keys that it doesn't name: 2.", await RestoreTests.RestoreAsync(daemon, backup), StringComparison.Ordinal);
        await daemon.ResumeAsync();
        return daemon;
    }

    private static Task RetireAsync(Daemon daemon, long generation, Kmsd.Access.Caller? caller = null) => daemon.Operations.RetireRoot.RunAsync(
        caller ?? Daemon.Operator, new RetireRootRequest { Generation = generation, Reason = "it was replaced" }, CancellationToken.None);
}
