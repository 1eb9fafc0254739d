using Kms.Client.Protocol;
using Kmsd.Configuration;

namespace Kmsd.Tests.Stores;

public sealed class StoresTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_operator_makes_a_store_with_its_first_manager_who_alone_makes_keys_there()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        StoreDescription store = await CreateAsync(daemon, "Customer-1", "uid:5000");
        Assert.Equal(("Customer-1", daemon.Clock.GetUtcNow(), null), (store.Name, store.CreatedAt, store.MyRole));
        CreateKeyRequest request = new() { Name = "key-1", Type = KeyType.Aes256Gcm96, Store = "customer-1" };
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.CreateKeyAsync(Daemon.Manager, request));
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.CreateKeyAsync(Daemon.Operator, request));
        Assert.Equal("Customer-1", (await daemon.CreateKeyAsync(Daemon.Uid(5000), request)).Store);
        _ = await daemon.CreateKeyAsync("key-1");
        await daemon.RestartAsync();
        Assert.Equal("Customer-1", daemon.Get(Daemon.Uid(5000), "CUSTOMER-1/key-1").Store);
        _ = Refusal.Of(KmsErrorCode.NotFound, () => daemon.Get(Daemon.Uid(5000), "key-1"));
        _ = Refusal.Of(KmsErrorCode.NotFound, () => daemon.Get(Daemon.Manager, "customer-1/key-1"));
    }

    [Fact]
    public async Task A_caller_sees_his_stores_and_an_operator_all()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await CreateAsync(daemon, "beta", "uid:5000");
        _ = await CreateAsync(daemon, "Alpha", "uid:1000");
        Assert.Equal(["Alpha", "beta", "default"], daemon.Operations.ListStores.Run(Daemon.Operator).Stores.Select(store => store.Name));
        Assert.Equal(
            [("Alpha", StoreRole.Manager), ("default", StoreRole.Manager)],
            daemon.Operations.ListStores.Run(Daemon.Manager).Stores.Select(store => (store.Name, store.MyRole!.Value)));
        Assert.Empty(daemon.Operations.ListStores.Run(Daemon.Stranger).Stores);
    }

    [Theory]
    [InlineData("Default", KmsErrorCode.AlreadyExists)]
    [InlineData("ab", KmsErrorCode.InvalidParams)]
    [InlineData("1st", KmsErrorCode.InvalidParams)]
    [InlineData("0123456789abcdef0123456789abcdef", KmsErrorCode.InvalidParams)]
    public async Task A_name_that_is_taken_or_malformed_is_refused_and_nothing_is_made(string name, KmsErrorCode code)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await Refusal.OfAsync(code, () => CreateAsync(daemon, name, "uid:5000"));
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => CreateAsync(daemon, "good", "uid:65534"));
        Assert.Single(daemon.Operations.ListStores.Run(Daemon.Operator).Stores);
    }

    [Fact]
    public async Task Only_operators_make_stores_and_only_so_many()
    {
        await using Daemon daemon = await Daemon.StartAsync(new DaemonOptions { Stores = 2 });
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.Operations.CreateStore.RunAsync(
            Daemon.Manager, new CreateStoreRequest { Name = "mine", Manager = "uid:1000" }, Cancellation));
        _ = await CreateAsync(daemon, "second", "uid:5000");
        KmsException third = await Refusal.OfAsync(KmsErrorCode.LimitExceeded, () => CreateAsync(daemon, "third", "uid:5000"));
        Assert.Equal("There are 2 key stores; there may be no more ([limits] stores).", third.Message);
    }

    private static Task<StoreDescription> CreateAsync(Daemon daemon, string name, string manager) =>
        daemon.Operations.CreateStore.RunAsync(Daemon.Operator, new CreateStoreRequest { Name = name, Manager = manager }, Cancellation);
}
