using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>What the history tells of a store's keys in a month, by tag.</summary>
/// <param name="Changes">Of states, from each key's creation on, oldest first.</param>
/// <param name="Calls">Requests that were carried out.</param>
internal sealed record MonthOfStore(
    IReadOnlyDictionary<string, List<(DateTimeOffset At, string Operation)>> Changes, IReadOnlyDictionary<string, long> Calls);

/// <summary>Counts uses and gathers changes of states out of the history.</summary>
internal sealed class UsageReader(DatabaseReader database)
{
    private const string SelectChanges = """
        SELECT lower(hex(tag)), at, operation FROM history
        WHERE store_id = $1 AND at < $2 AND outcome = 'ok' AND operation IN ('keys.create', 'keys.enable', 'keys.disable', 'keys.requestDeletion',
            'keys.cancelDeletion', 'keys.deleteNow', 'deletion.automatic')
        ORDER BY sequence
        """;

    // What was refused before it was carried out names no version.
    private const string SelectCalls = """
        SELECT lower(hex(tag)), count(*) FROM history
        WHERE store_id = $1 AND sequence >= $2 AND at >= $3 AND at < $4 AND operation LIKE 'crypto.%' AND version IS NOT NULL GROUP BY tag
        """;

    private const string SelectAt = "SELECT sequence, at FROM history WHERE sequence >= $1 AND at IS NOT NULL ORDER BY sequence LIMIT 1";

    public Task<MonthOfStore> ReadAsync(byte[] storeId, DateTimeOffset from, DateTimeOffset to, CancellationToken cancellationToken) =>
        database.ReadAsync(
            source =>
            {
                Dictionary<string, List<(DateTimeOffset, string)>> changes = [];
                source.Prepare(SelectChanges).BindAll(storeId, to.ToUnixTimeMilliseconds()).Query(reader =>
                {
                    string tag = reader.GetString(0);
                    if (!changes.TryGetValue(tag, out List<(DateTimeOffset, string)>? own))
                    {
                        changes.Add(tag, own = []);
                    }

                    own.Add((reader.GetTime(1), reader.GetString(2)));
                });
                Dictionary<string, long> calls = [];
                source.Prepare(SelectCalls)
                    .BindAll(storeId, FirstAt(source, from), from.ToUnixTimeMilliseconds(), to.ToUnixTimeMilliseconds())
                    .Query(reader => calls.Add(reader.GetString(0), reader.GetInt64(1)));
                return new MonthOfStore(changes, calls);
            },
            cancellationToken);

    /// <summary>
    /// About where a time begins: numbers rise with time, so the half is looked for. A day early, for clocks that were set back.
    /// </summary>
    private static long FirstAt(Database source, DateTimeOffset time)
    {
        long wanted = time.AddDays(-1).ToUnixTimeMilliseconds();
        long low = 1;
        long high = source.Prepare("SELECT coalesce(max(sequence), 0) + 1 FROM history").QueryNumber();
        while (low < high)
        {
            long middle = low + ((high - low) / 2);
            (long Sequence, long At)? found = null;
            source.Prepare(SelectAt).BindAll(middle).Query(reader => found = (reader.GetInt64(0), reader.GetInt64(1)));
            if (found is null || found.Value.At >= wanted)
            {
                high = middle;
            }
            else
            {
                low = found.Value.Sequence + 1;
            }
        }

        return low;
    }
}
