using System.Globalization;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Configuration;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Integrity;
using Kmsd.Keys;
using Kmsd.Notifications;
using Kmsd.RootKeys;
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

    private Installation(Proof proof, Catalogue catalogue, ILoggerFactory logs, TimeProvider clock, bool isAnchored)
    {
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
        Notices = Database.Load(from => new NoticeLog(from, Authenticator, Hub, logs.CreateLogger<NoticeLog>()));
        Anchor = isAnchored
            ? new Anchor(Root, Authenticator, Rows, History, Instance.Lineage, proof.Anchor, clock, logs.CreateLogger<Anchor>())
            : null;
        Writer = new Writer(
            Database, [Authenticator, Generations, Catalogue, Rows, History, Notices], Anchor, logs.CreateLogger<Writer>());
        Reader = new DatabaseReader(proof.Path);
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

    public HistoryErasure Erasure { get; } = new();

    public NoticeHub Hub { get; }

    public NoticeLog Notices { get; }

    /// <summary>Null where the token keeps none: <c>[token] anchor = off</c>.</summary>
    public Anchor? Anchor { get; }

    public Writer Writer { get; }

    /// <summary>A connection that reads beside the writer.</summary>
    public DatabaseReader Reader { get; }

    /// <summary>For what that reads: verifies, and codes nothing.</summary>
    public RowAuthenticator ReaderAuthenticator { get; }

    /// <summary>The time that the daemon saw last, before this start.</summary>
    public DateTimeOffset LastSeenAt { get; }

    /// <summary>The keys of every generation that vouch for rows; a rotation adds one, a retirement removes one.</summary>
    public GenerationKeys RowKeys => _rowKeys;

    /// <summary>Opens and proves everything, in order, and settles what was left open.</summary>
    /// <param name="path">Of the database.</param>
    /// <param name="openRoot">Opens the root key by its generations; what it gives is taken over.</param>
    /// <param name="anchorMode">What the configuration asks for.</param>
    /// <param name="judge">Decides what a verdict on the database means; null: one that doesn't serve ends the start.</param>
    /// <param name="clock">The time.</param>
    /// <param name="logs">For what is found.</param>
    /// <exception cref="StartupException">Whatever is wrong, with its exit code.</exception>
    public static async Task<Installation> OpenAsync(
        string path, Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot, AnchorMode anchorMode, Action<AnchorVerdict>? judge,
        TimeProvider clock, ILoggerFactory logs)
    {
        using Proof proof = new(path);
        try
        {
            await proof.OpenAsync(openRoot);
            AnchorVerdict verdict = await proof.JudgeAsync(anchorMode);
            (judge ?? Require)(verdict);
            proof.Database.WriteAtStart(DestroyedMaterial.Sweep);
            Catalogue loaded = proof.Database.Load(
                from => new CatalogueLoader(from, proof.Authenticator, logs.CreateLogger<CatalogueLoader>()).Load());
            Installation installation = new(proof, loaded, logs, clock, anchorMode == AnchorMode.Required);
            proof.HandOver();
            try
            {
                await installation.CompleteAsync(proof, verdict, anchorMode, logs);
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
            // Here nobody is served yet: what a caller would hear is an exit.
            throw new StartupException(
                exception.Code == KmsErrorCode.StorageUnavailable ? ExitCode.CannotCreate : ExitCode.TokenAbsent, exception.Message, exception);
        }
    }

    public void Dispose()
    {
        Reader.Dispose();
        Writer.Dispose();
        History.Dispose();
        Erasure.Dispose();
        Database.Dispose();
        _rowKeys.Dispose();
        Root.Dispose();
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

    /// <summary>Counts what wasn't counted, and tells the token what the database is.</summary>
    private async Task CompleteAsync(Proof proof, AnchorVerdict verdict, AnchorMode mode, ILoggerFactory logs)
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
            case AnchorVerdict.Pending:
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

    /// <summary>What is opened step by step, and closed again where a step fails.</summary>
    private sealed class Proof(string path) : IDisposable
    {
        private bool _isHandedOver;

        public string Path => path;

        public Database Database { get; } = Database.Open(path);

        public RootKey Root { get; private set; } = null!;

        public GenerationKeys RowKeys { get; private set; } = new();

        public Instance Instance { get; private set; } = null!;

        public IReadOnlyList<StoredGeneration> Generations { get; private set; } = [];

        public IReadOnlyList<StoredShare> Shares { get; private set; } = [];

        public RowAuthenticator Authenticator { get; private set; } = null!;

        public RowSet Rows { get; private set; } = null!;

        public HistoryLog History { get; private set; } = null!;

        public AnchorRecord? Anchor { get; private set; }

        /// <summary>The root key, the rows that everything rests on, and the set of rows.</summary>
        public async Task OpenAsync(Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot)
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
            _ = Database.Load(from =>
            {
                Rows.Load(from);
                return true;
            });
            using SecretBytes historyKey = await Root.DeriveKeyAsync(TokenAccess.HistoryKeyLabel, Root.Generation, CancellationToken.None);
            History = Database.Load(from => new HistoryLog(from, Authenticator, Rows, historyKey));
            Rows.Require(History.SetAtStart);
        }

        public async Task<AnchorVerdict> JudgeAsync(AnchorMode mode)
        {
            Anchor = mode == AnchorMode.Off ? null : await Integrity.Anchor.ReadAsync(Root, Authenticator);
            Rows.StartFrom(History.SetAtStart.Epoch, Anchor?.LastEpoch ?? 0);
            return mode == AnchorMode.Off || (Anchor is null && !Instance.IsAnchored)
                ? AnchorVerdict.None
                : AnchorPolicy.Judge(Instance.Lineage, Rows.Committed, sequence => Database.Load(from => HistoryHead.FindLink(from, sequence, Instance.Id)), Anchor);
        }

        public async Task<GenerationKeys> DeriveAsync(string label, IEnumerable<long> generations)
        {
            GenerationKeys keys = new();
            try
            {
                foreach (long generation in generations)
                {
                    keys.Add(generation, await Root.DeriveKeyAsync(label, generation, CancellationToken.None));
                }

                return keys;
            }
            catch
            {
                keys.Dispose();
                throw;
            }
        }

        public void HandOver() => _isHandedOver = true;

        public void Dispose()
        {
            if (!_isHandedOver)
            {
                History?.Dispose();
                RowKeys.Dispose();
                Root?.Dispose();
                Database.Dispose();
            }
        }
    }
}
