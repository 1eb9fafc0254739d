using System.Globalization;
using Kms.Hsm;
using Kmsd.Configuration;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Commands;

/// <summary><c>kmsd history verify</c>: with the daemon stopped, or over a copy of its database; the token derives the keys again.</summary>
internal static class VerifyHistoryOffline
{
    /// <exception cref="StartupException">65: the history isn't as it was written; others as at start.</exception>
    public static void Run(CommandLine arguments, TextWriter output)
    {
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        using StateDirectory? state = arguments.DatabaseFile is null ? Preparation.OpenState(options) : null;
        string path = arguments.DatabaseFile ?? Path.Combine(options.StateDirectory, Database.FileName);
        using var database = Database.OpenForReading(path);
        (Instance instance, _) = database.Load(Instance.Read);
        (StoredGeneration generation, _) = database.Load(from => StoredGeneration.Read(from, instance.Id));
        (Token token, _) = Preparation.OpenToken(options);
        using (token)
        {
            RootGeneration keys = TokenAccess.Try(() => token.OpenGeneration(generation.Descriptor));
            using SecretBytes rowsKey = TokenAccess.Try(() => keys.DeriveKey(TokenAccess.RowsKeyLabel));
            using SecretBytes historyKey = TokenAccess.Try(() => keys.DeriveKey(TokenAccess.HistoryKeyLabel));
            HistoryVerdict verdict = database.Load(from => Verify(from, new RowAuthenticator(rowsKey, instance.Id, generation.Number), historyKey, instance.Id));
            if (verdict.FirstBad is long bad)
            {
                throw new StartupException(ExitCode.DataDoesNotVerify, string.Create(
                    CultureInfo.InvariantCulture,
                    $"The history of {path} is not as it was written: entry {bad} was changed, is missing, or was erased without a purge ({verdict.Entries} entries read)."));
            }

            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"The history is as it was written: {verdict.Entries} entries."));
        }
    }

    private static HistoryVerdict Verify(Database database, RowAuthenticator authenticator, SecretBytes historyKey, byte[] instanceId)
    {
        using HistoryVerifier verifier = new(historyKey, instanceId);
        return database.ReadSnapshot(from =>
        {
            HistoryHead? head = HistoryHead.ReadRow(from, authenticator);
            while (verifier.ReadPage(from, long.MaxValue))
            {
            }

            return verifier.Finish(head);
        });
    }
}
