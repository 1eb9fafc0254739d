using System.Globalization;
using Kms.Hsm;
using Kmsd.Configuration;
using Kmsd.Custody;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Integrity;
using Kmsd.Keys;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Commands;

/// <summary>
/// <c>kmsd init</c>: the root key in the token and an empty database, both or neither. Never runs twice.
/// </summary>
internal static class Init
{
    private const string TemporaryName = Database.FileName + ".new";
    private const uint FirstGeneration = 1;

    public static void Run(CommandLine arguments, TimeProvider clock, TextWriter output)
    {
        bool isCeremony = IsCeremony(arguments);
        SplitRules rules = new(
            arguments.Shares ?? SplitRules.UsualCount, arguments.Threshold ?? SplitRules.UsualThreshold, arguments.AcceptsSame);
        if (isCeremony && rules.Refusal(arguments.AllowsNoSpare) is string refusal)
        {
            throw CommandLine.Usage(refusal);
        }

        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        using StateDirectory state = Preparation.OpenState(options);
        string path = Path.Combine(state.Path, Database.FileName);
        if (File.Exists(path))
        {
            throw new StartupException(ExitCode.CannotCreate, $"{path} is there already: this host is initialised. Nothing was changed.");
        }

        (Token token, _) = Preparation.OpenToken(options);
        using (token)
        {
            IReadOnlyList<string> present = TokenAccess.Try(token.FindRootObjects);
            if (present.Count > 0)
            {
                throw new StartupException(
                    ExitCode.CannotCreate,
                    $"The token '{token.Description.Label}' holds a root key already ({string.Join(", ", present)}). "
                    + "If its database is lost, restore that; to begin anew, use another token. Nothing was changed.");
            }

            using CeremonyRoot? custody = isCeremony ? CustodyDialogue.HoldCeremony(token, rules, state.Path) : null;
            DateTimeOffset now = clock.GetUtcNow();
            RootGenerationDescriptor made = Make(token, options, path, custody, now);
            custody?.Keep();
            custody?.WriteProtocol(output, made, token.Description, now);
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"Root key generation {FirstGeneration} made in token '{token.Description.Label}' (serial {token.Description.Serial})."));
            output.WriteLine($"Database made: {path}");
            output.WriteLine(custody is null
                ? "Nobody holds a share of this root key: if the token is lost, every key is. Back the token up."
                : "Sign the protocol, bring the shares to their safes, and prove them once a year: kmsd root verify-shares");
            output.WriteLine("Next: start kmsd; then, as an operator: kmsctl member add default user:NAME manager");
        }
    }

    /// <summary>Whoever doesn't say is asked, if he is there; the ceremony is what is proposed to him.</summary>
    private static bool IsCeremony(CommandLine arguments)
    {
        string? origin = arguments.RootOrigin ?? (Terminal.IsThere ? CustodyDialogue.AskOrigin() : null);
        bool isSplit = arguments.Shares is not null || arguments.Threshold is not null || arguments.AllowsNoSpare || arguments.AcceptsSame;
        return origin switch
        {
            StoredGeneration.TokenOrigin when isSplit => throw CommandLine.Usage("--shares, --threshold, --no-spare and --accept are for --root ceremony."),
            StoredGeneration.TokenOrigin => false,
            StoredGeneration.CeremonyOrigin => true,
            null => throw CommandLine.Usage("Say where the root key comes from: --root ceremony (at a terminal), or --root token."),
            _ => throw CommandLine.Usage($"'{origin}' is no origin of a root key; there are --root ceremony and --root token."),
        };
    }

    private static RootGenerationDescriptor Make(Token token, DaemonOptions options, string path, CeremonyRoot? custody, DateTimeOffset now)
    {
        var instance = Instance.New(now, isAnchored: options.Anchor == AnchorMode.Required);
        string temporary = Path.Combine(Path.GetDirectoryName(path)!, TemporaryName);
        RemoveLeftOver(temporary);
        var planned = RootGenerationDescriptor.Plan(FirstGeneration, instance.Id);
        RootGenerationDescriptor descriptor = custody?.Import(token, planned) ?? TokenAccess.Try(() => token.CreateGeneration(planned));
        try
        {
            StoredGeneration generation = new(
                descriptor, custody is null ? StoredGeneration.TokenOrigin : StoredGeneration.CeremonyOrigin, GenerationState.Current,
                custody?.Set, now, now.AddDays(options.RotateDays));
            RootGeneration keys = TokenAccess.Try(() => token.OpenGeneration(descriptor));
            using GenerationKeys rowKeys = new();
            rowKeys.Add(descriptor.Number, keys.DeriveKey(TokenAccess.RowsKeyLabel));
            using SecretBytes historyKey = keys.DeriveKey(TokenAccess.HistoryKeyLabel);
            RowAuthenticator authenticator = new(rowKeys, instance.Id, descriptor.Number);
            using (var database = Database.Create(temporary))
            {
                AnchorRecord anchor = Fill(database, authenticator, historyKey, instance, generation, custody?.Rows(descriptor.Number, now));
                if (instance.IsAnchored)
                {
                    token.ReplaceData(HsmRootKey.LabelOfAnchor(instance.Id), anchor.Encode(authenticator));
                }
            }

            FaultPoint.Reach("init.before-rename");
            Durable.Rename(temporary, path);
            return descriptor;
        }
        catch (Exception exception)
        {
            RemoveLeftOver(temporary);
            try
            {
                token.DestroyGeneration(descriptor);
                token.DestroyData(HsmRootKey.LabelOfAnchor(instance.Id));
            }
            catch (TokenException undo)
            {
                throw new StartupException(
                    TokenFaults.ToStartupException(undo).ExitCode,
                    $"{exception.Message} The keys just made could not be removed from the token either: {undo.Message}",
                    exception);
            }

            throw;
        }
    }

    /// <summary>Removes what a run that was cut off left.</summary>
    private static void RemoveLeftOver(string temporary)
    {
        try
        {
            File.Delete(temporary);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(ExitCode.CannotCreate, $"{temporary} is in the way: {exception.Message}", exception);
        }
    }

    /// <summary>Writes the rows of a database that holds no key yet; what the token must remember of it.</summary>
    internal static AnchorRecord Fill(
        Database database, RowAuthenticator authenticator, SecretBytes historyKey, Instance instance, StoredGeneration generation,
        IEnumerable<StoredShare>? shares = null)
    {
        RowSet rows = new(authenticator);
        database.Execute("BEGIN IMMEDIATE");
        instance.Insert(database, authenticator, rows);
        generation.Put(database, authenticator, rows);
        foreach (StoredShare share in shares ?? [])
        {
            share.Put(database, authenticator, rows);
        }

        new HistorySegment(generation.Number, First: 1).Put(database, authenticator, rows);
        HistoryHead.Insert(database, authenticator, rows.Staged, instance.Id);
        SeenTime.Put(database, authenticator, instance.CreatedAt);
        CatalogueLedger catalogue = new(database, authenticator, rows, Catalogue.Empty);
        using HistoryLog history = new(database, authenticator, rows, historyKey);
        catalogue.Add(new KeyStore(StoreId.New(), KeyStore.Default, instance.CreatedAt));
        _ = history.Append(new HistoryEntry
        {
            At = instance.CreatedAt,
            Scope = HistoryScope.System,
            Operation = "init",
            Detail = $"root generation {generation.Number}, origin {generation.Origin}{(generation.Shares is { } set ? $", set {set.Name}, {set.Threshold} shares needed" : "")}",
        });
        default(UsageMark).Put(database, authenticator);
        rows.Flush(isFull: true);
        history.Flush(isFull: true);
        database.Execute("COMMIT");
        _ = database.TryEmptyLog();
        rows.Commit();
        history.Commit();
        return new AnchorRecord(1, authenticator.Generation, instance.Lineage, rows.Committed, Pending: null, history.Committed);
    }
}
