using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;
using Kmsd.Custody;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Metrics;
using Kmsd.Notifications;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Commands;

/// <summary>
/// <c>kmsd root verify-shares</c>: a quorum of shares makes the root key's secret, by its check value. The token isn't asked for
/// that; it is needed to record it.
/// </summary>
internal static class VerifyShares
{
    /// <exception cref="StartupException">64 and 65 of the dialogue; as at start if it could be proven, but not recorded.</exception>
    public static async Task RunAsync(CommandLine arguments, TimeProvider clock, TextWriter output)
    {
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        using StateDirectory state = Preparation.OpenState(options);
        string path = Path.Combine(state.Path, Database.FileName);
        (IReadOnlyList<StoredGeneration> generations, IReadOnlyList<StoredShare> shares) = Read(path);
        using OpenedCustody opened = CustodyDialogue.Open(path, generations, shares, arguments.ShareFiles);
        DateTimeOffset now = clock.GetUtcNow();
        opened.WriteProtocol(output, "shares of a root key verified", now);
        await output.WriteLineAsync("  proven: these shares make the root key's secret, by its check value");
        try
        {
            await RecordAsync(path, options, opened, now, clock);
        }
        catch (StartupException exception)
        {
            throw new StartupException(exception.ExitCode, $"The shares are proven, but nothing was recorded: {exception.Message}", exception);
        }

        await output.WriteLineAsync("  recorded: in the history; operators and root administrators are told");
        await output.WriteLineAsync("  signed:");
    }

    /// <summary>What a database says of its root key, not verified: the shares prove themselves.</summary>
    internal static (IReadOnlyList<StoredGeneration> Generations, IReadOnlyList<StoredShare> Shares) Read(string path)
    {
        using var database = Database.OpenForReading(path, mayBeBackup: true, isStill: true);
        return database.Load(from => (
            (IReadOnlyList<StoredGeneration>)[.. StoredGeneration.ReadAll(from, Instance.Read(from).Instance.Id).Select(one => one.Generation)],
            (IReadOnlyList<StoredShare>)[.. StoredShare.ReadAll(from).Select(one => one.Share)]));
    }

    private static async Task RecordAsync(string path, DaemonOptions options, OpenedCustody opened, DateTimeOffset now, TimeProvider clock)
    {
        using ILoggerFactory logs = AcceptanceSteps.Logs();
        using DaemonMeter meter = new(clock);
        using Installation installation = await Installation.OpenAsync(
            path, generations => Preparation.OpenRoot(options, generations, new TokenMeter(meter), logs), options.Anchor, judge: null, meter, clock, logs);
        StoredGeneration generation = installation.Generations.All[opened.Generation.Number];
        if (generation.Shares?.Check.AsSpan().SequenceEqual(opened.Secret.Check()) != true)
        {
            throw new StartupException(ExitCode.Configuration, "The database was changed while the shares were read.");
        }

        Operators operators = new(options.Operators, options.RootAdministrators);
        try
        {
            _ = await installation.Writer.ChangeAsync(
                () =>
                {
                    foreach (OpenedShare share in opened.Shares)
                    {
                        StoredShare stored = installation.Shares.Single(one => one.Generation == generation.Number && one.Member == share.Number);
                        StoredShare verified = stored with
                        {
                            Seal = share.NewSeal,
                            RecordedAt = stored.Seal == share.NewSeal ? stored.RecordedAt : now,
                            VerifiedAt = now,
                        };
                        verified.Put(installation.Database, installation.Authenticator, installation.Rows);
                    }

                    installation.Notices.Append(new Notice(NoticeKind.CustodyOpened, now, operators.All) { Detail = opened.Describe() });
                    return installation.History.Append(new HistoryEntry
                    {
                        At = now,
                        Scope = HistoryScope.Root,
                        Operation = "root.verifyShares",
                        Detail = opened.Describe(),
                    });
                },
                CancellationToken.None);
            await installation.Writer.StopAsync();
        }
        catch (KmsException exception)
        {
            throw Exits.Of(exception);
        }
    }
}
