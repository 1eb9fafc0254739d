using System.Globalization;
using Kmsd.Configuration;
using Kmsd.Hosting;
using Kmsd.Integrity;
using Kmsd.Metrics;
using Kmsd.Recovery;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Commands;

/// <summary>
/// <c>kmsd recover --accept-rollback</c>: an operator accepts that the database went back, or that the token did. What is wrong by
/// itself, a set of rows or a head that doesn't verify, can't be accepted.
/// </summary>
internal static class Recover
{
    public const string Word = "accept";

    public static async Task RunAsync(CommandLine arguments, TimeProvider clock, OperatorConsole terminal)
    {
        if (!arguments.AcceptsRollback)
        {
            throw CommandLine.Usage("Say what is to be accepted: --accept-rollback.");
        }

        _ = AcceptanceSteps.CheckReason(arguments.Reason);
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        using ILoggerFactory logs = AcceptanceSteps.Logs();
        using DaemonMeter meter = new(clock);
        using StateDirectory state = Preparation.OpenState(options);
        await RunAsync(
            arguments, Path.Combine(state.Path, Database.FileName), generations => Preparation.OpenRoot(options, generations, new TokenMeter(meter), logs), options, meter, clock,
            terminal, logs);
    }

    internal static async Task RunAsync(
        CommandLine arguments, string path, Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot, DaemonOptions options, DaemonMeter meter,
        TimeProvider clock, OperatorConsole terminal, ILoggerFactory logs)
    {
        DeletionList deleted = AcceptanceSteps.ReadDeleted(arguments, clock);
        Installation.Found? found = null;
        using Installation? installation = await Installation.OpenToAcceptAsync(
            Database.Open(path), path, openRoot, options.Anchor,
            seen =>
            {
                found = seen;

                // Where the token isn't asked, after custody was opened, there is only that to be recorded.
                return !AnchorPolicy.Serves(seen.Verdict) || AcceptanceSteps.MustRecordOpenings(path, seen.Database);
            },
            meter, clock, logs);
        if (installation is null)
        {
            terminal.Tell($"There is nothing to recover: {AnchorPolicy.Describe(found!.Verdict)} Nothing was changed.");
            return;
        }

        terminal.Tell(AnchorPolicy.Describe(found!.Verdict));
        terminal.Tell(string.Create(
            CultureInfo.InvariantCulture,
            $"The database: epoch {found.Set.Epoch}, {found.History.Committed.Sequence} history entries, last seen running at {AcceptanceSteps.Format(installation.LastSeenAt)}."));
        terminal.Tell(found.Anchor is AnchorRecord anchor
            ? string.Create(CultureInfo.InvariantCulture, $"The token knows: epoch {anchor.LastEpoch}, {anchor.History.Sequence} history entries.")
            : "The token knows nothing of it.");
        AcceptanceSteps.TellLeft(installation, terminal);
        AcceptDatabase accept = AcceptanceSteps.Make(installation, options, clock);
        AcceptancePlan plan = accept.Plan(deleted);
        AcceptanceSteps.Tell(plan, installation, clock, terminal);
        terminal.Tell("Whatever was changed after that state is gone: grants that were taken away stand again. Restoring a backup says what; this can't.");
        IReadOnlyList<OpeningNote> openings = AcceptanceSteps.ReadOpenings(path, installation.Database, terminal);
        terminal.Require(Word, arguments.Yes);
        AnchorRecord record = await Exits.TryAsync(() => accept.RunAsync(
            plan, installation.Instance, installation.AnchorAtStart, options.Anchor == AnchorMode.Required, "recover",
            $"{arguments.Reason} ({AcceptanceSteps.Between(found.Set, found.Anchor)})", openings));
        await AcceptanceSteps.AnchorAsync(installation.Root, record.Encode(installation.Authenticator), options.Anchor);
        AcceptanceSteps.RemoveOpenings(path);
        terminal.Tell(string.Create(
            CultureInfo.InvariantCulture, $"Accepted: epoch {record.Settled.Epoch}. {plan.Rotated.Count} keys rotated, {plan.Destroyed.Count} destroyed. Start kmsd, and go through the grants."));
    }
}
