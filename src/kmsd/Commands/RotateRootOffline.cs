using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;
using Kmsd.Custody;
using Kmsd.Hosting;
using Kmsd.Metrics;
using Kmsd.RootKeys;
using Kmsd.Rotation;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Commands;

/// <summary>
/// <c>kmsd root rotate</c>: a ceremony for the root key's next generation, with the daemon stopped. New shares come first; then the
/// generation is taken into use in one change, and the daemon carries versions over once it serves again.
/// </summary>
internal static class RotateRootOffline
{
    /// <exception cref="StartupException">64: abandoned, or bad arguments; others as at start. Nothing was changed.</exception>
    public static async Task RunAsync(CommandLine arguments, TimeProvider clock, TextWriter output)
    {
        SplitRules rules = new(
            arguments.Shares ?? SplitRules.UsualCount, arguments.Threshold ?? SplitRules.UsualThreshold, arguments.AcceptsSame);
        if (rules.Refusal(arguments.AllowsNoSpare) is string refusal)
        {
            throw CommandLine.Usage(refusal);
        }

        string reason = AcceptanceSteps.CheckReason(arguments.Reason);
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        using ILoggerFactory logs = AcceptanceSteps.Logs();
        using DaemonMeter meter = new(clock);
        using StateDirectory state = Preparation.OpenState(options);
        HsmRootKey? root = null;
        using Installation installation = await Installation.OpenAsync(
            Path.Combine(state.Path, Database.FileName),
            generations => root = Preparation.OpenRoot(options, generations, new TokenMeter(meter), logs), options.Anchor, judge: null, meter, clock, logs);
        Operators operators = new(options.Operators, options.RootAdministrators);
        using RootRotation rotation = installation.NewRotation(operators, installation.NewBackup(operators), options.RotateDays);
        try
        {
            RequireThrough(installation);
            using CeremonyRoot custody = CustodyDialogue.HoldCeremony(root!.Token, rules, state.Path);
            DateTimeOffset now = clock.GetUtcNow();
            GenerationSource source = new(
                StoredGeneration.CeremonyOrigin,
                async planned => await root.ImportGenerationAsync(planned, custody.Import),
                custody.Set,
                made => Record(installation, custody, made, now));
            await rotation.RunAsync(source, RootRotation.ByHand, caller: null, reason);
            custody.Keep();
            StoredGeneration current = installation.Generations.Current;
            custody.WriteProtocol(output, current.Descriptor, root.Token.Description, now);
            await output.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture, $"Root key generation {current.Number} is in use. Start kmsd: it carries every version over; kmsctl root status shows how far it is."));
            await output.WriteLineAsync(
                "Sign the protocol, and bring the shares to their safes. Keep the old ones until the old generation is retired (kmsctl root retire); then destroy them.");
        }
        catch (KmsException exception)
        {
            throw Exits.Of(exception);
        }
        finally
        {
            await installation.Writer.StopAsync();
        }
    }

    /// <summary>Before anybody writes words down: the last rotation must be through.</summary>
    private static void RequireThrough(Installation installation)
    {
        if (RootRotation.CountBehind(installation.Catalogue.Current, installation.Root.Generation) is > 0 and long behind)
        {
            throw new StartupException(
                ExitCode.Configuration, $"The last rotation isn't through: {behind} versions are still to be re-wrapped. Let kmsd serve until they are. Nothing was changed.");
        }
    }

    private static void Record(Installation installation, CeremonyRoot custody, StoredGeneration made, DateTimeOffset now)
    {
        foreach (StoredShare share in custody.Rows(made.Number, now))
        {
            share.Put(installation.Database, installation.Authenticator, installation.Rows);
        }
    }
}
