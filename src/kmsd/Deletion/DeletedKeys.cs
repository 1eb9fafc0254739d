using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Storage;

namespace Kmsd.Deletion;

/// <summary>What remains of deleted keys, for operators: <c>deletedKeys.list</c>.</summary>
internal sealed class ListDeletedKeys(CatalogueLedger catalogue, Operators operators)
{
    public ListDeletedKeysResult Run(Caller caller, ListDeletedKeysRequest request)
    {
        operators.Require(caller);
        return new ListDeletedKeysResult
        {
            Keys =
            [
                .. catalogue.Current.Deleted.Values
                    .Where(key => request.Store is null || key.Store.Equals(request.Store, StringComparison.OrdinalIgnoreCase))
                    .OrderByDescending(key => key.DeletedAt).ThenBy(key => key.Tag.Text, StringComparer.Ordinal).Select(Describe),
            ],
        };
    }

    private static DeletedKeyDescription Describe(DeletedKey key) => new()
    {
        Tag = key.Tag.Text,
        Name = key.Name,
        Store = key.Store,
        Type = key.Type,
        Protection = key.Protection,
        CreatedAt = key.CreatedAt,
        DeletionRequestedAt = key.RequestedAt,
        DeletedAt = key.DeletedAt,
        PurgeAt = key.PurgeAt,
        Versions = key.Versions,
        UsageCount = key.UsageCount,
        ItemCount = key.ItemCount,
        LastUsedAt = key.LastUsedAt,
        Grants = [.. key.Grants.Select(KeyDescriptions.Describe)],
    };
}

/// <summary>Removes what remains of a deleted key, when its year is over or by hand: <c>deletedKeys.purge</c>.</summary>
internal sealed class PurgeDeletedKey(CatalogueLedger catalogue, HistoryLog history, Writer writer, Operators operators, TimeProvider clock)
{
    private const int MostReasonCharacters = 100;

    public async Task<EmptyResult> RunAsync(Caller caller, PurgeDeletedKeyRequest request, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        if (request.Reason.Length is < 1 or > MostReasonCharacters || request.Reason.Any(char.IsControl))
        {
            throw new KmsException(
                KmsErrorCode.InvalidParams, $"A reason is 1 to {MostReasonCharacters} characters, without control characters.");
        }

        if (!KeyTag.TryParse(request.Tag, out KeyTag tag))
        {
            throw new KmsException(KmsErrorCode.InvalidParams, "A deleted key is named by its tag: 32 hexadecimal digits.");
        }

        return await writer.ChangeAsync(
            () =>
            {
                DeletedKey key = catalogue.Staged.Deleted.GetValueOrDefault(tag) ?? throw Refusals.NoSuchKey();
                Purge(key, "deletedKeys.purge", caller, request.Reason);
                return new EmptyResult();
            },
            cancellationToken,
            erases: true);
    }

    /// <summary>When its year is over.</summary>
    public Task<bool> RunDueAsync(KeyTag tag, CancellationToken cancellationToken) => writer.ChangeAsync(
        () =>
        {
            if (catalogue.Staged.Deleted.GetValueOrDefault(tag) is not DeletedKey key || key.PurgeAt > clock.GetUtcNow())
            {
                return false;
            }

            Purge(key, "deletedKeys.purge", null, null);
            return true;
        },
        cancellationToken,
        erases: true);

    private void Purge(DeletedKey key, string operation, Caller? caller, string? reason)
    {
        catalogue.Purge(key);
        history.Append(new HistoryEntry
        {
            At = clock.GetUtcNow(),
            Scope = HistoryScope.System,
            Operation = operation,
            Caller = caller,
            StoreId = key.StoreId.ToBytes(),
            Detail = reason is null ? key.Tag.Text : $"{key.Tag.Text}: {reason}",
        });
    }
}
