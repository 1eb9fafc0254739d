using System.Globalization;
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
            Warnings = catalogue.Current.BadRemains is > 0 and int bad
                ? [string.Create(
                    CultureInfo.InvariantCulture,
                    $"What is stored of {bad} deleted {(bad == 1 ? "key" : "keys")} was changed from outside: {(bad == 1 ? "it is" : "they are")} not in this list.")]
                : null,
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

/// <summary>The history of a deleted key, for operators; that it was read is recorded: <c>deletedKeys.history</c>.</summary>
internal sealed class ReadDeletedKeyHistory(
    CatalogueLedger catalogue, HistoryReader reader, HistoryLog history, Writer writer, Operators operators, TimeProvider clock)
{
    public async Task<HistoryResult> RunAsync(Caller caller, DeletedKeyHistoryRequest request, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        KeyTag tag = PurgeDeletedKey.ParseTag(request.Tag);
        HistoryQuery query = HistoryRequests.Read(
            (HistorySubject.Key, tag.ToBytes()), request.Limit, request.Before, request.Operation, request.Principal);
        _ = await writer.ChangeAsync(
            () =>
            {
                DeletedKey key = catalogue.Staged.Deleted.GetValueOrDefault(tag) ?? throw Refusals.NoSuchKey();
                return history.Append(new HistoryEntry
                {
                    At = clock.GetUtcNow(),
                    Scope = HistoryScope.System,
                    Operation = "deletedKeys.history",
                    Caller = caller,
                    Detail = key.Tag.Text,
                });
            },
            cancellationToken);
        return (await reader.ListAsync(query, cancellationToken)).Describe();
    }
}

/// <summary>
/// Erases a deleted key's entries of the history and removes what else remains of it, when its year is over or by hand:
/// <c>deletedKeys.purge</c>. Entries go in portions; one that is cut off goes on the next time.
/// </summary>
internal sealed class PurgeDeletedKey(
    CatalogueLedger catalogue, HistoryReader reader, HistoryLog history, Writer writer, Operators operators, TimeProvider clock)
{
    private const int EntriesAtOnce = 4096;

    public async Task<EmptyResult> RunAsync(Caller caller, PurgeDeletedKeyRequest request, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        string reason = Reason.Check(request.Reason);
        KeyTag tag = ParseTag(request.Tag);
        if (!catalogue.Current.Deleted.ContainsKey(tag))
        {
            throw Refusals.NoSuchKey();
        }

        await RunAsync(tag, caller, reason, cancellationToken);
        return new EmptyResult();
    }

    /// <summary>When its year is over.</summary>
    public async Task RunDueAsync(KeyTag tag, CancellationToken cancellationToken)
    {
        if (catalogue.Current.Deleted.GetValueOrDefault(tag) is DeletedKey key && key.PurgeAt <= clock.GetUtcNow())
        {
            await RunAsync(tag, null, null, cancellationToken);
        }
    }

    /// <exception cref="KmsException"><c>invalidParams</c></exception>
    public static KeyTag ParseTag(string text) => KeyTag.TryParse(text, out KeyTag tag)
        ? tag
        : throw new KmsException(KmsErrorCode.InvalidParams, "A deleted key is named by its tag: 32 hexadecimal digits.");

    private async Task RunAsync(KeyTag tag, Caller? caller, string? reason, CancellationToken cancellationToken)
    {
        using IDisposable turn = await history.Erasure.HoldAsync(cancellationToken);
        IReadOnlyList<long> entries;
        while ((entries = await reader.FindOfKeyAsync(tag, EntriesAtOnce, cancellationToken)).Count > 0)
        {
            IReadOnlyList<long> portion = entries;
            _ = await writer.ChangeAsync(
                () =>
                {
                    history.Erase(portion, $"entries of deleted key {tag.Text}", caller, clock.GetUtcNow());
                    catalogue.AdvanceMark(history.StagedSequence);
                    return true;
                },
                cancellationToken,
                erases: true);
        }

        _ = await writer.ChangeAsync(() => Purge(tag, caller, reason), cancellationToken, erases: true);
    }

    private bool Purge(KeyTag tag, Caller? caller, string? reason)
    {
        DeletedKey key = catalogue.Staged.Deleted.GetValueOrDefault(tag) ?? throw Refusals.NoSuchKey();
        catalogue.Purge(key);
        _ = history.Append(new HistoryEntry
        {
            At = clock.GetUtcNow(),
            Scope = HistoryScope.System,
            Operation = "deletedKeys.purge",
            Caller = caller,
            Detail = reason is null ? key.Tag.Text : $"{key.Tag.Text}: {reason}",
        });
        return true;
    }
}
