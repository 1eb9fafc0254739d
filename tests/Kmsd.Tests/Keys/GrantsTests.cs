using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;

namespace Kmsd.Tests.Keys;

public sealed class GrantsTests
{
    [Theory]
    [InlineData("store manager", true)]
    [InlineData(nameof(KeyRole.Manager), true)]
    [InlineData(nameof(KeyRole.Encryptor), false)]
    [InlineData(nameof(KeyRole.Decryptor), false)]
    [InlineData(nameof(KeyRole.EncryptorDecryptor), false)]
    [InlineData(nameof(KeyRole.Reviewer), false)]
    public async Task Managers_of_key_and_store_list_add_and_remove_grants_and_nobody_else(string role, bool may)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:3000", KeyRole.Reviewer));
        Caller caller = Daemon.Manager;
        if (Enum.TryParse(role, out KeyRole parsed))
        {
            caller = Daemon.Uid(2000);
            _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", parsed);
        }

        Func<Task>[] attempts =
        [
            () => Task.FromResult(daemon.Operations.ListGrants.Run(caller, new KeyRequest { Key = "key-1" })),
            () => daemon.AddGrantAsync(caller, "key-1", "uid:4000", KeyRole.Encryptor),
            () => daemon.RemoveGrantAsync(caller, "key-1", "uid:3000", KeyRole.Reviewer),
        ];
        foreach (Func<Task> attempt in attempts)
        {
            if (may)
            {
                await attempt();
            }
            else
            {
                _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, async () => await attempt());
            }
        }

        await daemon.RestartAsync();
        Assert.Equal(may, daemon.Catalogue.Current.Keys.Values.Single().Grants.Any(grant => grant.Principal == Principal.User(4000)));
        Assert.Equal(!may, daemon.Catalogue.Current.Keys.Values.Single().Grants.Any(grant => grant.Principal == Principal.User(3000)));
    }

    [Fact]
    public async Task A_grant_that_is_there_is_left_as_it_is()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        DateTimeOffset granted = daemon.Clock.GetUtcNow();
        object? before = daemon.Query("SELECT count(*) FROM history");
        daemon.Clock.Advance(TimeSpan.FromHours(1));
        GrantsResult grants = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Encryptor);
        Assert.Equal(granted, Assert.Single(grants.Grants).GrantedAt);
        Assert.Equal(before, daemon.Query("SELECT count(*) FROM history"));

        grants = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Reviewer);
        Assert.Equal(2, grants.Grants.Length);
    }

    [Fact]
    public async Task A_grant_that_is_not_there_is_removed_with_success()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        object? before = daemon.Query("SELECT count(*) FROM history");
        Assert.Single((await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Decryptor)).Grants);
        Assert.Single((await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "gid:2000", KeyRole.Encryptor)).Grants);
        Assert.Equal(before, daemon.Query("SELECT count(*) FROM history"));
        Assert.Empty((await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Encryptor)).Grants);
        await daemon.RestartAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.EncryptAsync(Daemon.Uid(2000), "key-1"));
    }

    [Fact]
    public async Task A_key_has_as_many_grants_as_configured_and_not_one_more()
    {
        await using Daemon daemon = await Daemon.StartAsync(new DaemonOptions { GrantsPerKey = 2 });
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Decryptor);
        _ = await Refusal.OfAsync(
            KmsErrorCode.LimitExceeded, () => daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:3000", KeyRole.Encryptor));
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Decryptor);
        MembersResult members = daemon.Operations.ListMembers.Run(Daemon.Manager, new ListMembersRequest { Store = "default" });
        Assert.DoesNotContain(members.Members, member => member.Principal == "uid:3000");
    }

    [Theory]
    [InlineData("uid:65534", KmsErrorCode.InvalidParams)]
    [InlineData("user:nobody-of-this-name", KmsErrorCode.InvalidParams)]
    [InlineData("unit:nginx.service", KmsErrorCode.Unsupported)]
    public async Task Whoever_cannot_be_granted_to_is_refused(string principal, KmsErrorCode code)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1");
        _ = await Refusal.OfAsync(code, () => daemon.AddGrantAsync(Daemon.Manager, "key-1", principal, KeyRole.Encryptor));
        _ = await Refusal.OfAsync(code, () => daemon.RemoveGrantAsync(Daemon.Manager, "key-1", principal, KeyRole.Encryptor));
    }

    [Fact]
    public async Task A_name_is_granted_by_its_number_and_shown_beside_it()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("user:root", KeyRole.Reviewer));
        GrantDescription grant = Assert.Single(
            daemon.Operations.ListGrants.Run(Daemon.Manager, new KeyRequest { Key = "key-1" }).Grants);
        Assert.Equal(("uid:0", "root"), (grant.Principal, grant.Display));
    }
}
