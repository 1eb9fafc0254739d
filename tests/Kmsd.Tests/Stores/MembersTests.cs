using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;

namespace Kmsd.Tests.Stores;

public sealed class MembersTests
{
    [Fact]
    public async Task Operators_and_managers_manage_members_and_nobody_else()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.AddMemberAsync(Daemon.Operator, "uid:2000", StoreRole.User);
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:3000", StoreRole.User);
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.AddMemberAsync(Daemon.Uid(2000), "uid:2000", StoreRole.Manager));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.RemoveMemberAsync(Daemon.Uid(2000), "uid:3000"));
        _ = Refusal.Of(KmsErrorCode.Forbidden, () => List(daemon, Daemon.Uid(2000)));

        KmsException toStranger = await Refusal.OfAsync(
            KmsErrorCode.NotFound, () => daemon.AddMemberAsync(Daemon.Stranger, "uid:6666", StoreRole.Manager));
        KmsException ofNothing = await Refusal.OfAsync(
            KmsErrorCode.NotFound, () => daemon.AddMemberAsync(Daemon.Operator, "uid:6666", StoreRole.Manager, "nowhere"));
        Assert.Equal("There is no key store 'nowhere'.", ofNothing.Message);
        Assert.Equal(ofNothing.Message.Replace("nowhere", "default", StringComparison.Ordinal), toStranger.Message);
        KmsException otherwiseSpelt = await Refusal.OfAsync(
            KmsErrorCode.NotFound, () => daemon.AddMemberAsync(Daemon.Stranger, "uid:6666", StoreRole.Manager, "DeFault"));
        Assert.Equal("There is no key store 'DeFault'.", otherwiseSpelt.Message);
        KmsException noName = await Refusal.OfAsync(
            KmsErrorCode.NotFound, () => daemon.AddMemberAsync(Daemon.Operator, "uid:6666", StoreRole.Manager, "it's\nno name"));
        Assert.Equal("There is no such key store.", noName.Message);
        _ = Refusal.Of(KmsErrorCode.NotFound, () => List(daemon, Daemon.Stranger));
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.RemoveMemberAsync(Daemon.Stranger, "uid:1000"));
        Assert.Equal(
            [("uid:1000", StoreRole.Manager), ("uid:2000", StoreRole.User), ("uid:3000", StoreRole.User)],
            List(daemon, Daemon.Operator));
    }

    [Fact]
    public async Task A_member_who_is_there_is_left_as_he_is_and_another_role_replaces_his()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        DateTimeOffset first = daemon.Clock.GetUtcNow();
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.User);
        object? before = daemon.Query("SELECT count(*) FROM history");
        daemon.Clock.Advance(TimeSpan.FromHours(1));
        MembersResult members = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.User);
        Assert.Equal(first, members.Members.Single(member => member.Principal == "uid:2000").Since);
        Assert.Equal(before, daemon.Query("SELECT count(*) FROM history"));

        members = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.Manager);
        MemberDescription promoted = members.Members.Single(member => member.Principal == "uid:2000");
        Assert.Equal((StoreRole.Manager, first.AddHours(1)), (promoted.Role, promoted.Since));
        await daemon.RestartAsync();
        Assert.Equal([("uid:1000", StoreRole.Manager), ("uid:2000", StoreRole.Manager)], List(daemon, Daemon.Uid(2000)));
    }

    [Fact]
    public async Task Whoever_leaves_loses_every_grant_in_the_store_and_others_keep_theirs()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor), ("uid:3000", KeyRole.Encryptor));
        _ = await daemon.CreateKeyAsync("key-2", ("uid:2000", KeyRole.Decryptor), ("uid:2000", KeyRole.Encryptor), ("gid:2000", KeyRole.Reviewer));
        _ = await daemon.RemoveMemberAsync(Daemon.Manager, "uid:2000");
        await daemon.RestartAsync();
        Assert.Equal(
            [Principal.User(3000), Principal.Group(2000)],
            daemon.Catalogue.Current.Keys.Values.OrderBy(key => key.Name, StringComparer.Ordinal).SelectMany(key => key.Grants).Select(grant => grant.Principal));
        Assert.Equal("uid:2000 user, 3 grants ended", daemon.Query("SELECT detail FROM history WHERE operation = 'members.remove'"));
        Assert.Equal(["uid:2000 encryptor, ended with the membership"], await EndsAsync(daemon, "key-1"));
        Assert.Equal(
            ["uid:2000 decryptor, ended with the membership", "uid:2000 encryptor, ended with the membership"],
            (await EndsAsync(daemon, "key-2")).Order(StringComparer.Ordinal));
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.EncryptAsync(Daemon.Uid(2000), "key-1"));
        _ = await daemon.EncryptAsync(Daemon.Uid(3000), "key-1");
    }

    /// <summary>As many entries and notices as grants, in one change: more than one statement or page takes.</summary>
    [Fact]
    public async Task Whoever_leaves_hundreds_of_keys_is_recorded_under_each()
    {
        const int Keys = 300;
        await using Daemon daemon = await Daemon.StartAsync();
        for (int i = 0; i < Keys; i++)
        {
            _ = await daemon.CreateKeyAsync($"key-{i}", ("uid:2000", KeyRole.Encryptor), ("uid:2000", KeyRole.Reviewer));
        }

        _ = await daemon.RemoveMemberAsync(Daemon.Manager, "uid:2000");
        Assert.Equal(2L * Keys, daemon.Query("SELECT count(DISTINCT tag || detail) FROM history WHERE operation = 'grants.remove' AND principal = 'uid:1000'"));
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.True((await daemon.Operations.VerifyHistory.RunAsync(Daemon.Operator, TestContext.Current.CancellationToken)).Ok);
        Assert.Equal(2, (await EndsAsync(daemon, "key-299")).Length);
    }

    [Fact]
    public async Task Who_is_no_member_or_has_another_role_is_removed_with_success_and_nothing_changes()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.User);
        object? before = daemon.Query("SELECT count(*) FROM history");
        Assert.Equal(2, (await daemon.RemoveMemberAsync(Daemon.Manager, "uid:2000", StoreRole.Manager)).Members.Length);
        Assert.Equal(2, (await daemon.RemoveMemberAsync(Daemon.Manager, "uid:9999")).Members.Length);
        Assert.Equal(before, daemon.Query("SELECT count(*) FROM history"));
        Assert.Single((await daemon.RemoveMemberAsync(Daemon.Manager, "uid:2000", StoreRole.User)).Members);
    }

    [Fact]
    public async Task The_last_manager_goes_only_by_an_operator()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.RemoveMemberAsync(Daemon.Manager, "uid:1000"));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.AddMemberAsync(Daemon.Manager, "uid:1000", StoreRole.User));
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:1000", StoreRole.Manager);

        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.Manager);
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:1000", StoreRole.User);
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.RemoveMemberAsync(Daemon.Uid(2000), "uid:2000"));
        Assert.Equal([("uid:1000", StoreRole.User)], (await daemon.RemoveMemberAsync(Daemon.Operator, "uid:2000")).Members.Select(
            member => (member.Principal, member.Role)));
    }

    [Fact]
    public async Task Two_managers_who_remove_each_other_at_once_leave_one()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.Manager);
        Task<MembersResult>[] removals =
            [daemon.RemoveMemberAsync(Daemon.Manager, "uid:2000"), daemon.RemoveMemberAsync(Daemon.Uid(2000), "uid:1000")];
        _ = await Task.WhenAny(Task.WhenAll(removals));
        _ = Assert.Single(removals, removal => removal.IsCompletedSuccessfully);
        Assert.Single(List(daemon, Daemon.Operator));
    }

    [Fact]
    public async Task A_store_has_as_many_members_as_configured_and_not_one_more()
    {
        await using Daemon daemon = await Daemon.StartAsync(new DaemonOptions { MembersPerStore = 2 });
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.User);
        KmsException third = await Refusal.OfAsync(KmsErrorCode.LimitExceeded, () => daemon.AddMemberAsync(Daemon.Manager, "uid:3000", StoreRole.User));
        Assert.Equal("The key store 'default' may have at most 2 members ([limits] members_per_store).", third.Message);
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.Manager);
    }

    [Fact]
    public async Task A_manager_by_group_and_user_by_uid_is_a_manager()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.User);
        _ = await daemon.AddMemberAsync(Daemon.Manager, "gid:34", StoreRole.Manager);
        _ = Refusal.Of(KmsErrorCode.Forbidden, () => List(daemon, Daemon.Uid(2000)));
        Assert.Equal(3, List(daemon, Daemon.Uid(2000, 34)).Length);
        WhoAmIResult caller = daemon.Operations.DescribeCaller.Run(Daemon.Uid(2000, 34));
        Assert.Equal(("default", StoreRole.Manager), caller.Stores.Select(store => (store.Name, store.Role)).Single());
        Assert.Equal(["uid:2000", "gid:102000", "gid:34"], caller.Principals);
        Assert.False(caller.Operator);
    }

    /// <summary>What the history of a key says of grants that ended.</summary>
    private static async Task<string?[]> EndsAsync(Daemon daemon, string key)
    {
        HistoryResult history = await daemon.Operations.ListHistory.RunAsync(
            Daemon.Manager, new ListHistoryRequest { Key = key, Operation = "grants.remove" }, TestContext.Current.CancellationToken);
        return [.. history.Entries.Select(entry => entry.Detail)];
    }

    private static (string Principal, StoreRole Role)[] List(Daemon daemon, Caller caller) =>
        [.. daemon.Operations.ListMembers.Run(caller, new ListMembersRequest { Store = "default" }).Members.Select(
            member => (member.Principal, member.Role))];
}
