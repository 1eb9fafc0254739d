using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.Storage;

namespace Kmsd.Deletion;

/// <summary>
/// Destroys a key's material: at once on demand (<c>keys.deleteNow</c>), or when its window has ended. Rows are overwritten and
/// removed, the write-ahead log is emptied, opened material is dropped; what remains is kept for a year.
/// </summary>
internal sealed class DeleteKey(
    CatalogueLedger catalogue, HistoryLog history, NoticeLog notices, Writer writer, MaterialCache cache, TimeProvider clock)
{
    private readonly KeyDestruction _destruction = new(catalogue, history, notices);

    public async Task<DeleteNowResult> RunAsync(Caller caller, DeleteKeyRequest request, CancellationToken cancellationToken)
    {
        var reference = KeyReference.Parse(request.Key);
        _ = catalogue.Current.Require(caller, reference, KeyAction.Manage);
        Key deleted = await writer.ChangeAsync(
            () =>
            {
                Key key = catalogue.Staged.Require(caller, reference, KeyAction.Manage).RequirePendingDeletion();
                key.RequireConfirmation(request.ConfirmName);
                return _destruction.Run(key, "keys.deleteNow", caller, clock.GetUtcNow());
            },
            cancellationToken,
            erases: true);
        cache.Drop(deleted.Tag);

        // Backups hold the sealed key until the newest of these generations is retired.
        return new DeleteNowResult { RecoverableUntil = deleted.Versions.Max(version => version.Material.Generation) };
    }

    /// <summary>When the window has ended; looked at again in the writer. False if it has not.</summary>
    public async Task<bool> RunDueAsync(KeyTag tag, CancellationToken cancellationToken)
    {
        bool done = await writer.ChangeAsync(
            () => catalogue.Staged.Keys.TryGetValue(tag, out Key? key) && IsDue(key, clock.GetUtcNow())
                && _destruction.Run(key, "deletion.automatic", null, clock.GetUtcNow()) is not null,
            cancellationToken,
            erases: true);
        cache.Drop(tag);
        return done;
    }

    public static bool IsDue(Key key, DateTimeOffset now) =>
        key.State == KeyState.PendingDeletion && key.DeleteAt <= now && !key.IsQuarantined;
}
