using System.Globalization;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Configuration;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Integrity;
using Kmsd.Keys;
using Kmsd.Metrics;
using Kmsd.Notifications;
using Kmsd.Recovery;
using Kmsd.RootKeys;
using Kmsd.Rotation;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Commands;

/// <summary>
/// The database and the root key of this host, opened, proven to be what was left, and behind one writer: what serving and every
/// command on a stopped daemon begin with.
/// </summary>
internal sealed class Installation : IDisposable
{
    private readonly GenerationKeys _rowKeys;
    private readonly TimeProvider _clock;
    private bool _isRootKept;

    private Installation(
        Proof proof, Catalogue catalogue, DaemonMeter meter, ILoggerFactory logs, TimeProvider clock, AnchorVerdict verdict, bool isAnchored)
    {
        _clock = clock;
        Database = proof.Database;
        Instance = proof.Instance;
        Root = proof.Root;
        _rowKeys = proof.RowKeys;
        Authenticator = proof.Authenticator;
        Rows = proof.Rows;
        Generations = new RootGenerations(Database, Authenticator, Rows, proof.Generations);
        Shares = proof.Shares;
        Catalogue = new CatalogueLedger(Database, Authenticator, Rows, catalogue);
        History = proof.History;
        Hub = new NoticeHub();
        Notices = Database.Load(from => new NoticeLog(from, Authenticator, Rows, Hub, logs.CreateLogger<NoticeLog>()));
        AnchorAtStart = proof.Anchor;

        // What the token knows of another lineage says nothing of this one's history.
        AnchorRecord? last = verdict == AnchorVerdict.Accepted ? proof.Anchor! with { History = History.Committed } : proof.Anchor;
        Anchor = isAnchored ? new Anchor(Root, Authenticator, Rows, History, Instance.Lineage, last, clock, logs.CreateLogger<Anchor>()) : null;

        // A crash left it, or the sweep could not empty it: what was destroyed before may stand in it.
        bool isLogLeft = new FileInfo(proof.Path + Database.LogSuffix) is { Exists: true, Length: > 0 };
        Writer = new Writer(
            Database, [Authenticator, Generations, Catalogue, Notices, Rows, History], Anchor, new WriterMeter(meter), logs.CreateLogger<Writer>(), isLogLeft);
        Reader = new DatabaseReader(proof.Path, Writer);
        ReaderAuthenticator = new RowAuthenticator(_rowKeys, Instance.Id, Authenticator.Generation);
        LastSeenAt = Database.Load(from => SeenTime.Read(from, Authenticator));
    }

    public Database Database { get; }

    public Instance Instance { get; private set; }

    public RootKey Root { get; }

    public RowAuthenticator Authenticator { get; }

    public RowSet Rows { get; }

    public RootGenerations Generations { get; }

    /// <summary>Who holds shares of which generation, as it was at the start.</summary>
    public IReadOnlyList<StoredShare> Shares { get; }

    public CatalogueLedger Catalogue { get; }

    public HistoryLog History { get; }

    public NoticeHub Hub { get; }

    public NoticeLog Notices { get; }

    /// <summary>Null where the token keeps none: <c>[token] anchor = off</c>.</summary>
    public Anchor? Anchor { get; }

    public Writer Writer { get; }

    /// <summary>What the token knew when this was opened; null if it held nothing that verifies, or wasn't asked.</summary>
    public AnchorRecord? AnchorAtStart { get; }

    /// <summary>A connection that reads beside the writer.</summary>
    public DatabaseReader Reader { get; }

    /// <summary>For what that reads: verifies, and codes nothing.</summary>
    public RowAuthenticator ReaderAuthenticator { get; }

    /// <summary>The time that the daemon saw last, before this start.</summary>
    public DateTimeOffset LastSeenAt { get; }

    /// <summary>Opens and proves everything, in order, and settles what was left open.</summary>
    /// <param name="path">Of the database.</param>
    /// <param name="openRoot">Opens the root key by its generations; what it gives is taken over.</param>
    /// <param name="anchorMode">What the configuration asks for.</param>
    /// <param name="judge">Decides what a verdict on the database means; null: one that doesn't serve ends the start.</param>
    /// <param name="meter">Counts what the writer does.</param>
    /// <param name="clock">The time.</param>
    /// <param name="logs">For what is found.</param>
    /// <exception cref="StartupException">Whatever is wrong, with its exit code.</exception>
    public static async Task<Installation> OpenAsync(
        string path, Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot, AnchorMode anchorMode, Action<AnchorVerdict>? judge,
        DaemonMeter meter, TimeProvider clock, ILoggerFactory logs)
    {
        using Proof proof = new(Database.Open(path), path);
        Installation? opened = await OpenAsync(
            proof, openRoot, anchorMode, isAccepting: false,
            found =>
            {
                (judge ?? Require)(found.Verdict);
                return true;
            },
            meter, clock, logs);
        return opened!;
    }

