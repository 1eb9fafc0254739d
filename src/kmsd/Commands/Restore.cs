using System.Data.Common;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Configuration;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Integrity;
using Kmsd.Metrics;
using Kmsd.Recovery;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Commands;

/// <summary>
/// <c>kmsd restore FILE</c>: a backup takes the database's place. All is done to a copy beside the database, which then takes its name in
/// one step: cut off before that the old database serves, and after it the new one.
/// </summary>
internal static class Restore
{
    public const string Word = "restore";

    private const string TemporaryName = Database.FileName + ".restoring";
    private static readonly string[] s_beside = [Database.LogSuffix, "-shm"];

    public static async Task RunAsync(CommandLine arguments, TimeProvider clock, OperatorConsole terminal)
    {
        if (arguments.BackupFile is null)
        {
            throw CommandLine.Usage("Say which backup: kmsd restore FILE.");
        }

        if (arguments.Reason is not null)
        {
            _ = AcceptanceSteps.CheckReason(arguments.Reason);
        }

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
        string copy = Path.Combine(Path.GetDirectoryName(path)!, TemporaryName);
        if (File.Exists(path))
        {
            Database.RequireAccess(path);
        }

        Remove(copy);
        try
        {
            CopyFile(arguments.BackupFile!, copy);
            FaultPoint.Reach("restore.copied");
            using Prepared prepared = await PrepareAsync(arguments, copy, path, openRoot, deleted, options, meter, clock, terminal, logs);
            await PutInPlaceAsync(copy, path, prepared, options.Anchor, clock, terminal);
        }
        finally
        {
            Remove(copy);
        }
    }

    /// <summary>Proves the copy, says what it means, asks, and makes it what will serve.</summary>
    private static async Task<Prepared> PrepareAsync(
        CommandLine arguments, string copy, string path, Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot, DeletionList deleted,
        DaemonOptions options, DaemonMeter meter, TimeProvider clock, OperatorConsole terminal, ILoggerFactory logs)
    {
        bool isThere = File.Exists(path);
        Instance? running = isThere ? ReplacedDatabase.Peek(path)?.Instance : null;
        (Installation installation, BackupManifest manifest, AnchorRecord? known) = await OpenAsync(
            OpenFile(copy, path, running), copy, openRoot, options.Anchor, meter, clock, logs);
        using (installation)
        {
            HistoryVerdict history = await Exits.TryAsync(() => HistoryProof.RunAsync(
                installation.Database, installation.History, installation.Root, installation.Instance.Id));
            if (history.FirstBad is long bad)
            {
                throw DoesNotVerify(string.Create(CultureInfo.InvariantCulture, $"entry {bad} of its history isn't as it was written"));
            }

            terminal.Tell(string.Create(
                CultureInfo.InvariantCulture,
                $"The backup verifies: made at {AcceptanceSteps.Format(manifest.CreatedAt)}, epoch {manifest.Set.Epoch}, {manifest.Entries} history entries, {installation.Catalogue.Current.Keys.Count} keys."));
            ReplacedDatabase? replaced = isThere ? await Exits.TryAsync(() => ReplacedDatabase.ReadAsync(path, installation.Root)) : null;
            TellReplaced(replaced, isThere, path, installation, terminal);
            deleted.Add(replaced?.Catalogue.Deleted.Values ?? []);
            if (replaced is not null)
            {
                deleted.Add(replaced.Destroyed);
            }

            AcceptanceSteps.TellLeft(installation, terminal);
            AcceptDatabase accept = AcceptanceSteps.Make(installation, options, clock);
            AcceptancePlan plan = accept.Plan(deleted);
            AcceptanceSteps.Tell(plan, installation, clock, terminal);
            IReadOnlyList<OpeningNote> openings = AcceptanceSteps.ReadOpenings(path, installation.Database, terminal);
            terminal.Require(Word, arguments.Yes);
            Telling telling = known is not null || options.Anchor != AnchorMode.Required ? Telling.Last
                : replaced is { IsAnchored: false } ? Telling.AtStart
                : Telling.First;
            AnchorRecord record = await Exits.TryAsync(() => accept.RunAsync(
                plan, installation.Instance, installation.AnchorAtStart, options.Anchor == AnchorMode.Required && telling != Telling.AtStart, "restore",
                $"backup of {AcceptanceSteps.Format(manifest.CreatedAt)} ({AcceptanceSteps.Between(manifest.Set, known)}){(arguments.Reason is null ? "" : ": " + arguments.Reason)}",
                openings));
            return new Prepared(installation.TakeRoot(), record.Encode(installation.Authenticator), telling, record.Settled.Epoch, plan);
        }
    }

