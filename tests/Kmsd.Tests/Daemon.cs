using System.Diagnostics.CodeAnalysis;
using System.Text;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Commands;
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
using Kmsd.Tests.RootKeys;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Kmsd.Tests;

/// <summary>
/// The daemon without its socket and token: a real database in a temporary folder, made, opened and wired by the code of
/// <c>init</c> and <c>serve</c>. uid 0 is the operator; uid 1000 manages the store <c>default</c>.
/// </summary>
[SuppressMessage("IDisposableAnalyzers.Correctness", "IDISP003", Justification = "What a start makes, the stop before it has disposed.")]
internal sealed class Daemon : IAsyncDisposable
{
    public static readonly Caller Operator = Uid(0);
    public static readonly Caller Manager = Uid(1000);
    public static readonly Caller Stranger = Uid(6666);

    private static readonly DateTimeOffset s_start = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    private readonly TemporaryFolder _folder = new();
    private readonly DaemonOptions _options;
    private readonly Instance _instance;
    private Installation? _installation;

    private Daemon(DaemonOptions options, DateTimeOffset start)
    {
        _options = options;
        Clock = new WallClock(start);
        Meter = new DaemonMeter(Clock);
        Requests = new RpcMeter(Meter);
        _instance = Instance.New(start, isAnchored: options.Anchor == AnchorMode.Required);
        Root = new MemoryRootKey(_instance.Id);
        RootGenerationDescriptor descriptor = new(
            1, _instance.Id, [1], [2], [3], [4], [5], [6], MemoryRootKey.SealMechanism, "CKM_AES_KEY_WRAP", Root.TokenFamily);
        StoredGeneration generation = new(
            descriptor, StoredGeneration.TokenOrigin, GenerationState.Current, Shares: null, start, start.AddDays(365));
        using GenerationKeys rowKeys = new();
        rowKeys.Add(1, Root.DeriveKey(TokenAccess.RowsKeyLabel));
        using SecretBytes historyKey = Root.DeriveKey(TokenAccess.HistoryKeyLabel);
        RowAuthenticator authenticator = new(rowKeys, _instance.Id, 1);
        using var database = Database.Create(Path);
        AnchorRecord anchor = Init.Fill(database, authenticator, historyKey, _instance, generation);
        if (_instance.IsAnchored)
        {
            Root.Anchors.Add(anchor.Encode(authenticator));
        }
    }

    /// <summary>Why the host can't vouch for units; null: it can. Looked at at each start.</summary>
    public string? WhyNoUnits { get; set; }

    public WallClock Clock { get; }

    public MemoryRootKey Root { get; }

    public ListLogger LoaderLog { get; private set; } = new();

    /// <summary>What it said of the history.</summary>
    public ListLogger HistoryJournal { get; private set; } = new();

    /// <summary>What it said of entries that the process before left beside the database.</summary>
    public ListLogger TakenInLog { get; private set; } = new();

    /// <summary>The line of each notice.</summary>
    public ListLogger NoticedJournal { get; private set; } = new();

    /// <summary>What it said of notices that don't verify.</summary>
    public ListLogger NoticesJournal { get; private set; } = new();

    /// <summary>What it said of the anchor.</summary>
    public ListLogger AnchorLog { get; private set; } = new();

    /// <summary>What it said of generations that the token holds.</summary>
    public ListLogger RootLog { get; private set; } = new();

    public Installation Installation => _installation ?? throw new InvalidOperationException("It is stopped.");

    public CatalogueLedger Catalogue => Installation.Catalogue;

    public Writer Writer => Installation.Writer;

    public MaterialCache Cache { get; private set; } = null!;

    public HistoryLog History => Installation.History;

    public NoticeLog Notices => Installation.Notices;

    public NoticeHub Hub => Installation.Hub;

    public DaemonMeter Meter { get; }

    public RpcMeter Requests { get; }

    public LastSeen LastSeen { get; private set; } = null!;

    public StrangerCounter Strangers { get; private set; } = null!;

    public RefusalRecorder Refusals { get; private set; } = null!;

    public RetentionService Retention { get; private set; } = null!;

    public ProveHistory ProveHistory { get; private set; } = null!;

    public ProveNotices ProveNotices { get; private set; } = null!;

    public RecordWatch RecordWatch { get; private set; } = null!;

    public RootKeyWatch RootWatch { get; private set; } = null!;

    public RootRotation RootRotation { get; private set; } = null!;

    public RootWork RootWork { get; private set; } = null!;

    public Operations Operations { get; private set; } = null!;

    public RotationService Rotation { get; private set; } = null!;

    public DeletionService Deletion { get; private set; } = null!;

    public string Path => _folder.File(Database.FileName);

    public byte[] InstanceId => _instance.Id;

    public static Caller Uid(uint uid, params ReadOnlySpan<uint> groups) => new(4711, uid, 100_000 + uid, [.. groups]);