    /// <summary>
    /// Opens a database that may not be the one that the token knows, for an operator who decides: nothing is written to the token,
    /// and no change is told to it.
    /// </summary>
    /// <param name="database">Taken over.</param>
    /// <param name="path">Of the database.</param>
    /// <param name="openRoot">Opens the root key by its generations; what it gives is taken over.</param>
    /// <param name="anchorMode">What the configuration asks for.</param>
    /// <param name="judge">Looks at what was found, before anything is changed; if it says no, this ends.</param>
    /// <param name="meter">Counts what the writer does.</param>
    /// <param name="clock">The time.</param>
    /// <param name="logs">For what is found.</param>
    /// <returns>Null if it said no.</returns>
    /// <exception cref="StartupException">Whatever is wrong, with its exit code.</exception>
    public static async Task<Installation?> OpenToAcceptAsync(
        Database database, string path, Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot, AnchorMode anchorMode, Func<Found, bool> judge,
        DaemonMeter meter, TimeProvider clock, ILoggerFactory logs)
    {
        using Proof proof = new(database, path);
        return await OpenAsync(proof, openRoot, anchorMode, isAccepting: true, judge, meter, clock, logs);
    }

    /// <summary>The root key is the caller's from now on; he disposes it.</summary>
    public RootKey TakeRoot()
    {
        _isRootKept = true;
        return Root;
    }

