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
        using var database = Database.OpenForReading(path, mayBeBackup: arguments.DatabaseFile is not null, isStill: true);
        (Instance instance, _) = database.Load(Instance.Read);
        IReadOnlyList<StoredGeneration> generations = [.. database.Load(from => StoredGeneration.ReadAll(from, instance.Id)).Select(one => one.Generation)];
        (Token token, _) = Preparation.OpenToken(options);
        using (token)
        {
            using GenerationKeys rowKeys = new();
            using GenerationKeys historyKeys = new();
            foreach (StoredGeneration generation in generations.Where(one => one.IsInToken))
            {
                RootGeneration keys = TokenAccess.Try(() => token.OpenGeneration(generation.Descriptor));
                rowKeys.Add(generation.Number, TokenAccess.Try(() => keys.DeriveKey(TokenAccess.RowsKeyLabel)));
                historyKeys.Add(generation.Number, TokenAccess.Try(() => keys.DeriveKey(TokenAccess.HistoryKeyLabel)));
            }

            RowAuthenticator authenticator = new(rowKeys, instance.Id, generations.Single(one => one.State == GenerationState.Current).Number);
            HistoryVerdict verdict = database.Load(from => Verify(from, authenticator, historyKeys, instance.Id));
            if (verdict.FirstBad is long bad)
            {
                throw new StartupException(ExitCode.DataDoesNotVerify, string.Create(
                    CultureInfo.InvariantCulture,
                    $"The history of {path} is not as it was written: entry {bad} was changed, is missing, or was erased without a purge ({verdict.Entries} entries read)."));
            }

            if (database.Load(from => from.FindDamage("history")) is string damage)
            {
                throw new StartupException(
                    ExitCode.DataDoesNotVerify, $"The history of {path} is as it was written, but an index hides entries: {damage}. The file was changed from outside.");
            }

            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"The history is as it was written: {verdict.Entries} entries."));
            if (File.Exists(path + HistoryTail.Suffix))
            {
                output.WriteLine($"Uses of the last second before the daemon ended may stand in {path}{HistoryTail.Suffix}; the next start proves them and takes them in.");
            }
        }
    }

    private static HistoryVerdict Verify(Database database, RowAuthenticator authenticator, GenerationKeys keys, byte[] instanceId)
    {
        return database.ReadSnapshot(from =>
        {
            using HistoryVerifier verifier = new(keys, HistorySegment.ReadAll(from, authenticator), instanceId);
            HistoryHead? head = HistoryHead.ReadRow(from, authenticator)?.Head;
            while (verifier.ReadPage(from, long.MaxValue))
            {
            }

            return verifier.Finish(head);
        });
    }
}
