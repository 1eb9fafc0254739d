using System.Net.Sockets;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Configuration;
using Kmsd.Deletion;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Integrity;
using Kmsd.Keys;
using Kmsd.Metrics;
using Kmsd.Notifications;
using Kmsd.Recovery;
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
    // Enough to fill a commit.
    private const int RequestsRunningAlone = 64;

    // While two users ask, each has at most half of the processors at work: then the other's request needn't wait for one of his.
    private static readonly int s_requestsRunningBesideOthers = Math.Max(1, Environment.ProcessorCount / 2);

    public static async Task RunAsync(CommandLine arguments, TimeProvider clock)
    {
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        UnitRules units = Preparation.TakeUnitRules(options, PeerUnit.WhyNot());
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        Journal.Configure(builder.Logging);
        _ = builder.Services.Configure<ConsoleLifetimeOptions>(lifetime => lifetime.SuppressStatusMessages = true);

        // Only this class knows the logger before the host is built, so that a failed start has one way out: an exception.
        using ILoggerFactory logs = LoggerFactory.Create(Journal.Configure);
        using DaemonMeter meter = new(clock);
        using StateDirectory state = Preparation.OpenState(options);
        string path = Path.Combine(state.Path, Database.FileName);
        using Installation installation = await Installation.OpenAsync(
            path, generations => Preparation.OpenRoot(options, generations, new TokenMeter(meter), logs), options.Anchor, judge: null, meter, clock, logs);
        await KernelRandom.MixInAsync(installation.Root);
        CatalogueLedger catalogue = installation.Catalogue;
        HistoryLog history = installation.History;
        NoticeLog notices = installation.Notices;
        Writer writer = installation.Writer;
        DatabaseReader reader = installation.Reader;
        using MaterialCache cache = new(installation.Root, clock, options.CacheEntries, options.CacheIdle, catalogue.Stands, new CacheMeter(meter));
        LastSeen lastSeen = new(installation.LastSeenAt, installation.Database, installation.Authenticator, writer, clock);
        ConnectionCounter connections = new(options.Connections, options.ConnectionsPerUid);
        Operators operators = new(options.Operators, options.RootAdministrators);
        CreateBackup backup = installation.NewBackup(operators);
        using RootRotation rootRotation = installation.NewRotation(operators, backup, options.RotateDays);
        await rootRotation.RemovePlannedAsync();
        using RootWork rootWork = installation.NewRootWork(operators, logs);
        ProveHistory proveHistory = new(history, reader, installation.Root, installation.Instance.Id, clock, logs.CreateLogger<ProveHistory>());
        ProveNotices proveNotices = new(reader, installation.ReaderAuthenticator, clock, logs.CreateLogger<ProveNotices>());
        Operations operations = Wire(installation, options, operators, proveHistory, proveNotices, backup, rootRotation, rootWork, cache, connections, units, lastSeen, meter, logs.CreateLogger<ListNotifications>(), clock);
        StrangerCounter strangers = new(writer, installation.Database, clock, logs.CreateLogger<StrangerCounter>());
        AddGauges(new StateGauges(meter, clock));
        ToldNotices told = new(reader);
        using LogKeeper logKeeper = new(path, writer, logs.CreateLogger<LogKeeper>());
        DueWork due = new(
            new RotationService(catalogue, operations.RotateKey, logs.CreateLogger<RotationService>()),
            new DeletionService(catalogue, notices, told, writer, operations.DeleteKey, operations.PurgeDeletedKey, lastSeen, logs.CreateLogger<DeletionService>()),
            new RetentionService(
                catalogue, history, new HistoryReader(reader), notices, strangers, writer, options.RetainDays, clock, logs.CreateLogger<RetentionService>()),
            new RootKeyWatch(installation.Generations, notices, told, writer, operators, logs.CreateLogger<RootKeyWatch>()),
            strangers,
            logKeeper,
            new AnchorKeeper(installation.Anchor, installation.Root, writer),
            new AutomaticRootRotation(rootRotation, installation.Generations, options.RotatesRootByItself, logs.CreateLogger<AutomaticRootRotation>()));

        using Socket listener = ServiceSocket.TakeHandedOver()
            ?? ServiceSocket.Bind(options.Socket, options.SocketMode, options.SocketGroup);
        ConnectionLimits limits = new(options.MaxMessageBytes, options.MaxInFlight, options.FirstRequestTimeout);
        RpcConnection.Service shared = new(
            operations, writer, catalogue, new RefusalRecorder(catalogue, history, notices, writer, operators, strangers, clock),
            new CallerShares(RequestsRunningAlone, s_requestsRunningBesideOthers, clock), new CostLimiter(options.CostPerSecond, options.Burst ?? Math.Max(options.CostPerSecond, CostLimiter.MostCost), clock),
            installation.Hub, new RpcMeter(meter));
        RpcServer server = new(listener, shared, connections, limits, units, logs.CreateLogger<RpcServer>());
        RecordWatch recordWatch = new(proveHistory, proveNotices, clock, logs.CreateLogger<RecordWatch>());
        using Service service = new(server, writer, cache, due, rootWork, recordWatch, options.CacheIdle, clock);
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
            gauges.AddRootKey(installation.Root, installation.Generations);
            gauges.AddStorage(writer, history);
            gauges.AddHistory(proveHistory);
            gauges.AddKeys(catalogue, proveNotices, cache);
            gauges.AddCallers(connections, installation.Hub, strangers);
        }
    }

    internal static Operations Wire(
        Installation installation, DaemonOptions options, Operators operators, ProveHistory proveHistory, ProveNotices proveNotices, CreateBackup backup, RootRotation rootRotation, RootWork rootWork,
        MaterialCache cache,
        ConnectionCounter connections, UnitRules units, LastSeen lastSeen, DaemonMeter meter, ILogger log, TimeProvider clock)
    {
        CatalogueLedger catalogue = installation.Catalogue;
        HistoryLog history = installation.History;
        NoticeLog notices = installation.Notices;
        Writer writer = installation.Writer;
        RootKey root = installation.Root;
        KeyLimits limits = new(options.KeysPerStore, options.GrantsPerKey, options.MembersPerStore, options.VersionsPerKey, options.Stores);
        GrantBook grants = new(catalogue, limits, units);
        UseRecorder recorder = new(catalogue, history, writer, clock);
        VersionCipher cipher = new(cache);
        Sealer sealer = new(catalogue, cipher, recorder);
        VersionMaker versions = new(root, clock);
        ChangeKey change = new(catalogue, history, notices, writer, clock);
        HistoryReader reader = new(installation.Reader);
        RootStatus status = new(installation.Generations, installation.Shares);
        VerifyHistory verify = new(proveHistory, installation.Reader, operators);
        return new Operations
        {
            CreateKey = new CreateKey(
                catalogue, grants, history, notices, writer, versions, operators, limits, options.DefaultProtection, clock),
            Reencrypt = new Reencrypt(catalogue, cipher, recorder),
            Sign = new Sign(catalogue, cache, recorder),
            Verify = new Verify(catalogue, cache, recorder),
            Batches = new Batches(catalogue, cipher, recorder),
            UpdateKey = new UpdateKey(catalogue, change),
            RotateKey = new RotateKey(catalogue, history, notices, writer, versions, limits, clock),
            SetRotationPeriod = new SetRotationPeriod(change),
            EnableKey = new EnableKey(change),
            DisableKey = new DisableKey(change, cache),
            RequestDeletion = new RequestDeletion(change, cache),
            CancelDeletion = new CancelDeletion(change),
            DeleteKey = new DeleteKey(catalogue, history, notices, writer, cache, clock),
            GetPublicKey = new GetPublicKey(catalogue, cache),
            ListVersions = new ListVersions(catalogue),
            SetVersionState = new SetVersionState(change, cache),
            ListDeletedKeys = new ListDeletedKeys(catalogue, operators),
            ReadDeletedKeyHistory = new ReadDeletedKeyHistory(catalogue, reader, history, writer, operators, clock),
            PurgeDeletedKey = new PurgeDeletedKey(catalogue, reader, history, writer, operators, clock),
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
            VerifyHistory = verify,
            ExportHistory = new ExportHistory(reader, operators),
            ReportUsage = new ReportUsage(catalogue, new UsageReader(installation.Reader), operators, clock),
            ListNotifications = new ListNotifications(installation.Reader, installation.ReaderAuthenticator, log),
            AcknowledgeNotifications = new AcknowledgeNotifications(notices, writer),
            CreateBackup = backup,
            ReadRootStatus = new ReadRootStatus(catalogue, status, operators),
            RotateRoot = new RotateRoot(rootRotation, installation.Generations, operators),
            RetireRoot = new RetireRoot(
                installation.Generations, rootWork, catalogue, history, verify.ProveAsync, backup.MakeAfterRetirementAsync, writer, operators, clock),
            ReadMetrics = new ReadMetrics(meter, operators),
            ReadStatus = new ReadStatus(catalogue, proveHistory, proveNotices, root, status, installation.Anchor, writer, operators, connections, clock),
            DescribeCaller = new DescribeCaller(catalogue, operators),
        };
    }
}
