namespace Kmsd.Storage;

/// <summary>
/// Reads beside the writer, over a connection of its own: what is committed, in one snapshot a call, off the caller's thread. A
/// query should be short, since one that runs keeps the write-ahead log from being emptied.
/// </summary>
/// <param name="path">Of a database that the writer has opened and checked.</param>
/// <param name="writer">Puts first into the database what it has answered.</param>
internal sealed class DatabaseReader(string path, Writer writer) : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1);
    private Database? _database;

    public async Task<T> ReadAsync<T>(Func<Database, T> read, CancellationToken cancellationToken)
    {
        await writer.SettleAsync(cancellationToken);
        await _turn.WaitAsync(cancellationToken);
        try
        {
            return await Task.Run(() => (_database ??= Database.OpenForReading(path)).ReadSnapshot(read), cancellationToken);
        }
        finally
        {
            _ = _turn.Release();
        }
    }

    /// <summary>Brings what was answered into the database, as each read does first.</summary>
    public Task SettleAsync(CancellationToken cancellationToken) => writer.SettleAsync(cancellationToken);

    public void Dispose()
    {
        _database?.Dispose();
        _turn.Dispose();
    }
}
