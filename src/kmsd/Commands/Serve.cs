using System.Net.Sockets;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Configuration;
using Kmsd.Deletion;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Keys;
using Kmsd.Metrics;
using Kmsd.Notifications;
using Kmsd.RootKeys;
using Kmsd.Rotation;
using Kmsd.Rpc;
using Kmsd.Storage;
using Kmsd.Stores;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Kmsd.Commands;

/// <summary>Serving: everything is opened and checked in order, wired by hand, and closed in the opposite order.</summary>
internal static class Serve
{
    // Enough to fill a commit, and little enough that somebody else's request needn't wait long.
    private const int RequestsRunningAUser = 16;

    public static async Task RunAsync(CommandLine arguments, TimeProvider clock)
    {
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        UnitRules units = Preparation.TakeUnitRules(options, PeerUnit.WhyNot());
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        Journal.Configure(builder.Logging);
        _ = builder.Services.Configure<ConsoleLifetimeOptions>(lifetime => lifetime.SuppressStatusMessages = true);

        using StateDirectory state = Preparation.OpenState(options);
        using var database = Database.Open(Path.Combine(state.Path, Database.FileName));
        (Instance instance, StoredCode instanceCode) = database.Load(Instance.Read);
        (StoredGeneration generation, StoredCode generationCode) = database.Load(from => StoredGeneration.Read(from, instance.Id));

        // Only this class knows the logger before the host is built, so that a failed start has one way out: an exception.
        using ILoggerFactory logs = LoggerFactory.Create(Journal.Configure);
        using DaemonMeter meter = new(clock);
        using HsmRootKey root = OpenRoot(options, generation.Descriptor, new TokenMeter(meter), logs);
        using SecretBytes rowsKey = TokenAccess.Try(() => root.DeriveKey(TokenAccess.RowsKeyLabel));
        RowAuthenticator authenticator = new(rowsKey, instance.Id, root.Generation);
        instance.Verify(authenticator, instanceCode);
        generation.Verify(authenticator, generationCode);
        await KernelRandom.MixInAsync(root);

        Catalogue loaded = database.Load(from => new CatalogueLoader(from, authenticator, logs.CreateLogger<CatalogueLoader>()).Load());
        CatalogueLedger catalogue = new(database, authenticator, loaded);
        using HistoryLog history = OpenHistory(database, authenticator, root, instance.Id, catalogue);
        NoticeHub hub = new();
        NoticeLog notices = database.Load(from => new NoticeLog(from, authenticator, hub, logs.CreateLogger<NoticeLog>()));
        using Writer writer = new(database, [catalogue, history, notices], new WriterMeter(meter), logs.CreateLogger<Writer>());
        using DatabaseReader reader = new(Path.Combine(state.Path, Database.FileName));
        using HistoryErasure erasure = new();
        using MaterialCache cache = new(root, clock, options.CacheEntries, options.CacheIdle, catalogue.Stands, new CacheMeter(meter));
        LastSeen lastSeen = new(instance, database, authenticator, writer, clock);
        ConnectionCounter connections = new(options.Connections, options.ConnectionsPerUid);
        Operators operators = new(options.Operators, options.RootAdministrators);
        Records records = new(
            catalogue, history, erasure, notices, new DatabaseRecords(reader, new RowAuthenticator(rowsKey, instance.Id, root.Generation)), instance.Id,
            logs.CreateLogger<ListNotifications>());
        Operations operations = Wire(options, operators, records, writer, root, cache, connections, units, generation, lastSeen, meter, clock);
        StrangerCounter strangers = new(writer, database, clock, logs.CreateLogger<StrangerCounter>());
        AddGauges(new StateGauges(meter, clock));
        ToldNotices told = new(reader);
        using LogKeeper logKeeper = new(Path.Combine(state.Path, Database.FileName), writer, logs.CreateLogger<LogKeeper>());
        DueWork due = new(
            new RotationService(catalogue, operations.RotateKey, logs.CreateLogger<RotationService>()),
            new DeletionService(catalogue, notices, told, writer, operations.DeleteKey, operations.PurgeDeletedKey, lastSeen, logs.CreateLogger<DeletionService>()),
            new RetentionService(
                catalogue, history, erasure, new HistoryReader(reader), notices, strangers, writer, options.RetainDays, clock, logs.CreateLogger<RetentionService>()),
            new RootKeyWatch(generation, notices, told, writer, operators, logs.CreateLogger<RootKeyWatch>()),
            strangers,
            logKeeper);

        using Socket listener = ServiceSocket.TakeHandedOver()
            ?? ServiceSocket.Bind(options.Socket, options.SocketMode, options.SocketGroup);
        ConnectionLimits limits = new(options.MaxMessageBytes, options.MaxInFlight, options.FirstRequestTimeout);
        RpcConnection.Service shared = new(
            operations, catalogue, new RefusalRecorder(catalogue, history, notices, writer, operators, strangers, clock),
            new CallerShares(RequestsRunningAUser), new CostLimiter(options.CostPerSecond, options.Burst ?? Math.Max(options.CostPerSecond, CostLimiter.MostCost), clock),
            hub, new RpcMeter(meter));
        RpcServer server = new(listener, shared, connections, limits, units, logs.CreateLogger<RpcServer>());
        using Service service = new(server, writer, cache, due, clock);
        _ = builder.Services.AddHostedService(_ => service);
        _ = builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(30));
        using IHost host = builder.Build();
        RpcLog.Serving(logs.CreateLogger<RpcServer>(), listener.LocalEndPoint?.ToString() ?? options.Socket);
        await host.RunAsync();

