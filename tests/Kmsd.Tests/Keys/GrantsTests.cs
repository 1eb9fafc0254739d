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
        KmsException third = await Refusal.OfAsync(
            KmsErrorCode.LimitExceeded, () => daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:3000", KeyRole.Encryptor));
        Assert.Equal("A key may have at most 2 grants ([limits] grants_per_key).", third.Message);
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Decryptor);
        MembersResult members = daemon.Operations.ListMembers.Run(Daemon.Manager, new ListMembersRequest { Store = "default" });
        Assert.DoesNotContain(members.Members, member => member.Principal == "uid:3000");
    }

    [Theory]
    [InlineData("uid:65534", KmsErrorCode.InvalidParams)]
    [InlineData("user:nobody-of-this-name", KmsErrorCode.InvalidParams)]
    [InlineData("unit:nginx", KmsErrorCode.InvalidParams)]
    [InlineData("unit:backup@.service", KmsErrorCode.InvalidParams)]
    [InlineData("unit:cron.service", KmsErrorCode.InvalidParams)]
    public async Task Whoever_cannot_be_granted_to_is_refused(string principal, KmsErrorCode code)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1");
        _ = await Refusal.OfAsync(code, () => daemon.AddGrantAsync(Daemon.Manager, "key-1", principal, KeyRole.Encryptor));
        _ = await Refusal.OfAsync(code, () => daemon.RemoveGrantAsync(Daemon.Manager, "key-1", principal, KeyRole.Encryptor));
    }

    [Fact]
    public async Task A_unit_uses_a_key_by_its_grant_and_its_user_does_not()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("unit:nginx.service", KeyRole.Encryptor));
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "unit:nginx.service", KeyRole.Decryptor);
        await daemon.RestartAsync();
        Caller nginx = Daemon.Unit("nginx.service", 61184);
        string ciphertext = await daemon.EncryptAsync(nginx, "key-1", "a text"u8.ToArray());
        Assert.Equal("a text"u8.ToArray(), await daemon.DecryptAsync(Daemon.Unit("nginx.service", 33), "key-1", ciphertext));
        foreach (Caller other in new[] { Daemon.Uid(61184), Daemon.Unit("nginx@1.service", 61184), Daemon.Unit("vault.service", 61184) })
        {
            _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.DecryptAsync(other, "key-1", ciphertext));
        }

        _ = await daemon.RemoveMemberAsync(Daemon.Manager, "unit:nginx.service");
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.EncryptAsync(nginx, "key-1"));
    }

    [Fact]
    public async Task Where_units_cannot_be_told_none_is_granted_and_one_that_was_can_be_taken_away()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("unit:nginx.service", KeyRole.Encryptor));
        daemon.WhyNoUnits = "This kernel is too old.";
        await daemon.RestartAsync();
        Func<Task>[] attempts =
        [
            () => daemon.AddGrantAsync(Daemon.Manager, "key-1", "unit:nginx.service", KeyRole.Encryptor),
            () => daemon.AddGrantAsync(Daemon.Manager, "key-1", "unit:vault.service", KeyRole.Encryptor),
            () => daemon.AddMemberAsync(Daemon.Manager, "unit:vault.service", StoreRole.User),
            () => daemon.CreateKeyAsync("key-2", ("unit:vault.service", KeyRole.Encryptor)),
        ];
        foreach (Func<Task> attempt in attempts)
        {
            Assert.Equal("This kernel is too old.", (await Refusal.OfAsync(KmsErrorCode.Unsupported, attempt)).Message);
        }

        Assert.Empty((await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "unit:nginx.service", KeyRole.Encryptor)).Grants);
        Assert.DoesNotContain(daemon.Catalogue.Current.Keys.Values, key => key.Name == "key-2");
    }

    [Fact]
    public async Task A_unit_that_the_configuration_takes_out_later_keeps_nothing_but_can_be_cleared_away()
    {
        DaemonOptions options = new();
        await using Daemon daemon = await Daemon.StartAsync(options);
        _ = await daemon.CreateKeyAsync("key-1", ("unit:docker.service", KeyRole.Encryptor));
        options.NeverUnits = ["docker.service"];
        await daemon.RestartAsync();
        _ = await Refusal.OfAsync(
            KmsErrorCode.InvalidParams, () => daemon.AddGrantAsync(Daemon.Manager, "key-1", "unit:docker.service", KeyRole.Decryptor));
        _ = await Refusal.OfAsync(
            KmsErrorCode.InvalidParams, () => daemon.AddMemberAsync(Daemon.Manager, "unit:docker.service", StoreRole.Manager));
        Assert.Empty((await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "unit:docker.service", KeyRole.Encryptor)).Grants);
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
