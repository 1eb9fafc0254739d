using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;
using Kmsd.Deletion;
using Kmsd.Hosting;
using Kmsd.Integrity;
using Kmsd.Keys;
using Kmsd.Recovery;
using Kmsd.RootKeys;
using Kmsd.Rotation;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Kmsd.Commands;

/// <summary>What <c>recover</c> and <c>restore</c> share.</summary>
internal static class AcceptanceSteps
{
    public static ILoggerFactory Logs() => LoggerFactory.Create(logging => logging.SetMinimumLevel(LogLevel.Warning).AddConsole(console =>
    {
        console.FormatterName = ConsoleFormatterNames.Systemd;
        console.LogToStandardErrorThreshold = LogLevel.Trace;
    }));

    /// <exception cref="StartupException">64</exception>
    public static string CheckReason(string? reason)
    {
        try
        {
            return Reason.Check(reason ?? throw CommandLine.Usage("Say why: --reason TEXT. It is kept in the history."));
        }
        catch (KmsException exception)
        {
            throw CommandLine.Usage(exception.Message);
        }
    }

    public static DeletionList ReadDeleted(CommandLine arguments, TimeProvider clock)
    {
        DeletionList deleted = new();
        if (arguments.DeletedFile is string file)
        {
            deleted.AddFile(file, clock.GetUtcNow());
        }

        return deleted;
    }

    public static AcceptDatabase Make(Installation installation, DaemonOptions options, TimeProvider clock)
    {
        VersionMaker versions = new(installation.Root, clock);
        KeyLimits limits = new(options.KeysPerStore, options.GrantsPerKey, options.MembersPerStore, options.VersionsPerKey, options.Stores);
        return new AcceptDatabase(
            installation.Database, installation.Authenticator, installation.Rows, installation.Generations, installation.Catalogue, installation.History, installation.Writer,
            versions,
            new RotateKey(installation.Catalogue, installation.History, installation.Notices, installation.Writer, versions, limits, clock),
            new KeyDestruction(installation.Catalogue, installation.History, installation.Notices), installation.Notices,
            new Operators(options.Operators, options.RootAdministrators), clock);
    }

    public static void Tell(AcceptancePlan plan, Installation installation, TimeProvider clock, OperatorConsole terminal)
    {
        terminal.Tell($"This host's clock says {Format(clock.GetUtcNow())}.");
        foreach ((Key key, DateTimeOffset? deletedAt) in plan.Destroyed)
        {
            string why = deletedAt is DateTimeOffset at ? $"it was destroyed at {Format(at)} already" : $"its time was over at {Format(key.DeleteAt!.Value)}";
            terminal.Tell($"To be destroyed: {ReplacedDatabase.NameOf(installation.Catalogue.Current, key)}: {why}.");
        }

        foreach (Key key in plan.Left)
        {
            terminal.Tell($"In quarantine, left as it is: {ReplacedDatabase.NameOf(installation.Catalogue.Current, key)}.");
        }

        terminal.Tell(string.Create(
            CultureInfo.InvariantCulture, $"To be rotated, since their counters are stale: {plan.Rotated.Count} AES keys."));
    }

    /// <summary>Openings of custody that are to be recorded now: those that the database which is accepted doesn't have on record.</summary>
    public static IReadOnlyList<OpeningNote> ReadOpenings(string path, Database database, OperatorConsole terminal)
    {
        OpeningNote[] openings = [.. NotesBeside(path).Read().Where(opening => !database.Load(from => RecordedOpenings.Holds(from, opening)))];
        foreach (OpeningNote opening in openings)
        {
            terminal.Tell($"To be recorded: custody was opened at {Format(opening.At)}: {opening.Description}.");
        }

        return openings;
    }

    /// <summary>The database that serves has them on record.</summary>
    public static void RemoveOpenings(string path)
    {
        FaultPoint.Reach("accept.before-notes");
        NotesBeside(path).Remove();
    }

    /// <summary>True if there are notes that this database doesn't hold yet. Where it holds all, what recorded them was cut off before it removed them, and that is done now.</summary>
    public static bool MustRecordOpenings(string path, Database database)
    {
        IReadOnlyList<OpeningNote> openings = NotesBeside(path).Read();
        bool areRecorded = openings.All(opening => database.Load(from => RecordedOpenings.Holds(from, opening)));
        if (openings.Count > 0 && areRecorded)
        {
            RemoveOpenings(path);
        }

        return !areRecorded;
    }

    /// <summary>Whoever rotated the root key had a reason. Nothing of it is removed here: what was set aside needs it.</summary>
    public static void TellLeft(Installation installation, OperatorConsole terminal)
    {
        // Planned ones aren't taken over: their keys, if they are there, are somebody else's.
        long[] left = [.. installation.Generations.Left.Union(installation.Generations.All.Values.Where(one => one.State == GenerationState.Planned).Select(one => one.Number))];
        if (left.Length > 0)
        {
            terminal.Tell(string.Create(
                CultureInfo.InvariantCulture,
                $"The root generation of this state is {installation.Generations.Current.Number}, which seals again; of others the token may hold keys that it doesn't name: {string.Join(", ", left)}. They stay, for what is set aside and for later backups: see kmsctl root status and kmsctl root retire. Rotate the root key afterwards."));
        }
    }

    private static OpeningNotes NotesBeside(string path) => new(Path.GetDirectoryName(path)!);

    public static string Between(SetState set, AnchorRecord? anchor) => string.Create(
        CultureInfo.InvariantCulture, $"epoch {set.Epoch}, the token knew {(anchor is null ? "nothing" : anchor.LastEpoch.ToString(CultureInfo.InvariantCulture))}");

    public static string Format(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);

    /// <summary>Tells the token which database it follows from now on.</summary>
    public static Task AnchorAsync(RootKey root, byte[] anchor, AnchorMode mode) => Exits.TryAsync(async () =>
    {
        FaultPoint.Reach("accept.before-anchor");
        if (mode == AnchorMode.Required)
        {
            await root.WriteAnchorAsync(anchor);
        }
        else
        {
            await root.RemoveAnchorsAsync();
        }

        FaultPoint.Reach("accept.after-anchor");
        return true;
    });
}