    /// <summary>Opens the copy and looks at it by itself: what is wrong with the file is said whatever the token does.</summary>
    private static Database OpenFile(string copy, string path, Instance? running)
    {
        RequireFormat(copy);
        Database database;
        try
        {
            database = Database.OpenBackup(copy);
        }
        catch (StartupException exception) when (exception.ExitCode == ExitCode.Configuration)
        {
            throw DoesNotVerify(exception.Message, exception);
        }
        catch (Exception exception) when (exception is DbException or InvalidOperationException or InvalidCastException)
        {
            throw DoesNotVerify("it can't be read", exception);
        }

        try
        {
            if (database.FindDamage() is string damage)
            {
                throw DoesNotVerify($"its file is damaged ({damage})");
            }

            Instance instance = database.Load(Instance.Read).Instance;
            return running is null || running.Id.AsSpan().SequenceEqual(instance.Id)
                ? database
                : throw new StartupException(
                    ExitCode.DataDoesNotVerify,
                    $"The backup is of another installation than {path}. To put it here nevertheless, move that file and the token's root key away first. Nothing was changed.");
        }
        catch (StartupException exception) when (exception.ExitCode == ExitCode.Configuration)
        {
            database.Dispose();
            throw DoesNotVerify(exception.Message, exception);
        }
        catch
        {
            database.Dispose();
            throw;
        }
    }

    /// <summary>SQLite takes a file for read-only, or for one that has a log, by two bytes of its header: no right of a user cures that.</summary>
    private static void RequireFormat(string copy)
    {
        const int WriteVersionAt = 18;
        Span<byte> versions = stackalloc byte[2];
        using FileStream file = File.OpenRead(copy);
        file.Position = WriteVersionAt;
        if (file.ReadAtLeast(versions, versions.Length, throwOnEndOfStream: false) == versions.Length && (versions[0] != versions[1] || versions[0] is not (1 or 2)))
        {
            throw DoesNotVerify("its header was changed");
        }
    }

    /// <summary>Opens what the token vouches for, and proves it by its manifest; what the token says by itself stays what it is.</summary>
    /// <returns>Also what the token knows; null if nothing that verifies.</returns>
    private static async Task<(Installation Installation, BackupManifest Manifest, AnchorRecord? Known)> OpenAsync(
        Database database, string copy, Func<IReadOnlyList<StoredGeneration>, RootKey> openRoot, AnchorMode mode, DaemonMeter meter, TimeProvider clock,
        ILoggerFactory logs)
    {
        BackupManifest? manifest = null;
        AnchorRecord? known = null;
        bool isAtToken = false;
        try
        {
            Installation? installation = await Installation.OpenToAcceptAsync(
                database, copy,
                generations =>
                {
                    isAtToken = true;
                    RootKey root = openRoot(generations);
                    isAtToken = false;
                    return root;
                },
                mode,
                seen =>
                {
                    known = seen.Anchor;
                    manifest = Prove(seen);
                    return true;
                },
                meter, clock, logs);
            return (installation!, manifest!, known);
        }
        catch (StartupException exception) when (!isAtToken && exception is { ExitCode: ExitCode.Configuration, InnerException: not KmsException })
        {
            throw DoesNotVerify(exception.Message, exception);
        }
    }

    private static BackupManifest Prove(Installation.Found seen)
    {
        BackupManifest manifest = seen.Database.Load(from => BackupManifest.Read(from, seen.Authenticator)) ?? throw DoesNotVerify("its manifest was changed");
        if (seen.Database.Load(from => manifest.FindDifference(from, seen.Authenticator)) is string difference)
        {
            throw DoesNotVerify(difference);
        }

        seen.Database.WriteAtStart(database => database.RemoveManifest());
        return manifest;
    }

    private static void TellReplaced(ReplacedDatabase? replaced, bool isThere, string path, Installation installation, OperatorConsole terminal)
    {
        if (!isThere)
        {
            terminal.Tell($"There is no database at {path}. Keys that were deleted after the backup stand again, unless --deleted names them.");
        }
        else if (replaced is null)
        {
            terminal.Tell(
                $"The database at {path} can't be read or doesn't verify: what is newer in it isn't known. Keys that were deleted after the backup stand again, unless --deleted names them.");
        }
        else
        {
            terminal.Tell($"Newer in {path}:");
            foreach (string line in replaced.DescribeNewer(installation.Catalogue.Current, installation.History.Committed))
            {
                terminal.Tell("  " + line);
            }
        }
    }

