using System.Net.Sockets;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.Configuration;
using Kmsd.Deletion;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Keys;
using Kmsd.RootKeys;
using Kmsd.Rotation;
using Kmsd.Rpc;
using Kmsd.Storage;
using Kmsd.Stores;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Kmsd.Commands;

/// <summary>Serving: everything is opened and checked in order, wired by hand, and closed in the opposite order.</summary>
internal static class Serve
{
    public static async Task RunAsync(CommandLine arguments, TimeProvider clock)
    {
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        _ = builder.Logging.AddConsole(console =>
        {
            console.FormatterName = ConsoleFormatterNames.Systemd;
            console.LogToStandardErrorThreshold = LogLevel.Trace;
        });
        _ = builder.Logging.SetMinimumLevel(LogLevel.Information).AddFilter("Microsoft", LogLevel.Warning);
        _ = builder.Services.Configure<ConsoleLifetimeOptions>(lifetime => lifetime.SuppressStatusMessages = true);

        using StateDirectory state = Preparation.OpenState(options);
        using var database = Database.Open(Path.Combine(state.Path, Database.FileName));
        (Instance instance, StoredCode instanceCode) = database.Load(Instance.Read);
        (StoredGeneration generation, StoredCode generationCode) = database.Load(from => StoredGeneration.Read(from, instance.Id));

        // Only this class knows the logger before the host is built, so that a failed start has one way out: an exception.
        using ILoggerFactory logs = LoggerFactory.Create(logging => logging.AddConsole(console =>
        {
            console.FormatterName = ConsoleFormatterNames.Systemd;
            console.LogToStandardErrorThreshold = LogLevel.Trace;
        }));
        using HsmRootKey root = OpenRoot(options, generation.Descriptor, logs);
        using SecretBytes rowsKey = TokenAccess.Try(() => root.DeriveKey(TokenAccess.RowsKeyLabel));
        using SecretBytes historyKey = TokenAccess.Try(() => root.DeriveKey(TokenAccess.HistoryKeyLabel));
        RowAuthenticator authenticator = new(rowsKey, instance.Id, root.Generation);
        instance.Verify(authenticator, instanceCode);
        generation.Verify(authenticator, generationCode);
        await KernelRandom.MixInAsync(root);

        database.WriteAtStart(DestroyedMaterial.Sweep);
        Catalogue loaded = database.Load(from => new CatalogueLoader(from, authenticator, logs.CreateLogger<CatalogueLoader>()).Load());
        CatalogueLedger catalogue = new(database, authenticator, loaded);
        HistoryLog history = database.Load(from => new HistoryLog(from, authenticator, historyKey));
        Writer writer = new(database, [catalogue, history], logs.CreateLogger<Writer>());
        using MaterialCache cache = new(root, clock, options.CacheEntries, options.CacheIdle, catalogue.Stands);
        LastSeen lastSeen = new(instance, database, authenticator, writer, clock);
        ConnectionCounter connections = new(options.Connections, options.ConnectionsPerUid);
        Operations operations = Wire(options, catalogue, history, writer, root, cache, connections, generation, lastSeen, clock);
        RotationService rotation = new(catalogue, operations.RotateKey, logs.CreateLogger<RotationService>());
        DeletionService deletion = new(
            catalogue, operations.DeleteKey, operations.PurgeDeletedKey, lastSeen, logs.CreateLogger<DeletionService>());

        using Socket listener = ServiceSocket.TakeHandedOver()
            ?? ServiceSocket.Bind(options.Socket, options.SocketMode, options.SocketGroup);
        ConnectionLimits limits = new(options.MaxMessageBytes, options.MaxInFlight, options.FirstRequestTimeout);
        RpcServer server = new(listener, operations, connections, limits, logs.CreateLogger<RpcServer>());
        using Service service = new(server, writer, cache, rotation, deletion, options.CacheIdle, clock);
        _ = builder.Services.AddHostedService(_ => service);
        _ = builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(30));
        using IHost host = builder.Build();
        RpcLog.Serving(logs.CreateLogger<RpcServer>(), listener.LocalEndPoint?.ToString() ?? options.Socket);
        await host.RunAsync();