    private static async Task<Installation?> OpenAsync(
        Proof proof, Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot, AnchorMode anchorMode, bool isAccepting, Func<Found, bool> judge,
        DaemonMeter meter, TimeProvider clock, ILoggerFactory logs)
    {
        try
        {
            await proof.OpenAsync(openRoot, logs);
            AnchorVerdict verdict = await proof.JudgeAsync(anchorMode);
            if (!judge(new Found(verdict, proof.Anchor, proof.Instance, proof.Rows.Committed, proof.History, proof.Database, proof.Authenticator)))
            {
                return null;
            }

            proof.Database.WriteAtStart(DestroyedMaterial.Sweep);

            // What was read and thrown away while everything was loaded is given back before anybody is served.
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive);
            Installation installation = new(proof, proof.Catalogue, meter, logs, clock, verdict, anchorMode == AnchorMode.Required && !isAccepting);
            proof.HandOver();
            try
            {
                await installation.CountAsync(proof);
                installation.Generations.NoteInToken(await proof.Root.FindGenerationsAsync());
                if (!isAccepting)
                {
                    installation.TellLeft(logs.CreateLogger<RootGenerations>());
                    await installation.CompleteAsync(proof, verdict, anchorMode, logs);
                }

                return installation;
            }
            catch
            {
                installation.Dispose();
                throw;
            }
        }
        catch (KmsException exception)
        {
            throw Exits.Of(exception);
        }
    }

    /// <summary>What copies the database; there must be one alone.</summary>
    public CreateBackup NewBackup(Operators operators) => new(Database.FilePath, _rowKeys, Generations, Instance.Id, History, Writer, operators, _clock);

    /// <summary>What gives its root key a new generation.</summary>
    public RootRotation NewRotation(Operators operators, CreateBackup backup, int rotateDays) => new(
        Root, _rowKeys, Generations, Authenticator, Catalogue, History, Notices, Writer, operators, Instance.Id, rotateDays, backup.MakeBeforeRotationAsync, _clock);

    /// <summary>What carries over what older generations carry.</summary>
    public RootWork NewRootWork(Operators operators, ILoggerFactory logs) => new(
        Root, _rowKeys, Generations, Authenticator, Rows, Database, Reader, () => Instance, Catalogue, History, Notices, Writer, operators, _clock,
        logs.CreateLogger<RootWork>());

    public void Dispose()
    {
        Reader.Dispose();
        Writer.Dispose();
        History.Dispose();
        Database.Dispose();
        _rowKeys.Dispose();
        if (!_isRootKept)
        {
            Root.Dispose();
        }
    }

    /// <summary>A database that isn't the one that the token knows isn't served.</summary>
    public static void Require(AnchorVerdict verdict)
    {
        if (!AnchorPolicy.Serves(verdict))
        {
            throw new StartupException(
                ExitCode.Configuration,
                $"integrityFailure: {AnchorPolicy.Describe(verdict)} If it was put back on purpose, or the token was: kmsd recover --accept-rollback.");
        }
    }

    /// <summary>Counts what wasn't counted.</summary>
    private async Task CountAsync(Proof proof)
    {
        using (GenerationKeys historyKeys = await proof.DeriveAsync(
            TokenAccess.HistoryKeyLabel, History.Segments.Where(segment => segment.Checkpoint is null).Select(segment => segment.Generation)))
        {
            _ = Database.Load(from =>
            {
                UsageReplay.Run(from, historyKeys, Instance.Id, History, Catalogue);
                return true;
            });
        }
    }

    private void TellLeft(ILogger log)
    {
        if (!Generations.Left.IsEmpty)
        {
            RootKeysLog.GenerationsLeft(log, string.Join(", ", Generations.Left));
        }
    }

    /// <summary>Tells the token what the database is.</summary>
    private async Task CompleteAsync(Proof proof, AnchorVerdict verdict, AnchorMode mode, ILoggerFactory logs)
    {
        ILogger log = logs.CreateLogger<Anchor>();
        switch (verdict)
        {
            case AnchorVerdict.None when Instance.IsAnchored:
                await SetAnchoredAsync(false);
                await Root.RemoveAnchorsAsync();
                IntegrityLog.AnchorRemoved(log);
                break;
            case AnchorVerdict.None when mode == AnchorMode.Required:
                await SetAnchoredAsync(true);
                IntegrityLog.AnchorMade(log);
                break;
            case AnchorVerdict.AnchorLostWrites:
                IntegrityLog.AnchorLostWrites(log, Rows.Committed.Epoch, proof.Anchor!.Settled.Epoch);
                await RecordAsync("anchor.lostWrites", string.Create(
                    CultureInfo.InvariantCulture, $"epoch {Rows.Committed.Epoch}, the token knew {proof.Anchor!.Settled.Epoch}"));
                break;
            case AnchorVerdict.Pending or AnchorVerdict.Accepted:
                Anchor!.Settle();
                break;
            default:
                break;
        }
    }

    private async Task SetAnchoredAsync(bool isAnchored)
    {
        Instance changed = Instance with { IsAnchored = isAnchored };
        _ = await Writer.ChangeAsync(
            () =>
            {
                changed.Update(Database, Authenticator, Rows);
                return true;
            },
            CancellationToken.None);
        Instance = changed;
        await RecordAsync("anchor", isAnchored ? "required" : "off");
    }

    private Task<long> RecordAsync(string operation, string detail) => Writer.ChangeAsync(
        () => History.Append(new HistoryEntry { At = LastSeenAt, Scope = HistoryScope.System, Operation = operation, Detail = detail }),
        CancellationToken.None);

    /// <summary>What there is, before anything is changed.</summary>
    /// <param name="Verdict">What the anchor makes of the database.</param>
    /// <param name="Anchor">The token's; null if it holds none that verifies, or isn't asked.</param>
    /// <param name="Instance">The database's.</param>
    /// <param name="Set">Its rows, which are those that its head vouches for.</param>
    /// <param name="History">Its history's end.</param>
    /// <param name="Database">The connection.</param>
    /// <param name="Authenticator">Verifies its rows.</param>
    internal sealed record Found(
        AnchorVerdict Verdict, AnchorRecord? Anchor, Instance Instance, SetState Set, HistoryLog History, Database Database, RowAuthenticator Authenticator);

    /// <summary>What is opened step by step, and closed again where a step fails.</summary>
    private sealed class Proof(Database database, string path) : IDisposable
    {
        // Bytes of the file from which a second thread and connection save more than they cost.
        private const long WorthAConnection = 8 << 20;

        private bool _isHandedOver;

        public string Path => path;

        public Database Database => database;

        public RootKey Root { get; private set; } = null!;

        public GenerationKeys RowKeys { get; private set; } = new();

        public Instance Instance { get; private set; } = null!;

        public IReadOnlyList<StoredGeneration> Generations { get; private set; } = [];

        public IReadOnlyList<StoredShare> Shares { get; private set; } = [];

        public RowAuthenticator Authenticator { get; private set; } = null!;

        public RowSet Rows { get; private set; } = null!;

        public HistoryLog History { get; private set; } = null!;

        public Catalogue Catalogue { get; private set; } = Catalogue.Empty;

        public AnchorRecord? Anchor { get; private set; }

        /// <summary>The root key, the rows that everything rests on, every key, and the set of rows.</summary>
        public async Task OpenAsync(Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot, ILoggerFactory logs)
        {
            (Instance, StoredCode instanceCode) = Database.Load(Instance.Read);
            IReadOnlyList<(StoredGeneration Generation, StoredCode Code)> stored = Database.Load(from => StoredGeneration.ReadAll(from, Instance.Id));
            Generations = [.. stored.Select(one => one.Generation)];
            Root = openRoot(Generations);
            RowKeys.Dispose();
            RowKeys = await DeriveAsync(TokenAccess.RowsKeyLabel, Generations.Where(one => one.IsInToken).Select(one => one.Number));
            Authenticator = new RowAuthenticator(RowKeys, Instance.Id, Root.Generation);
            Instance.Verify(Authenticator, instanceCode);
            foreach ((StoredGeneration generation, StoredCode code) in stored)
            {
                generation.Verify(Authenticator, code);
            }

            Shares = Database.Load(from => StoredShare.ReadVerified(from, Authenticator));
            Rows = new RowSet(Authenticator);
            using SecretBytes historyKey = await Root.DeriveKeyAsync(TokenAccess.HistoryKeyLabel, Root.Generation, CancellationToken.None);
            History = Database.Load(from => new HistoryLog(from, Authenticator, Rows, historyKey));
            if (History.TakenIn > 0)
            {
                AuditLog.HistoryTakenIn(logs.CreateLogger<HistoryLog>(), History.TakenIn);
            }

            // Both read everything that there is: where that is much, beside each other, each over its own connection.
            bool isLarge = new FileInfo(path).Length >= WorthAConnection;
            TaskCompletionSource<GrantRows>? grants = isLarge ? new() : null;
            Task counting = grants is null ? Task.CompletedTask : Task.Run(() => LoadBeside(grants));
            if (!isLarge)
            {
                _ = Database.Load(from =>
                {
                    Rows.Load(from, Authenticator);
                    return true;
                });
            }

            try
            {
                Catalogue = Database.Load(from => new CatalogueLoader(from, Authenticator, grants?.Task, logs.CreateLogger<CatalogueLoader>()).Load());
            }
            finally
            {
                await counting;
            }

            Rows.Require(History.SetAtStart);
        }

        private void LoadBeside(TaskCompletionSource<GrantRows> grants)
        {
            try
            {
                using var reader = Database.OpenBeside(path);
                RowAuthenticator authenticator = new(RowKeys, Instance.Id, Root.Generation);
                _ = reader.Load(from => from.ReadSnapshot(snapshot =>
                {
                    grants.SetResult(CatalogueLoader.ReadGrants(snapshot, authenticator));
                    Rows.Load(snapshot, authenticator);
                    return true;
                }));
            }
            catch (Exception exception)
            {
                _ = grants.TrySetException(exception);
                throw;
            }
        }

        public async Task<AnchorVerdict> JudgeAsync(AnchorMode mode)
        {
            Anchor = mode == AnchorMode.Off
                ? null
                : await Integrity.Anchor.ReadAsync(
                    Root, Authenticator, Instance.Id, number => Generations.Any(one => one.Number == number && one.State is GenerationState.Retiring or GenerationState.Retired));
            Rows.StartFrom(History.SetAtStart.Epoch, Anchor?.LastEpoch ?? 0);
            return mode == AnchorMode.Off || (Anchor is null && !Instance.IsAnchored)
                ? AnchorVerdict.None
                : AnchorPolicy.Judge(Instance.Lineage, Rows.Committed, sequence => Database.Load(from => HistoryHead.FindLink(from, sequence, Instance.Id)), Anchor, Instance.Supersedes);
        }

        public Task<GenerationKeys> DeriveAsync(string label, IEnumerable<long> generations) => Root.DeriveKeysAsync(label, generations, CancellationToken.None);

        public void HandOver() => _isHandedOver = true;

        public void Dispose()
        {
            if (!_isHandedOver)
            {
                History?.Dispose();
                RowKeys.Dispose();
                Root?.Dispose();
#pragma warning disable IDISP007 // Whoever makes a proof hands the database over.
                database.Dispose();
#pragma warning restore IDISP007
            }
        }
    }
}
