using System.Text.Json;
using Kms.Client.Protocol;
using Kms.Client.Transport;

namespace Kms.Client;

/// <summary>
/// A client of kmsd: one method per RPC of <c>docs/api.md</c>, no policy. Safe for any number of threads, which share one
/// connection with at most 128 requests in flight; it is opened when it is first needed and again after the daemon restarted.
/// </summary>
/// <remarks>
/// <para>Every method throws <see cref="KmsException"/> when the daemon refuses (branch on <see cref="KmsException.Code"/>),
/// <see cref="KmsUnreachableException"/> when it can't be reached, <see cref="OperationCanceledException"/> when the caller gave
/// up, and <see cref="ObjectDisposedException"/> after disposal.</para>
/// <para>If the connection breaks, whatever only reads, and the use of keys, is sent once more on a fresh connection. A change never is: it fails
/// with <see cref="KmsUnreachableException.OutcomeUnknown"/> if it had been sent. A cancelled change past its commit stands.</para>
/// </remarks>
public sealed partial class KmsClient : IAsyncDisposable
{
    private readonly ServerTrust _trust;
    private readonly SemaphoreSlim _opening = new(1);
    private readonly CancellationTokenSource _ending = new();
    private volatile Connection? _connection;
    private volatile bool _disposed;

    /// <summary>Makes a client; it connects when it is first used.</summary>
    /// <param name="socketPath">
    /// The daemon's socket. Default: the environment's <c>KMSD_SOCKET</c> (not read in a program that runs with more rights than
    /// its caller), else <c>/run/kmsd/kmsd.sock</c>.
    /// </param>
    public KmsClient(string? socketPath = null)
        : this(socketPath, ServerTrust.Default)
    {
    }

    internal KmsClient(string? socketPath, ServerTrust trust)
    {
        SocketPath = ServiceAddress.Choose(socketPath);
        _trust = trust;
    }

    /// <summary>The socket that this client connects to.</summary>
    public string SocketPath { get; }

    /// <summary><c>grants.list</c>: the grants on a key.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<GrantsResult> ListGrantsAsync(KeyRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ListGrants, request, cancellationToken);

    /// <summary><c>grants.add</c>: gives a principal a role on a key.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<GrantsResult> AddGrantAsync(GrantRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.AddGrant, request, cancellationToken);

    /// <summary><c>grants.remove</c>: takes a role on a key away.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<GrantsResult> RemoveGrantAsync(GrantRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.RemoveGrant, request, cancellationToken);

    /// <summary><c>members.list</c>: the members of a store.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<MembersResult> ListMembersAsync(ListMembersRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.ListMembers, request, cancellationToken);

    /// <summary><c>members.add</c>: makes a principal a member of a store, or changes its role.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<MembersResult> AddMemberAsync(AddMemberRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.AddMember, request, cancellationToken);

    /// <summary><c>members.remove</c>: ends a membership and all grants that hang on it.</summary>
    /// <inheritdoc cref="CreateKeyAsync" path="/exception"/>
    public Task<MembersResult> RemoveMemberAsync(RemoveMemberRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.RemoveMember, request, cancellationToken);

    /// <summary><c>system.status</c>: whether the service is well.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<StatusResult> GetStatusAsync(CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.Status, new EmptyRequest(), cancellationToken);

    /// <summary><c>system.whoAmI</c>: what the kernel tells the daemon of this caller.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<WhoAmIResult> WhoAmIAsync(CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.WhoAmI, new EmptyRequest(), cancellationToken);

    /// <summary><c>rpc.discover</c>: the daemon's OpenRPC document.</summary>
    /// <inheritdoc cref="GetKeyAsync" path="/exception"/>
    public Task<JsonElement> DiscoverAsync(CancellationToken cancellationToken = default) =>
        InvokeAsync(RpcCalls.Discover, new EmptyRequest(), cancellationToken);

    /// <summary>Closes the connections; requests in flight fail, and subscriptions end.</summary>
    public async ValueTask DisposeAsync()
    {
        _disposed = true;
        await _ending.CancelAsync().ConfigureAwait(false);
        await _opening.WaitAsync().ConfigureAwait(false);
        try
        {
            await CloseAsync().ConfigureAwait(false);
        }
        finally
        {
            _opening.Release();
        }
    }

    private async Task<TResult> InvokeAsync<TParams, TResult>(
        RpcCall<TParams, TResult> call, TParams request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        for (bool again = false; ; again = true)
        {
            Connection connection = await OpenAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                return await connection.InvokeAsync(call, request, cancellationToken).ConfigureAwait(false);
            }
            catch (ConnectionLostException lost)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                bool harmless = call.MayRepeat || !lost.Sent;
                if (!harmless || again)
                {
                    throw Describe(call.Method, lost, harmless);
                }
            }
        }
    }

    private static KmsUnreachableException Describe(string method, ConnectionLostException lost, bool harmless) => new(
        harmless
            ? $"kmsd closed the connection twice before it answered '{method}'; see its journal (journalctl -u kmsd)."
            : $"kmsd went away before it answered '{method}': whether the change was made is unknown; look before you repeat it.",
        lost.InnerException)
    {
        OutcomeUnknown = !harmless,
    };

    private async Task<Connection> OpenAsync(CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_connection is { IsOpen: true } current)
        {
            return current;
        }

        await _opening.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_connection is { IsOpen: true } opened)
            {
                return opened;
            }

            await CloseAsync().ConfigureAwait(false);
            Connection fresh = await ConnectAsync(null, cancellationToken).ConfigureAwait(false);
            _connection = fresh;
            return fresh;
        }
        finally
        {
            _opening.Release();
        }
    }

    private Task<Connection> ConnectAsync(PushedNotifications? pushed, CancellationToken cancellationToken) =>
        Connection.OpenAsync(SocketPath, _trust, pushed, cancellationToken);

    private async Task CloseAsync()
    {
        if (Interlocked.Exchange(ref _connection, null) is Connection old)
        {
            await old.DisposeAsync().ConfigureAwait(false);
        }
    }
}