    private static async Task PutInPlaceAsync(string copy, string path, Prepared prepared, AnchorMode mode, TimeProvider clock, OperatorConsole terminal)
    {
        FaultPoint.Reach("restore.before-aside");
        if (File.Exists(path))
        {
            string aside = SetAside(path, clock.GetUtcNow());
            terminal.Tell($"The database that was there is kept: {aside}. It opens what it always did: remove it once nothing is missing.");
        }

        FaultPoint.Reach("restore.after-aside");
        if (prepared.Telling == Telling.First)
        {
            await AcceptanceSteps.AnchorAsync(prepared.Root, prepared.Anchor, mode);
        }

        Durable.Replace(copy, path);
        FaultPoint.Reach("restore.in-place");

        // Not before: what it holds belongs to the database that would serve again, and has a name beside it now. Beside another one it is ignored.
        File.Delete(path + HistoryTail.Suffix);

        if (prepared.Telling == Telling.Last)
        {
            await AcceptanceSteps.AnchorAsync(prepared.Root, prepared.Anchor, mode);
        }

        AcceptanceSteps.RemoveOpenings(path);
        terminal.Tell(string.Create(
            CultureInfo.InvariantCulture,
            $"Restored: epoch {prepared.Epoch}. {prepared.Plan.Rotated.Count} keys rotated, {prepared.Plan.Destroyed.Count} destroyed. Start kmsd, and go through the grants."));
    }

    /// <summary>Gives the database a second name, which stays when the copy takes the first.</summary>
    private static string SetAside(string path, DateTimeOffset now)
    {
        // Whoever can't be opened keeps what SQLite left beside it.
        _ = Database.TryMakeOneFile(path);
        string name = string.Create(CultureInfo.InvariantCulture, $"{path}.aside-{now.UtcDateTime:yyyyMMdd'T'HHmmss'Z'}");
        string aside = name;
        for (int number = 2; File.Exists(aside); number++)
        {
            aside = string.Create(CultureInfo.InvariantCulture, $"{name}-{number}");
        }

        Durable.Link(path, aside);
        if (File.Exists(path + HistoryTail.Suffix))
        {
            Durable.Link(path + HistoryTail.Suffix, aside + HistoryTail.Suffix);
        }

        foreach (string suffix in s_beside.Where(suffix => File.Exists(path + suffix)))
        {
            Durable.Rename(path + suffix, aside + suffix);
        }

        return aside;
    }

    private static void CopyFile(string from, string to)
    {
        if (Directory.Exists(from))
        {
            throw new StartupException(ExitCode.DataDoesNotVerify, $"{from} is a folder: name a backup in it. Nothing was changed.");
        }

        try
        {
            using FileStream source = OpenSource(from);
            using FileStream target = new(to, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
            source.CopyTo(target);
            target.Flush(flushToDisk: true);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new StartupException(ExitCode.DataDoesNotVerify, $"There is no backup at {from}.", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(ExitCode.CannotCreate, $"The backup {from} can't be copied to {to}: {exception.Message} Nothing was changed.", exception);
        }
    }

    private static FileStream OpenSource(string from)
    {
        try
        {
            return new FileStream(from, FileMode.Open, FileAccess.Read);
        }
        catch (UnauthorizedAccessException exception)
        {
            throw new StartupException(
                ExitCode.CannotCreate, $"The backup {from} can't be read: the user that runs kmsd must be allowed to. Nothing was changed.", exception);
        }
    }

    private static void Remove(string copy)
    {
        try
        {
            File.Delete(copy);
            foreach (string suffix in s_beside)
            {
                File.Delete(copy + suffix);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(ExitCode.CannotCreate, $"{copy} is in the way: {exception.Message}", exception);
        }
    }

    private static StartupException DoesNotVerify(string what, Exception? cause = null)
    {
        // The sentence may be one of a start, whose advice is what is being done here.
        string fault = what.Replace(StartupException.RestoreBackup, "", StringComparison.Ordinal).TrimEnd('.', ' ');
        string message = $"The backup doesn't verify: {fault}. Nothing was changed.";
        return cause is null ? new StartupException(ExitCode.DataDoesNotVerify, message) : new StartupException(ExitCode.DataDoesNotVerify, message, cause);
    }

    /// <summary>When the token is told of the restored database, so that wherever this is cut off a start needs nobody.</summary>
    private enum Telling
    {
        /// <summary>Before it takes its place: there is none that serves, and a start doesn't serve without an anchor.</summary>
        First = 0,

        /// <summary>Once it is in its place: it names the anchor that it supersedes, or needs none; and the old one is served until then.</summary>
        Last = 1,

        /// <summary>By the next start: neither database was anchored, and an anchor of one would shut out the other.</summary>
        AtStart = 2,
    }

    /// <summary>A copy that is what will serve.</summary>
    /// <param name="Root">For the token; taken over.</param>
    /// <param name="Anchor">What the token is to be told.</param>
    /// <param name="Telling">When.</param>
    /// <param name="Epoch">The copy's.</param>
    /// <param name="Plan">What was done.</param>
    private sealed record Prepared(RootKey Root, byte[] Anchor, Telling Telling, long Epoch, AcceptancePlan Plan) : IDisposable
    {
#pragma warning disable IDISP007 // Whoever prepares hands it over.
        public void Dispose() => Root.Dispose();
#pragma warning restore IDISP007
    }
}