    public static Caller Unit(string name, uint uid) => new(
        4711, uid, 100_000 + uid, [], UnitName.TryParse(name, out UnitName unit) ? unit : throw new FormatException(name));

    /// <summary>A daemon that serves, with its first manager.</summary>
    public static async Task<Daemon> StartAsync(DaemonOptions? options = null, DateTimeOffset? start = null)
    {
        Daemon daemon = new(options ?? new DaemonOptions(), start ?? s_start);
        await daemon.ResumeAsync();
        _ = await daemon.Operations.AddMember.RunAsync(
            Operator, new AddMemberRequest { Store = "default", Principal = "uid:1000", Role = StoreRole.Manager }, CancellationToken.None);
        return daemon;
    }

    /// <summary>Opens and checks what is on the disk, as <c>kmsd</c> does at each start.</summary>
    /// <param name="judge">What is made of the anchor's verdict; null: what a start makes of it.</param>
    public async Task ResumeAsync(Action<AnchorVerdict>? judge = null)
    {
        using ListLoggerFactory logs = new();
        LoaderLog = logs.Of<CatalogueLoader>();
        AnchorLog = logs.Of<Anchor>();
        RootLog = logs.Of<RootGenerations>();
        TakenInLog = logs.Of<HistoryLog>();
        NoticedJournal = logs.Of<NoticeLog>();
        Installation installation = await Installation.OpenAsync(Path, OpenRoot, _options.Anchor, judge, Meter, Clock, logs);
        _installation = installation;
        Operators operators = new(_options.Operators, _options.RootAdministrators);
        LastSeen = new LastSeen(installation.LastSeenAt, installation.Database, installation.Authenticator, Writer, Clock);
        Strangers = new StrangerCounter(Writer, installation.Database, Clock, new ListLogger<StrangerCounter>());
        Refusals = new RefusalRecorder(Catalogue, History, Notices, Writer, operators, Strangers, Clock);
        RootRotation?.Dispose();
        RootWork?.Dispose();
        CreateBackup backup = installation.NewBackup(operators);
        RootRotation = installation.NewRotation(operators, backup, _options.RotateDays);
        await RootRotation.RemovePlannedAsync();
        RootWork = installation.NewRootWork(operators, logs);
        Cache = new MaterialCache(Root, Clock, _options.CacheEntries, _options.CacheIdle, Catalogue.Stands, new CacheMeter(Meter));
        ProveHistory = new ProveHistory(History, installation.Reader, Root, InstanceId, Clock, logs.CreateLogger<ProveHistory>());
        HistoryJournal = logs.Of<ProveHistory>();
        ProveNotices = new ProveNotices(installation.Reader, installation.ReaderAuthenticator, Clock, logs.CreateLogger<ProveNotices>());
        NoticesJournal = logs.Of<ProveNotices>();
        RecordWatch = new RecordWatch(ProveHistory, ProveNotices, Clock, logs.CreateLogger<RecordWatch>());
        Operations = Serve.Wire(
            installation, _options, operators, ProveHistory, ProveNotices, backup, RootRotation, RootWork, Cache, new ConnectionCounter(1, 1), new UnitRules(_options.NeverUnits, WhyNoUnits), LastSeen,
            Meter, new ListLogger(), Clock);
        ToldNotices told = new(installation.Reader);
        Deletion = new DeletionService(
            Catalogue, Notices, told, Writer, Operations.DeleteKey, Operations.PurgeDeletedKey, LastSeen, new ListLogger<DeletionService>());
        Rotation = new RotationService(Catalogue, Operations.RotateKey, new ListLogger<RotationService>());
        Retention = new RetentionService(
            Catalogue, History, new HistoryReader(installation.Reader), Notices, Strangers, Writer, _options.RetainDays, Clock, new ListLogger<RetentionService>());
        RootWatch = new RootKeyWatch(installation.Generations, Notices, told, Writer, operators, new ListLogger<RootKeyWatch>());
    }

    /// <summary>As a start opens it.</summary>
    public MemoryRootKey OpenRoot(IReadOnlyList<StoredGeneration> generations)
    {
        StoredGeneration current = generations.Single(one => one.State == GenerationState.Current);
        if (!Root.Generations.Contains(current.Number))
        {
            throw new StartupException(ExitCode.Configuration, "The root key isn't in this token.");
        }

        Root.Use(current.Number);
        return Root;
    }

    public async Task StopAsync()
    {
        if (_installation is not null)
        {
            await Writer.StopAsync();
            Die();
        }
    }

    /// <summary>Ends without writing what was gathered, as kill -9 does.</summary>
    public void Die()
    {
        Cache.Dispose();
        Installation.Dispose();
        _installation = null;
    }

    public async Task RestartAsync()
    {
        await StopAsync();
        await ResumeAsync();
    }

