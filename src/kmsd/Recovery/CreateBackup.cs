using System.Globalization;
using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Recovery;

/// <summary>
/// A consistent copy of the database beside running requests, with its sealed manifest, in the daemon's backup folder:
/// <c>backup.create</c>. One at a time.
/// </summary>
/// <param name="path">Of the database.</param>
/// <param name="keys">Vouch for rows.</param>
/// <param name="generations">Of the root key.</param>
/// <param name="instanceId">Whose database it is.</param>
/// <param name="history">Hears of it.</param>
/// <param name="writer">Writes the history.</param>
/// <param name="operators">Who may.</param>
/// <param name="clock">The time.</param>
internal sealed class CreateBackup(
    string path, GenerationKeys keys, RootGenerations generations, byte[] instanceId, HistoryLog history, Writer writer, Operators operators,
    TimeProvider clock)
{
    /// <summary>Beside the database.</summary>
    public const string FolderName = "backups";

    private const int LongestName = 100;

    private int _isRunning;

    /// <summary>The folder in which backups are made.</summary>
    public string Folder => Path.Combine(Path.GetDirectoryName(path)!, FolderName);

    public async Task<CreateBackupResult> RunAsync(Caller caller, CreateBackupRequest request, CancellationToken cancellationToken)
    {
        operators.Require(caller);
        DateTimeOffset now = clock.GetUtcNow();
        return await MakeAsync(request.Path is null ? $"kms-{Stamp(now)}.db" : CheckName(request.Path), caller, now, cancellationToken);
    }

    /// <summary>Before the root key gets another generation: a rotation that turns out wrong must not be the end.</summary>
    /// <exception cref="KmsException"><c>storageUnavailable</c>, <c>invalidState</c>: nothing was made.</exception>
    public async Task MakeBeforeRotationAsync(Caller? caller)
    {
        DateTimeOffset now = clock.GetUtcNow();
        _ = await MakeAsync(
            string.Create(CultureInfo.InvariantCulture, $"before-root-rotation-{generations.Current.Number}-{Stamp(now)}-{RandomNumberGenerator.GetHexString(4, lowercase: true)}.db"), caller, now, CancellationToken.None);
    }

    /// <summary>After a root generation was retired: no backup from before can be restored.</summary>
    /// <exception cref="KmsException"><c>storageUnavailable</c>, <c>invalidState</c>: nothing was made.</exception>
    public async Task MakeAfterRetirementAsync(Caller? caller)
    {
        DateTimeOffset now = clock.GetUtcNow();
        _ = await MakeAsync($"after-root-retirement-{Stamp(now)}-{RandomNumberGenerator.GetHexString(4, lowercase: true)}.db", caller, now, CancellationToken.None);
    }

    private static string Stamp(DateTimeOffset now) => now.UtcDateTime.ToString("yyyyMMdd'T'HHmmssfff'Z'", CultureInfo.InvariantCulture);

    private async Task<CreateBackupResult> MakeAsync(string name, Caller? caller, DateTimeOffset now, CancellationToken cancellationToken)
    {
        string file = Path.Combine(Folder, name);
        if (Interlocked.Exchange(ref _isRunning, 1) == 1)
        {
            throw new KmsException(KmsErrorCode.InvalidState, "Another backup is being made; try again when it is done.");
        }

        try
        {
            await writer.SettleAsync(cancellationToken); // What was answered is in the copy.
            (string sha256, long size, long entries) = await Task.Run(() => Make(file, now), cancellationToken);
            try
            {
                _ = await writer.ChangeAsync(
                    () => history.Append(new HistoryEntry
                    {
                        At = now,
                        Scope = HistoryScope.System,
                        Operation = "backup.create",
                        Caller = caller,
                        Detail = $"{name}, sha256 {sha256}",
                    }),
                    CancellationToken.None);
            }
            catch
            {
                // What isn't recorded didn't happen.
                File.Delete(file);
                throw;
            }

            return new CreateBackupResult { Path = name, Sha256 = sha256, Entries = entries, Folder = Folder, Size = size };
        }
        finally
        {
            Volatile.Write(ref _isRunning, 0);
        }
    }

    private (string Sha256, long Size, long Entries) Make(string file, DateTimeOffset now)
    {
        string partial = Path.Combine(Folder, "." + Path.GetFileName(file) + ".partial");
        try
        {
            _ = Directory.CreateDirectory(Folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            if (File.Exists(file))
            {
                throw new KmsException(KmsErrorCode.AlreadyExists, "There is a backup of this name already.");
            }

            try
            {
                return Make(file, partial, now);
            }
            finally
            {
                File.Delete(partial);
                File.Delete(partial + Database.LogSuffix);
                File.Delete(partial + "-shm");
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or StartupException)
        {
            throw new KmsException(KmsErrorCode.StorageUnavailable, "The backup could not be written; is the disk full?", exception);
        }
    }

    private (string Sha256, long Size, long Entries) Make(string file, string partial, DateTimeOffset now)
    {
        File.Delete(partial);
        using (new FileStream(partial, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
        {
        }

        long entries = 0;
        RowAuthenticator authenticator = new(keys, instanceId, generations.Current.Number);
        Database.Copy(path, partial, copy =>
        {
            BackupManifest manifest = BackupManifest.Measure(copy, authenticator, now) ?? throw new KmsException(
                KmsErrorCode.IntegrityFailure, "The head of the history doesn't verify: the database was changed from outside. No backup was made.");
            manifest.Insert(copy, authenticator);
            entries = manifest.Entries;
        });
        string sha256;
        long size;
        using (FileStream stream = new(partial, FileMode.Open, FileAccess.Read))
        {
            size = stream.Length;
            sha256 = Convert.ToHexStringLower(SHA256.HashData(stream));
        }

        FaultPoint.Reach("backup.before-rename");
        Durable.Rename(partial, file);
        FaultPoint.Reach("backup.after-rename");
        return (sha256, size, entries);
    }

    private static string CheckName(string name) =>
        name.Length is >= 1 and <= LongestName && name[0] != '.' && name.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '.' or '-' or '_')
            ? name
            : throw new KmsException(
                KmsErrorCode.InvalidParams,
                $"A backup is a file in the daemon's backup folder: 1 to {LongestName} of A–Z a–z 0–9 . - _, not starting with a dot, without a folder.");
}
