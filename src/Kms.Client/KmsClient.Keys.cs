using Kms.Client.Protocol;
using Kms.Client.Transport;

namespace Kms.Client;

/// <content>Managing keys.</content>
public sealed partial class KmsClient
{
    /// <summary><c>keys.create</c>: makes a key.</summary>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached, or went away; see its OutcomeUnknown.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    public Task<KeyDescription> CreateKeyAsync(CreateKeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.CreateKey, request, cancellationToken);

    /// <summary><c>keys.list</c>: one page of the keys that the caller may see.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<ListKeysResult> ListKeysAsync(ListKeysRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ListKeys, request, cancellationToken);

    /// <summary><c>keys.get</c>: one key.</summary>
    /// <exception cref="KmsException">The daemon refused.</exception>
    /// <exception cref="KmsUnreachableException">The daemon can't be reached.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    public Task<KeyDescription> GetKeyAsync(KeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.GetKey, request, cancellationToken);

    /// <summary><c>keys.update</c>: changes a key's name or memo.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<KeyDescription> UpdateKeyAsync(UpdateKeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.UpdateKey, request, cancellationToken);

    /// <summary><c>keys.rotate</c>: makes a new version, which seals and signs from now on; the schedule stays as it was.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<KeyDescription> RotateKeyAsync(KeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.RotateKey, request, cancellationToken);

    /// <summary><c>keys.setRotationPeriod</c>: changes the period; it counts from the rotation that is already due.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<KeyDescription> SetRotationPeriodAsync(SetRotationPeriodRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.SetRotationPeriod, request, cancellationToken);

    /// <summary><c>keys.enable</c>: makes a disabled key usable again.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<KeyDescription> EnableKeyAsync(KeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.EnableKey, request, cancellationToken);

    /// <summary><c>keys.disable</c>: makes a key unusable until it is enabled again.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<KeyDescription> DisableKeyAsync(KeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.DisableKey, request, cancellationToken);

    /// <summary><c>keys.requestDeletion</c>: has the key destroyed in 72 hours, unless that is cancelled.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<KeyDescription> RequestDeletionAsync(DeleteKeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.RequestDeletion, request, cancellationToken);

    /// <summary><c>keys.cancelDeletion</c>: calls a pending deletion off; the key is disabled then.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<KeyDescription> CancelDeletionAsync(KeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.CancelDeletion, request, cancellationToken);

    /// <summary><c>keys.deleteNow</c>: destroys a key whose deletion is pending.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<DeleteNowResult> DeleteNowAsync(DeleteKeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.DeleteNow, request, cancellationToken);

    /// <summary><c>keys.getPublicKey</c>: the public key of one version.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<PublicKeyResult> GetPublicKeyAsync(GetPublicKeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.GetPublicKey, request, cancellationToken);

    /// <summary><c>versions.list</c>: one page of a key's versions.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<ListVersionsResult> ListVersionsAsync(ListVersionsRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ListVersions, request, cancellationToken);

    /// <summary><c>versions.disable</c>: makes an older version unusable until it is enabled again.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<VersionDescription> DisableVersionAsync(VersionRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.DisableVersion, request, cancellationToken);

    /// <summary><c>versions.enable</c>: makes a disabled version usable again.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<VersionDescription> EnableVersionAsync(VersionRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.EnableVersion, request, cancellationToken);

    /// <summary><c>deletedKeys.list</c>: what is kept of deleted keys; operators only.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<ListDeletedKeysResult> ListDeletedKeysAsync(ListDeletedKeysRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ListDeletedKeys, request, cancellationToken);

    /// <summary><c>deletedKeys.history</c>: the history of a deleted key; operators only, and itself recorded.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<HistoryResult> ReadDeletedKeyHistoryAsync(DeletedKeyHistoryRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ReadDeletedKeyHistory, request, cancellationToken);

    /// <summary><c>deletedKeys.purge</c>: ends what is kept of a deleted key before its time; operators only.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task PurgeDeletedKeyAsync(PurgeDeletedKeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.PurgeDeletedKey, request, cancellationToken);

    /// <summary><c>deletions.release</c>: lets deletions run that wait after a clock jump; operators only.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task ReleaseDeletionsAsync(CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ReleaseDeletions, new EmptyRequest(), cancellationToken);
}
