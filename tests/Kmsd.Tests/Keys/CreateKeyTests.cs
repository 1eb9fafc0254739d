using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;

namespace Kmsd.Tests.Keys;

public sealed class CreateKeyTests
{
    [Fact]
    public async Task A_key_is_made_as_asked_and_is_there_after_a_restart()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        DateTimeOffset now = daemon.Clock.GetUtcNow();
        KeyDescription key = await daemon.CreateKeyAsync(Daemon.Manager, Request("key-1") with { Memo = "for tests", Period = 30 });
        Assert.True(KeyTag.TryParse(key.Tag, out _));
        Assert.Equal(("key-1", "default", "for tests", 30), (key.Name, key.Store, key.Memo, key.RotationPeriodDays));
        Assert.Equal((KeyType.Aes256Gcm96, KeyProtection.Software, KeyState.Enabled), (key.Type, key.Protection, key.State));
        Assert.Equal((now, now, now.AddDays(30)), (key.CreatedAt, key.StateChangedAt, key.NextRotationAt));
        Assert.Equal((1, 0, null), (key.CurrentVersion, key.UsageCount, key.LastUsedAt));
        Assert.Equal((null, null, null), (key.DeleteAt, key.PendingRotationPeriodDays, key.Warnings));

        await daemon.RestartAsync();
        Assert.Equivalent(key, daemon.Get(Daemon.Manager, "key-1"), strict: true);
        Assert.Equivalent(key, daemon.Get(Daemon.Manager, key.Tag), strict: true);
        Assert.Equivalent(key, daemon.Get(Daemon.Manager, "default/KEY-1"), strict: true);
    }

    [Fact]
    public async Task It_has_no_grants_but_those_asked_for_not_even_its_makers()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        KeyDescription key = await daemon.CreateKeyAsync(
            "key-1", ("uid:2000", KeyRole.Encryptor), ("uid:2000", KeyRole.Encryptor), ("gid:34", KeyRole.Decryptor));
        GrantsResult grants = daemon.Operations.ListGrants.Run(Daemon.Manager, new KeyRequest { Key = key.Tag });
        Assert.Equal(
            [("uid:2000", KeyRole.Encryptor), ("gid:34", KeyRole.Decryptor)], grants.Grants.Select(grant => (grant.Principal, grant.Role)));
        Assert.Equal(["store:manager"], key.MyRoles);
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.EncryptAsync(Daemon.Manager, key.Tag));
    }

    /// <summary>1000 characters: 47 grants make 992, and with one more it were 1013.</summary>
    [Fact]
    public async Task The_history_names_the_key_and_whom_it_was_granted_to_as_far_as_there_is_room()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1");
        _ = await daemon.CreateKeyAsync("key-2", ("uid:2000", KeyRole.Encryptor), ("uid:2000", KeyRole.Encryptor), ("gid:34", KeyRole.Decryptor));
        string[] many = [.. Enumerable.Range(10_000, 60).Select(uid => $"uid:{uid}")];
        _ = await daemon.CreateKeyAsync("key-3", [.. many.Select(principal => (principal, KeyRole.Encryptor))]);
        string told = string.Join(", ", many.Take(47).Select(principal => $"{principal} encryptor"));
        Assert.Equal(
            $"key-1|key-2: uid:2000 encryptor, gid:34 decryptor|key-3: {told} and 13 more", daemon.Query(
                "SELECT group_concat(detail, '|') FROM (SELECT detail FROM history WHERE operation = 'keys.create' ORDER BY sequence)"));
    }

    [Fact]
    public async Task Whoever_gets_a_role_becomes_a_member()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor), ("uid:1000", KeyRole.Decryptor));
        MembersResult members = daemon.Operations.ListMembers.Run(Daemon.Manager, new ListMembersRequest { Store = "default" });
        Assert.Equal(
            [("uid:1000", StoreRole.Manager), ("uid:2000", StoreRole.User)], members.Members.Select(member => (member.Principal, member.Role)));
    }

    [Fact]
    public async Task Only_a_manager_of_the_store_makes_keys()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.AddMemberAsync(Daemon.Manager, "uid:2000", StoreRole.User);
        Caller user = Daemon.Uid(2000);
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.CreateKeyAsync(user, Request("key-1")));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.CreateKeyAsync(Daemon.Operator, Request("key-1")));
        KmsException toStranger = await Refusal.OfAsync(
            KmsErrorCode.NotFound, () => daemon.CreateKeyAsync(Daemon.Stranger, Request("key-1")));
        KmsException ofNothing = await Refusal.OfAsync(
            KmsErrorCode.NotFound, () => daemon.CreateKeyAsync(Daemon.Stranger, Request("key-1") with { Store = "nowhere" }));
        Assert.Equal("There is no key store 'nowhere'.", ofNothing.Message);
        Assert.Equal("There is no key store 'default'.", toStranger.Message);
        Assert.Empty(daemon.Catalogue.Current.Keys);
    }

    [Fact]
    public async Task A_name_is_taken_once_without_regard_to_case()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("Key-1");
        _ = await Refusal.OfAsync(KmsErrorCode.AlreadyExists, () => daemon.CreateKeyAsync("kEY-1"));
        await daemon.RestartAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.AlreadyExists, () => daemon.CreateKeyAsync("KEY-1"));
        Assert.Equal("Key-1", Assert.Single(daemon.Catalogue.Current.Keys.Values).Name);
    }

    [Fact]
    public async Task Of_many_who_want_one_name_at_once_one_gets_it()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        Task<KeyDescription>[] creations = [.. Enumerable.Range(0, 50).Select(number => daemon.CreateKeyAsync(
            Daemon.Manager, Request(number % 2 == 0 ? "key-1" : "KEY-1")))];
        _ = await Task.WhenAny(Task.WhenAll(creations));
        _ = Assert.Single(creations, creation => creation.IsCompletedSuccessfully);
        Assert.All(
            creations.Where(creation => creation.IsFaulted),
            creation => Assert.Equal(KmsErrorCode.AlreadyExists, Assert.IsType<KmsException>(creation.Exception!.InnerException).Code));
        await daemon.RestartAsync();
        Assert.Single(daemon.Catalogue.Current.Keys);
    }

    [Theory]
    [InlineData("ab")]
    [InlineData("0123456789abcdef0123456789abcdef")]
    [InlineData("a/b")]
    public async Task A_name_of_another_form_is_refused(string name)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => daemon.CreateKeyAsync(name));
    }

    [Theory]
    [InlineData(0, false, false)]
    [InlineData(1, true, false)]
    [InlineData(365, true, false)]
    [InlineData(366, true, true)]
    [InlineData(730, true, true)]
    [InlineData(731, false, false)]
    public async Task A_period_is_one_to_seven_hundred_and_thirty_days_and_long_ones_are_warned_of(int days, bool isValid, bool isWarned)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        if (isValid)
        {
            KeyDescription key = await daemon.CreateKeyAsync(Daemon.Manager, Request("key-1") with { Period = days });
            Assert.Equal(isWarned, key.Warnings is not null);
        }
        else
        {
            _ = await Refusal.OfAsync(
                KmsErrorCode.InvalidParams, () => daemon.CreateKeyAsync(Daemon.Manager, Request("key-1") with { Period = days }));
        }
    }

    [Theory]
    [InlineData("x", 100, true)]
    [InlineData("x", 101, false)]
    [InlineData("🔑", 100, true)]
    [InlineData("🔑", 101, false)]
    [InlineData("\n", 1, false)]
    public async Task A_memo_has_at_most_a_hundred_characters_and_no_controls(string character, int count, bool isValid)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        string memo = string.Concat(Enumerable.Repeat(character, count));
        Task<KeyDescription> creation = daemon.CreateKeyAsync(Daemon.Manager, Request("key-1") with { Memo = memo });
        if (isValid)
        {
            Assert.Equal(memo, (await creation).Memo);
            await daemon.RestartAsync();
            Assert.Equal(memo, daemon.Get(Daemon.Manager, "key-1").Memo);
        }
        else
        {
            _ = await Task.WhenAny(creation);
            Assert.Equal(KmsErrorCode.InvalidParams, Assert.IsType<KmsException>(creation.Exception!.InnerException).Code);
        }
    }

    [Fact]
    public async Task A_store_holds_as_many_keys_as_configured_and_not_one_more()
    {
        await using Daemon daemon = await Daemon.StartAsync(new DaemonOptions { KeysPerStore = 2 });
        _ = await daemon.CreateKeyAsync("key-1");
        _ = await daemon.CreateKeyAsync("key-2");
        KmsException third = await Refusal.OfAsync(KmsErrorCode.LimitExceeded, () => daemon.CreateKeyAsync("key-3"));
        Assert.Contains("([limits] keys_per_store)", third.Message, StringComparison.Ordinal);
        Assert.Equal(2, daemon.Catalogue.Current.Keys.Count);
    }

    [Fact]
    public async Task A_key_is_made_with_all_its_grants_or_not_at_all()
    {
        await using Daemon daemon = await Daemon.StartAsync(new DaemonOptions { GrantsPerKey = 2, MembersPerStore = 3 });
        _ = await daemon.CreateKeyAsync("key-1", ("uid:1", KeyRole.Encryptor), ("uid:2", KeyRole.Encryptor));
        _ = await Refusal.OfAsync(
            KmsErrorCode.LimitExceeded,
            () => daemon.CreateKeyAsync("key-2", ("uid:1", KeyRole.Encryptor), ("uid:2", KeyRole.Encryptor), ("uid:1", KeyRole.Decryptor)));

        // The second of the two would be the fourth member: found only while the change is written.
        KmsException fourth = await Refusal.OfAsync(
            KmsErrorCode.LimitExceeded, () => daemon.CreateKeyAsync("key-2", ("uid:1", KeyRole.Encryptor), ("uid:3", KeyRole.Encryptor)));
        Assert.Equal(
            "The key store 'default' may have at most 3 members ([limits] members_per_store). Whoever gets a role on one of its keys becomes a member.", fourth.Message);
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => daemon.CreateKeyAsync("key-2", ("uid:65534", KeyRole.Encryptor)));
        _ = await daemon.CreateKeyAsync("key-2", ("uid:1", KeyRole.Encryptor));
        await daemon.RestartAsync();
        Assert.Equal(2, daemon.Catalogue.Current.Keys.Count);
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        Assert.Equal(2L, daemon.Query("SELECT count(*) FROM version_material"));
    }

    [Theory]
    [InlineData(KeyType.Rsa2048, null, KeyProtection.Hsm)]
    [InlineData(KeyType.EcdsaP256, KeyProtection.Hsm, KeyProtection.Hsm)]
    [InlineData(KeyType.Aes256Gcm96, KeyProtection.Hsm, KeyProtection.Hsm)]
    [InlineData(KeyType.Rsa2048, KeyProtection.Software, KeyProtection.Software)]
    public async Task The_protection_is_the_one_asked_for_or_the_daemons_and_stays(
        KeyType type, KeyProtection? asked, KeyProtection expected)
    {
        await using Daemon daemon = await Daemon.StartAsync(new DaemonOptions { DefaultProtection = KeyProtection.Hsm });
        KeyDescription key = await daemon.CreateKeyAsync(
            Daemon.Manager, new CreateKeyRequest { Name = "key-1", Type = type, Protection = asked });
        Assert.Equal(expected, key.Protection);
        _ = await daemon.Operations.RotateKey.RunAsync(
            Daemon.Manager, new KeyRequest { Key = "key-1" }, TestContext.Current.CancellationToken);
        await daemon.RestartAsync();
        Assert.Equal(expected, daemon.Get(Daemon.Manager, "key-1").Protection);
        bool areHeld = expected == KeyProtection.Hsm;
        Assert.Equal(areHeld ? 2L : 0L, daemon.Query("SELECT count(binding) FROM version_material"));
    }

    [Fact]
    public async Task While_the_token_is_away_nothing_is_made()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        daemon.Root.IsAway = true;
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => daemon.CreateKeyAsync("key-1"));
        Assert.Equal("unavailable", daemon.Operations.ReadStatus.Run(Daemon.Stranger).Token);
        daemon.Root.IsAway = false;
        _ = await daemon.CreateKeyAsync("key-1");
    }

    private static Ask Request(string name) => new(name);

    /// <summary>A request with members that tests vary.</summary>
    private sealed record Ask(string Name)
    {
        public string? Store { get; init; }

        public string? Memo { get; init; }

        public int? Period { get; init; }

        public static implicit operator CreateKeyRequest(Ask ask) => new()
        {
            Name = ask.Name,
            Type = KeyType.Aes256Gcm96,
            Store = ask.Store,
            Memo = ask.Memo,
            RotationPeriodDays = ask.Period,
        };
    }
}