        // The host ends in silence when a service fails; the failure must reach the exit code.
        await (service.ExecuteTask ?? Task.CompletedTask);
    }

    private static HsmRootKey OpenRoot(DaemonOptions options, RootGenerationDescriptor descriptor, ILoggerFactory logs)
    {
        (Token token, TokenOptions tokenOptions) = Preparation.OpenToken(options);
        try
        {
            return TokenAccess.Try(() => new HsmRootKey(token, descriptor, tokenOptions, logs.CreateLogger<HsmRootKey>()));
        }
        catch
        {
            token.Dispose();
            throw;
        }
    }

    internal static Operations Wire(
        DaemonOptions options, CatalogueLedger catalogue, HistoryLog history, Writer writer, RootKey root, MaterialCache cache,
        ConnectionCounter connections, StoredGeneration generation, LastSeen lastSeen, TimeProvider clock)
    {
        Operators operators = new(options.Operators);
        KeyLimits limits = new(options.KeysPerStore, options.GrantsPerKey, options.MembersPerStore, options.VersionsPerKey);
        GrantBook grants = new(catalogue, limits);
        UseRecorder recorder = new(catalogue, history, writer, clock);
        VersionCipher cipher = new(cache);
        Sealer sealer = new(catalogue, cipher, recorder);
        VersionMaker versions = new(root, clock);
        ChangeKey change = new(catalogue, history, writer, clock);
        RootDescription description = new()
        {
            Generation = generation.Descriptor.Number,
            Origin = StoredGeneration.TokenOrigin,
            CreatedAt = generation.CreatedAt,
            RotateBy = generation.RotateBy,
            Custody = "none",
        };
        return new Operations
        {
            CreateKey = new CreateKey(
                catalogue, grants, history, writer, versions, operators, limits, options.DefaultProtection, clock),
            Reencrypt = new Reencrypt(catalogue, cipher, recorder),
            Sign = new Sign(catalogue, cache, recorder),
            Verify = new Verify(catalogue, cache, recorder),
            Batches = new Batches(catalogue, cipher, recorder),
            UpdateKey = new UpdateKey(catalogue, change),
            RotateKey = new RotateKey(catalogue, history, writer, versions, limits, clock),
            SetRotationPeriod = new SetRotationPeriod(change),
            EnableKey = new EnableKey(change),
            DisableKey = new DisableKey(change, cache),
            RequestDeletion = new RequestDeletion(change, cache),
            CancelDeletion = new CancelDeletion(change),
            DeleteKey = new DeleteKey(catalogue, history, writer, cache, clock),
            GetPublicKey = new GetPublicKey(catalogue, cache),
            ListVersions = new ListVersions(catalogue),
            SetVersionState = new SetVersionState(change, cache),
            ListDeletedKeys = new ListDeletedKeys(catalogue, operators),
            PurgeDeletedKey = new PurgeDeletedKey(catalogue, history, writer, operators, clock),
            ReleaseDeletions = new ReleaseDeletions(lastSeen, history, writer, operators, clock),
            ListKeys = new ListKeys(catalogue, operators),
            GetKey = new GetKey(catalogue),
            Encrypt = new Encrypt(sealer),
            Decrypt = new Decrypt(catalogue, cipher, recorder),
            CreateDataKey = new CreateDataKey(sealer),
            DrawRandom = new DrawRandom(root),
            ListGrants = new ListGrants(catalogue),
            AddGrant = new AddGrant(catalogue, grants, history, writer, clock),
            RemoveGrant = new RemoveGrant(catalogue, history, writer, clock),
            ListMembers = new ListMembers(catalogue, operators),
            AddMember = new AddMember(catalogue, grants, history, writer, operators, clock),
            RemoveMember = new RemoveMember(catalogue, grants, history, writer, operators, clock),
            ReadStatus = new ReadStatus(catalogue, root, description, writer, operators, connections, clock),
            DescribeCaller = new DescribeCaller(catalogue, operators),
        };
    }
}
