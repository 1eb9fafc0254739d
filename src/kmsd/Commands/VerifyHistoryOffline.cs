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
            (HistoryVerdict verdict, bool hasHead, long last) = database.Load(from => Verify(from, authenticator, historyKeys, instance.Id));
            if (verdict.FirstBad is long bad)
            {
                throw new StartupException(ExitCode.DataDoesNotVerify, DescribeBad(path, verdict.Entries, bad, hasHead, last));
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

    /// <summary>Without a head that verifies, nothing says where the entries must end: that isn't said of an entry.</summary>
    private static string DescribeBad(string path, long entries, long bad, bool hasHead, long last)
    {
        string ofEntry = string.Create(
            CultureInfo.InvariantCulture, $"entry {bad} was changed, is missing, or was erased without a purge ({entries} entries read).");
        string what = hasHead ? ofEntry
            : bad <= last ? $"its head doesn't verify, and {ofEntry}"
            : string.Create(
                CultureInfo.InvariantCulture,
                $"its head doesn't verify. The {entries} entries that are there follow each other as they were written; whether others followed them can't be told.");
        return $"The history of {path} is not as it was written: {what}";
    }

    /// <summary>The verdict, whether the row of the head verifies, and the number of the last entry that is there.</summary>
    private static (HistoryVerdict Verdict, bool HasHead, long Last) Verify(
        Database database, RowAuthenticator authenticator, GenerationKeys keys, byte[] instanceId)
    {
        return database.ReadSnapshot(from =>
        {
            using HistoryVerifier verifier = new(keys, HistorySegment.ReadAll(from, authenticator), instanceId);
            HistoryHead? head = HistoryHead.ReadRow(from, authenticator)?.Head;
            while (verifier.ReadPage(from, long.MaxValue))
            {
            }

            long last = from.Prepare("SELECT coalesce(max(sequence), 0) FROM history").QueryNumber();
            return (verifier.Finish(head), head is not null, last);
        });
    }
}
