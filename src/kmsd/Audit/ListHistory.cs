using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;

namespace Kmsd.Audit;

/// <summary>Who did what, newest first, to a key, in a store, or to the service itself: <c>history.list</c>.</summary>
internal sealed class ListHistory(CatalogueLedger catalogue, HistoryReader history, Operators operators)
{
    public async Task<HistoryResult> RunAsync(Caller caller, ListHistoryRequest request, CancellationToken cancellationToken)
    {
        HistoryQuery query = HistoryRequests.Read(Subject(caller, request), request.Limit, request.Before, request.Operation, request.Principal);
        if (query.Subject == HistorySubject.Store)
        {
            query = query with { Keys = catalogue.Current.TagsOf(StoreId.FromBytes((byte[])query.Id)) };
        }

        return (await history.ListAsync(query, cancellationToken)).Describe();
    }

    private (HistorySubject, object) Subject(Caller caller, ListHistoryRequest request)
    {
        switch (request)
        {
            case { Key: string key, Store: null, Scope: null }:
                return (HistorySubject.Key, catalogue.Current.Require(caller, KeyReference.Parse(key), KeyAction.SeeHistory).Tag.ToBytes());
            case { Key: null, Store: string store, Scope: null }:
                return (HistorySubject.Store, catalogue.Current.Require(caller, operators, store, StoreAction.ManageStore).Id.ToBytes());
            case { Key: null, Store: null, Scope: HistoryScope.Root }:
                operators.RequireRootAdministrator(caller);
                return (HistorySubject.Scope, HistoryScope.Root);
            case { Key: null, Store: null, Scope: HistoryScope.System }:
                operators.Require(caller);
                return (HistorySubject.Scope, HistoryScope.System);
            default:
                throw new KmsException(KmsErrorCode.InvalidParams, "Exactly one of key, store and scope ('root' or 'system') is needed.");
        }
    }
}
