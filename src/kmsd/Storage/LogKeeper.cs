using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Kmsd.Storage;

/// <summary>
/// Keeps the write-ahead log short: brings it into the file over a connection of its own, beside the writer, whose commits
/// don't wait for the disk then. Only where the log has grown long, since under load it never comes to an end, the writer
/// empties it.
/// </summary>
internal sealed class LogKeeper(string path, Writer writer, ILogger<LogKeeper> log) : IDisposable
{
    private const long WorthwhileBytes = 4 << 20;
    private const long MostBytes = 64 << 20;

    private Database? _database;

    /// <summary>One look; called every second.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await writer.SettleAsync(cancellationToken);
        FileInfo file = new(path + Database.LogSuffix);
        try
        {
            if (writer.MustEmptyLog)
            {
                // Whoever read the file when something was destroyed may have ended by now.
                _ = await writer.ChangeAsync(() => true, cancellationToken, erases: true);
            }

            if (!file.Exists || file.Length < WorthwhileBytes)
            {
                return;
            }

            await Task.Run(() => (_database ??= Database.Open(path)).Execute("PRAGMA wal_checkpoint(PASSIVE)"), cancellationToken);
            if (file.Length > MostBytes)
            {
                _ = await writer.ChangeAsync(() => true, cancellationToken, erases: true);
            }
        }
        catch (Exception exception) when (exception is SqliteException or Kms.Client.Protocol.KmsException)
        {
            // The log stays, and grows; tried again at the next look.
            StorageLog.LogNotShortened(log, exception);
        }
    }

    public void Dispose() => _database?.Dispose();
}
