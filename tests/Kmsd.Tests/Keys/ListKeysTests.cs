using Kms.Client.Protocol;

namespace Kmsd.Tests.Keys;

public sealed class ListKeysTests
{
    [Fact]
    public async Task A_caller_is_shown_what_he_may_see_and_told_how_many_that_are()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("beta", ("uid:2000", KeyRole.Reviewer));
        _ = await daemon.CreateKeyAsync("Alpha", ("gid:34", KeyRole.Encryptor));
        _ = await daemon.CreateKeyAsync("gamma");
        Assert.Equal(["Alpha", "beta", "gamma"], Names(List(daemon, 1000)));
        Assert.Equal(["beta"], Names(List(daemon, 2000)));
        Assert.Equal(1, List(daemon, 2000).Total);
        Assert.Equal(["Alpha"], Names(daemon.Operations.ListKeys.Run(Daemon.Uid(7, 34), new ListKeysRequest())));
        Assert.Equal(["reviewer"], List(daemon, 2000).Keys[0].MyRoles);
        Assert.Equal((0, 0), (List(daemon, 0).Total, List(daemon, 6666).Total));
    }

    [Fact]
    public async Task Pages_follow_one_another_without_gap_or_repetition()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        for (int i = 0; i < 7; i++)
        {
            _ = await daemon.CreateKeyAsync((i % 2 == 0 ? "key-" : "KEY-") + i);
        }

        List<string> names = [];
        List<int> sizes = [];
        string? after = null;
        do
        {
            ListKeysResult page = daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { Limit = 3, After = after });
            Assert.Equal(7, page.Total);
            names.AddRange(Names(page));
            sizes.Add(page.Keys.Length);
            after = page.Next;
        }
        while (after is not null);

        Assert.Equal(["key-0", "KEY-1", "key-2", "KEY-3", "key-4", "KEY-5", "key-6"], names);
        Assert.Equal([3, 3, 1], sizes);
        Assert.Null(daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { Limit = 7 }).Next);
        Assert.Equal(
            ["key-4", "KEY-5", "key-6"],
            Names(daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { After = "default/key-3x" })));
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, true)]
    [InlineData(200, true)]
    [InlineData(201, false)]
    public async Task A_page_has_one_to_two_hundred_keys(int limit, bool isValid)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        var refusal = Record.Exception(
            () => daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { Limit = limit })) as KmsException;
        Assert.Equal(isValid ? null : KmsErrorCode.InvalidParams, refusal?.Code);
    }

    [Fact]
    public async Task What_makes_no_sense_is_refused()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = Refusal.Of(KmsErrorCode.InvalidParams, () => daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { State = KeyState.Deleted }));
        _ = Refusal.Of(KmsErrorCode.InvalidParams, () => daemon.Operations.ListKeys.Run(
            Daemon.Manager, new ListKeysRequest { After = "0123456789abcdef0123456789abcdef" }));
        _ = Refusal.Of(KmsErrorCode.InvalidParams, () => daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { After = "?" }));
    }

    [Fact]
    public async Task A_store_is_shown_to_its_members_and_to_operators_and_a_state_filters()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("alpha");
        Assert.Equal(1, daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { Store = "DEFAULT" }).Total);
        Assert.Equal(0, daemon.Operations.ListKeys.Run(Daemon.Operator, new ListKeysRequest { Store = "default" }).Total);
        _ = Refusal.Of(KmsErrorCode.NotFound, () => daemon.Operations.ListKeys.Run(Daemon.Stranger, new ListKeysRequest { Store = "default" }));
        _ = Refusal.Of(KmsErrorCode.NotFound, () => daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { Store = "nowhere" }));
        Assert.Equal(1, daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { State = KeyState.Enabled }).Total);
        Assert.Equal(0, daemon.Operations.ListKeys.Run(Daemon.Manager, new ListKeysRequest { State = KeyState.Disabled }).Total);
    }

    [Fact]
    public async Task Status_tells_operators_more_than_others()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        StatusResult toAll = daemon.Operations.ReadStatus.Run(Daemon.Stranger);
        Assert.Equal(("ok", "ok", "ok"), (toAll.Status, toAll.Token, toAll.Database));
        Assert.Equal((null, null, null, null), (toAll.Root, toAll.Weaknesses, toAll.Connections, toAll.Queue));
        StatusResult toOperator = daemon.Operations.ReadStatus.Run(Daemon.Operator);
        Assert.Equal((1, "token", "none"), (toOperator.Root!.Generation, toOperator.Root.Origin, toOperator.Root.Custody));
        Assert.Contains(toOperator.Weaknesses!, weakness => weakness.StartsWith("custody: none", StringComparison.Ordinal));

        daemon.Clock.SetUtcNow(toOperator.Root.RotateBy);
        Assert.Equal("ok", daemon.Operations.ReadStatus.Run(Daemon.Stranger).Status);
        daemon.Clock.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Equal("degraded", daemon.Operations.ReadStatus.Run(Daemon.Stranger).Status);
    }

    private static ListKeysResult List(Daemon daemon, uint uid) => daemon.Operations.ListKeys.Run(Daemon.Uid(uid), new ListKeysRequest());

    private static IEnumerable<string> Names(ListKeysResult page) => page.Keys.Select(key => key.Name);
}
