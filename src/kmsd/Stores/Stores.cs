using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Storage;

namespace Kmsd.Stores;

/// <summary>Makes a key store and its first manager, in one change: <c>stores.create</c>.</summary>
internal sealed class CreateStore(
    CatalogueLedger catalogue, GrantBook grants, HistoryLog history, Writer writer, Operators operators, KeyLimits limits, TimeProvider clock)
{
    public async Task<StoreDescription> RunAsync(Caller caller, CreateStoreRequest request, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        if (!ResourceName.IsValid(request.Name))
        {
            throw new KmsException(KmsErrorCode.InvalidParams, $"A store's name is {ResourceName.Rule}.");
        }

        var manager = Principal.Parse(request.Manager);
        return await writer.ChangeAsync(
            () =>
            {
                if (catalogue.Staged.FindStore(request.Name) is not null)
                {
                    throw new KmsException(KmsErrorCode.AlreadyExists, $"There is a key store of the name '{request.Name}' already.");
                }

                if (catalogue.Staged.Stores.Count >= limits.Stores)
                {
                    throw new KmsException(KmsErrorCode.LimitExceeded, $"There are {limits.Stores} key stores; there may be no more ([limits] stores).");
                }

                DateTimeOffset now = clock.GetUtcNow();
                KeyStore store = new(StoreId.New(), request.Name, now);
                catalogue.Add(store);
                grants.AddMember(catalogue.Staged.Stores[store.Id], new Member(manager, StoreRole.Manager, now));
                _ = history.Append(MemberDescriptions.Entry("stores.create", caller, store, $"{store.Name}, manager {manager}", now));
                return catalogue.Staged.Stores[store.Id].Describe(caller);
            },
            cancellationToken);
    }
}

/// <summary>The caller's stores; for operators all: <c>stores.list</c>.</summary>
internal sealed class ListStores(CatalogueLedger catalogue, Operators operators)
{
    public ListStoresResult Run(Caller caller)
    {
        Catalogue snapshot = catalogue.Current;
        bool isOperator = operators.Contains(caller);
        return new ListStoresResult
        {
            Stores =
            [
                .. snapshot.StoreNames.Values.Select(id => snapshot.Stores[id])
                    .Where(store => isOperator || store.RoleOf(caller) != StoreRole.None).Select(store => store.Describe(caller)),
            ],
        };
    }
}

/// <summary>Stores as they are told to a caller.</summary>
internal static class StoreDescriptions
{
    public static StoreDescription Describe(this KeyStore store, Caller caller) => new()
    {
        Name = store.Name,
        CreatedAt = store.CreatedAt,
        MyRole = store.RoleOf(caller) is StoreRole role and not StoreRole.None ? role : null,
    };
}