    /// <summary>One look at what is due, as the daemon's loop takes it every second.</summary>
    public async Task LookAsync()
    {
        DateTimeOffset now = Clock.GetUtcNow();
        await Rotation.RunDueAsync(now, CancellationToken.None);
        await Deletion.RunDueAsync(now, CancellationToken.None);
    }

    /// <summary>Stops, changes the database as somebody with the sqlite3 tool would, and leaves it stopped.</summary>
    public async Task TamperAsync(string sql, int rows = 1)
    {
        await StopAsync();
        Assert.Equal(rows, Sql(sql));
    }

    /// <summary>Runs a statement beside the daemon, once its answered uses are in the database; how many rows it changed.</summary>
    public int Sql(string sql) => Run(sql, command => command.ExecuteNonQuery());

    public object? Query(string sql) => Run(sql, command => command.ExecuteScalar());

    public T Run<T>(string sql, Func<SqliteCommand, T> run)
    {
#pragma warning disable VSTHRD002 // The writer needs no thread of the test's.
        _installation?.Writer.SettleAsync(CancellationToken.None).GetAwaiter().GetResult();
#pragma warning restore VSTHRD002
        using SqliteConnection connection = new($"Data Source={Path};Pooling=False");
        connection.Open();
        using SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // The text is a constant of a test.
        command.CommandText = sql;
#pragma warning restore CA2100
        return run(command);
    }

    public Task<KeyDescription> CreateKeyAsync(string name, params (string Principal, KeyRole Role)[] grants) =>
        CreateKeyAsync(Manager, new CreateKeyRequest
        {
            Name = name,
            Type = KeyType.Aes256Gcm96,
            Grants = [.. grants.Select(grant => new GrantInput { Principal = grant.Principal, Role = grant.Role })],
        });

    public Task<KeyDescription> CreateKeyAsync(Caller caller, CreateKeyRequest request) =>
        Operations.CreateKey.RunAsync(caller, request, TestContext.Current.CancellationToken);

    public async Task<string> EncryptAsync(Caller caller, string key, byte[] text, byte[]? context = null)
    {
        using SensitiveBytes plaintext = new(text.AsSpan());
        EncryptResult result = await Operations.Encrypt.RunAsync(
            caller, new EncryptRequest { Key = key, Plaintext = plaintext, Context = context }, TestContext.Current.CancellationToken);
        return result.Ciphertext;
    }

    public Task<string> EncryptAsync(Caller caller, string key, string text = "a text") =>
        EncryptAsync(caller, key, Encoding.UTF8.GetBytes(text));

    public async Task<byte[]> DecryptAsync(Caller caller, string key, string ciphertext, byte[]? context = null)
    {
        using DecryptResult result = await Operations.Decrypt.RunAsync(
            caller, new DecryptRequest { Key = key, Ciphertext = ciphertext, Context = context }, TestContext.Current.CancellationToken);
        return result.Plaintext.AsSpan().ToArray();
    }

    public Task<GrantsResult> AddGrantAsync(Caller caller, string key, string principal, KeyRole role) => Operations.AddGrant.RunAsync(
        caller, new GrantRequest { Key = key, Principal = principal, Role = role }, TestContext.Current.CancellationToken);

    public Task<GrantsResult> RemoveGrantAsync(Caller caller, string key, string principal, KeyRole role) => Operations.RemoveGrant.RunAsync(
        caller, new GrantRequest { Key = key, Principal = principal, Role = role }, TestContext.Current.CancellationToken);

    public Task<MembersResult> AddMemberAsync(Caller caller, string principal, StoreRole role, string store = "default") =>
        Operations.AddMember.RunAsync(
            caller, new AddMemberRequest { Store = store, Principal = principal, Role = role }, TestContext.Current.CancellationToken);

    public Task<MembersResult> RemoveMemberAsync(Caller caller, string principal, StoreRole? role = null, string store = "default") =>
        Operations.RemoveMember.RunAsync(
            caller, new RemoveMemberRequest { Store = store, Principal = principal, Role = role }, TestContext.Current.CancellationToken);

    public KeyDescription Get(Caller caller, string key) => Operations.GetKey.Run(caller, new KeyRequest { Key = key });

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        RootRotation?.Dispose();
        RootWork?.Dispose();
        Meter.Dispose();
        Root.Dispose();
        _folder.Dispose();
    }
}

/// <summary>What a caller must hear.</summary>
internal static class Refusal
{
    public static async Task<KmsException> OfAsync(KmsErrorCode code, Func<Task> operation)
    {
        KmsException refusal = await Assert.ThrowsAsync<KmsException>(operation);
        Assert.Equal(code, refusal.Code);
        return refusal;
    }

    public static KmsException Of(KmsErrorCode code, Action operation)
    {
        KmsException refusal = Assert.Throws<KmsException>(operation);
        Assert.Equal(code, refusal.Code);
        return refusal;
    }
}