        // The host ends in silence when a service fails; the failure must reach the exit code.
        await (service.ExecuteTask ?? Task.CompletedTask);

        void AddGauges(StateGauges gauges)
        {
            gauges.AddProcess();
            gauges.AddRootKey(root, generation.RotateBy);
            gauges.AddStorage(writer, history);
            gauges.AddKeys(catalogue, cache);
            gauges.AddCallers(connections, hub, strangers);
        }
    }

    private static HsmRootKey OpenRoot(DaemonOptions options, RootGenerationDescriptor descriptor, TokenMeter meter, ILoggerFactory logs)
    {
        (Token token, TokenOptions tokenOptions) = Preparation.OpenToken(options);
        try
        {
            return TokenAccess.Try(() => new HsmRootKey(token, descriptor, tokenOptions, meter, logs.CreateLogger<HsmRootKey>()));
        }
        catch
        {
            token.Dispose();
            throw;
        }
    }

    /// <summary>The first key of the ratchet isn't kept: what the daemon holds can't link what was written before.</summary>
    private static HistoryLog OpenHistory(
        Database database, RowAuthenticator authenticator, HsmRootKey root, byte[] instanceId, CatalogueLedger catalogue)
    {
        using SecretBytes historyKey = TokenAccess.Try(() => root.DeriveKey(TokenAccess.HistoryKeyLabel));
        return database.Load(from => Open(from, authenticator, historyKey, instanceId, catalogue));
    }

    /// <summary>The history, and the counters brought up to it.</summary>
    internal static HistoryLog Open(
        Database database, RowAuthenticator authenticator, SecretBytes historyKey, byte[] instanceId, CatalogueLedger catalogue)
    {
        HistoryLog history = new(database, authenticator, historyKey);
        try
        {
            UsageReplay.Run(database, historyKey, instanceId, history.Committed, catalogue);
            return history;
        }
        catch
        {
            history.Dispose();
            throw;
        }
    }

    internal static Operations Wire(
        DaemonOptions options, Operators operators, Records records, Writer writer, RootKey root, MaterialCache cache,
        ConnectionCounter connections, UnitRules units, StoredGeneration generation, LastSeen lastSeen, DaemonMeter meter,
        TimeProvider clock)
    {
        CatalogueLedger catalogue = records.Catalogue;
        HistoryLog history = records.History;
        NoticeLog notices = records.Notices;
        KeyLimits limits = new(options.KeysPerStore, options.GrantsPerKey, options.MembersPerStore, options.VersionsPerKey, options.Stores);
        GrantBook grants = new(catalogue, limits, units);
        UseRecorder recorder = new(catalogue, history, writer, clock);
        VersionCipher cipher = new(cache);
        Sealer sealer = new(catalogue, cipher, recorder);
        VersionMaker versions = new(root, clock);
        ChangeKey change = new(catalogue, history, notices, writer, clock);
        HistoryReader reader = new(records.Database.Reader);
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
                catalogue, grants, history, notices, writer, versions, operators, limits, options.DefaultProtection, clock),
            Reencrypt = new Reencrypt(catalogue, cipher, recorder),
            Sign = new Sign(catalogue, cache, recorder),
            Verify = new Verify(catalogue, recorder),
            Batches = new Batches(catalogue, cipher, recorder),
            UpdateKey = new UpdateKey(catalogue, change),
            RotateKey = new RotateKey(catalogue, history, notices, writer, versions, limits, clock),
            SetRotationPeriod = new SetRotationPeriod(change),
            EnableKey = new EnableKey(change),
            DisableKey = new DisableKey(change, cache),
            RequestDeletion = new RequestDeletion(change, cache),
            CancelDeletion = new CancelDeletion(change),
            DeleteKey = new DeleteKey(catalogue, history, notices, writer, cache, clock),
            GetPublicKey = new GetPublicKey(catalogue),
            ListVersions = new ListVersions(catalogue),
            SetVersionState = new SetVersionState(change, cache),
            ListDeletedKeys = new ListDeletedKeys(catalogue, operators),
            ReadDeletedKeyHistory = new ReadDeletedKeyHistory(catalogue, reader, history, writer, operators, clock),
            PurgeDeletedKey = new PurgeDeletedKey(catalogue, reader, records.Erasure, history, writer, operators, clock),
            ReleaseDeletions = new ReleaseDeletions(lastSeen, history, writer, operators, clock),
            ListKeys = new ListKeys(catalogue, operators),
            GetKey = new GetKey(catalogue),
            Encrypt = new Encrypt(sealer),
            Decrypt = new Decrypt(catalogue, cipher, recorder),
            CreateDataKey = new CreateDataKey(sealer),
            DrawRandom = new DrawRandom(root),
            ListGrants = new ListGrants(catalogue),
            AddGrant = new AddGrant(catalogue, grants, history, notices, writer, clock),
            RemoveGrant = new RemoveGrant(catalogue, history, notices, writer, clock),
            CreateStore = new CreateStore(catalogue, grants, history, writer, operators, limits, clock),
            ListStores = new ListStores(catalogue, operators),
            ListMembers = new ListMembers(catalogue, operators),
            AddMember = new AddMember(catalogue, grants, history, writer, operators, clock),
            RemoveMember = new RemoveMember(catalogue, grants, history, notices, writer, operators, clock),
            ListHistory = new ListHistory(catalogue, reader, operators),
            VerifyHistory = new VerifyHistory(history, records.Erasure, records.Database.Reader, root, records.InstanceId, operators),
            ExportHistory = new ExportHistory(reader, operators),
            ReportUsage = new ReportUsage(catalogue, new UsageReader(records.Database.Reader), operators, clock),
            ListNotifications = new ListNotifications(records.Database.Reader, records.Database.Authenticator, records.Log),
            AcknowledgeNotifications = new AcknowledgeNotifications(notices, writer),
            ReadRootStatus = new ReadRootStatus(catalogue, description, operators),
            ReadMetrics = new ReadMetrics(meter, operators),
            ReadStatus = new ReadStatus(catalogue, root, description, writer, operators, connections, clock),
            DescribeCaller = new DescribeCaller(catalogue, operators),
        };
    }
}

/// <summary>What is kept, and how it is read beside the writer.</summary>
internal sealed record Records(
    CatalogueLedger Catalogue, HistoryLog History, HistoryErasure Erasure, NoticeLog Notices, DatabaseRecords Database, byte[] InstanceId, ILogger Log);

/// <summary>The reading connection, and an authenticator that only its reads use.</summary>
internal sealed record DatabaseRecords(DatabaseReader Reader, RowAuthenticator Authenticator);
