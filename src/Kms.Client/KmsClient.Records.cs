using Kms.Client.Protocol;
using Kms.Client.Transport;

namespace Kms.Client;

/// <content>Stores, history, notifications, the root key.</content>
public sealed partial class KmsClient
{
    /// <summary><c>stores.create</c>: makes a key store with its first manager; operators only.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<StoreDescription> CreateStoreAsync(CreateStoreRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.CreateStore, request, cancellationToken);

    /// <summary><c>stores.list</c>: the caller's stores; for operators all.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<ListStoresResult> ListStoresAsync(CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ListStores, new EmptyRequest(), cancellationToken);

    /// <summary><c>history.list</c>: who did what, newest first, one page.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<HistoryResult> ListHistoryAsync(ListHistoryRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ListHistory, request, cancellationToken);

    /// <summary><c>history.verify</c>: has the daemon compute the whole chain again; operators only. May take long.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<VerifyHistoryResult> VerifyHistoryAsync(CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.VerifyHistory, new EmptyRequest(), cancellationToken);

    /// <summary><c>history.export</c>: everything that the chain holds, oldest first, one page; operators only.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<ExportHistoryResult> ExportHistoryAsync(ExportHistoryRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ExportHistory, request, cancellationToken);

    /// <summary><c>usage.report</c>: what a store's keys were and did in a month.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<UsageReportResult> ReportUsageAsync(UsageReportRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ReportUsage, request, cancellationToken);

    /// <summary><c>notifications.list</c>: what concerned the caller and wasn't acknowledged, one page.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<ListNotificationsResult> ListNotificationsAsync(ListNotificationsRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ListNotifications, request, cancellationToken);

    /// <summary><c>notifications.acknowledge</c>: takes what was seen out of the caller's list.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task AcknowledgeNotificationsAsync(AcknowledgeNotificationsRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.AcknowledgeNotifications, request, cancellationToken);

    /// <summary><c>backup.create</c>: has the daemon copy its database into its backup folder; operators only. May take long.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<CreateBackupResult> CreateBackupAsync(CreateBackupRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.CreateBackup, request, cancellationToken);

    /// <summary><c>root.status</c>: the root key, its generations and its custody; root administrators only.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<RootStatusResult> ReadRootStatusAsync(CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ReadRootStatus, new EmptyRequest(), cancellationToken);

    /// <summary><c>root.rotate</c>: a new generation of a root key that the token makes; root administrators only. What the old one carries is carried over afterwards.</summary>
    /// <param name="reason">Why; 1 to 100 characters, kept in the history.</param>
    /// <param name="cancellationToken">Ends the wait, not the rotation.</param>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<RootStatusResult> RotateRootAsync(string reason, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.RotateRoot, new RotateRootRequest { Reason = reason }, cancellationToken);

    /// <summary><c>root.retire</c>: destroys an old generation, at least 7 days after it was replaced; root administrators only.</summary>
    /// <param name="generation">Its number.</param>
    /// <param name="reason">Why; 1 to 100 characters, kept in the history.</param>
    /// <param name="cancellationToken">Ends the wait, not the retirement.</param>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<RootStatusResult> RetireRootAsync(long generation, string reason, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.RetireRoot, new RetireRootRequest { Generation = generation, Reason = reason }, cancellationToken);

    /// <summary><c>system.metrics</c>: counters in Prometheus' text format; operators only.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<MetricsResult> ReadMetricsAsync(CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ReadMetrics, new EmptyRequest(), cancellationToken);
}
