using System.Globalization;
using Kms.Hsm;
using Kmsd.Configuration;
using Kmsd.History;
using Kmsd.Hosting;
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
        CheckOrigin(arguments.RootOrigin);
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

            Make(token, options, path, clock);
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"Root key generation {FirstGeneration} made in token '{token.Description.Label}' (serial {token.Description.Serial})."));
            output.WriteLine($"Database made: {path}");
            output.WriteLine("Nobody holds a share of this root key: if the token is lost, every key is. Back the token up.");
            output.WriteLine("Next: start kmsd; then, as an operator: kmsctl member add default user:NAME manager");
        }
    }

    private static void CheckOrigin(string? origin)
    {
        switch (origin)
        {
            case StoredGeneration.TokenOrigin:
                return;
            case "ceremony":
                throw CommandLine.Usage("This version can't split a root key among custodians yet; --root token is what it offers.");
            case null:
                throw CommandLine.Usage("Say where the root key comes from: --root token.");
            default:
                throw CommandLine.Usage($"'{origin}' is no origin of a root key; --root token is what this version offers.");
        }
    }

    private static void Make(Token token, DaemonOptions options, string path, TimeProvider clock)
    {
        DateTimeOffset now = clock.GetUtcNow();
        var instance = Instance.New(now);
        string temporary = Path.Combine(Path.GetDirectoryName(path)!, TemporaryName);
        RemoveLeftOver(temporary);
        RootGenerationDescriptor descriptor = TokenAccess.Try(() => token.CreateGeneration(FirstGeneration, instance.Id));
        try
        {
            StoredGeneration generation = new(descriptor, now, now.AddDays(options.RotateDays));
            RootGeneration keys = TokenAccess.Try(() => token.OpenGeneration(descriptor));
            using SecretBytes rowsKey = keys.DeriveKey(TokenAccess.RowsKeyLabel);
            using SecretBytes historyKey = keys.DeriveKey(TokenAccess.HistoryKeyLabel);
            using (var database = Database.Create(temporary))
            {
                Fill(database, new RowAuthenticator(rowsKey, instance.Id, descriptor.Number), historyKey, instance, generation);
            }

            FaultPoint.Reach("init.before-rename");
            Durable.Rename(temporary, path);
        }
        catch (Exception exception)
        {
            RemoveLeftOver(temporary);
            try
            {
                token.DestroyGeneration(descriptor);
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

    internal static void Fill(
        Database database, RowAuthenticator authenticator, SecretBytes historyKey, Instance instance, StoredGeneration generation)
    {
        database.Execute("BEGIN IMMEDIATE");
        instance.Insert(database, authenticator);
        generation.Insert(database, authenticator);
        HistoryLog.Begin(database, authenticator, instance.Id);
        CatalogueLedger catalogue = new(database, authenticator, Catalogue.Empty);
        HistoryLog history = new(database, authenticator, historyKey);
        catalogue.Add(new KeyStore(StoreId.New(), KeyStore.Default, instance.CreatedAt));
        history.Append(new HistoryEntry
        {
            At = instance.CreatedAt,
            Scope = HistoryScope.System,
            Operation = "init",
            Detail = "root generation 1, origin token",
        });
        history.Flush();
        database.Execute("COMMIT");
        _ = database.Checkpoint();
    }
}
