using Kms.Client.Protocol;
using Kmsd.Storage;

namespace Kmsd.History;

/// <summary>What the history tells of a key up to the end of a month.</summary>
/// <param name="Changes">Of its state, from its creation on, oldest first.</param>
/// <param name="Calls">Requests of the month that were carried out.</param>
internal sealed record MonthOfKey(IReadOnlyList<(DateTimeOffset At, string Operation)> Changes, long Calls);

/// <summary>Counts uses and gathers changes of states out of the history.</summary>
internal sealed class UsageReader(DatabaseReader database)
{
    // The text of the index, so that it is used.
    private const string SelectChanges = """
        SELECT at, operation FROM history
        WHERE tag = $1 AND at < $2 AND outcome = 'ok' AND items = 0 AND operation IN ('keys.create', 'keys.enable', 'keys.disable',
            'keys.requestDeletion', 'keys.cancelDeletion', 'keys.deleteNow', 'deletion.automatic')
        ORDER BY sequence
        """;

    // What was refused before it was carried out names no version.
    private const string SelectCalls = """
        SELECT count(*) FROM history
        WHERE tag = $1 AND sequence >= $2 AND at >= $3 AND at < $4 AND operation LIKE 'crypto.%' AND version IS NOT NULL
        """;

    private const string SelectAt = "SELECT sequence, at FROM history WHERE sequence >= $1 AND at IS NOT NULL ORDER BY sequence LIMIT 1";

    public Task<IReadOnlyDictionary<KeyTag, MonthOfKey>> ReadAsync(
        IReadOnlyList<KeyTag> keys, DateTimeOffset from, DateTimeOffset to, CancellationToken cancellationToken) =>
        database.ReadAsync<IReadOnlyDictionary<KeyTag, MonthOfKey>>(
            source =>
            {
                long first = FirstAt(source, from);
                return keys.ToDictionary(tag => tag, tag => Read(source, tag.ToBytes(), first, from, to));
            },
            cancellationToken);

    private static MonthOfKey Read(Database source, byte[] tag, long first, DateTimeOffset from, DateTimeOffset to)
    {
        List<(DateTimeOffset, string)> changes = [];
        source.Prepare(SelectChanges).BindAll(tag, to.ToUnixTimeMilliseconds()).Query(reader => changes.Add((reader.GetTime(0), reader.GetString(1))));
        long calls = source.Prepare(SelectCalls).BindAll(tag, first, from.ToUnixTimeMilliseconds(), to.ToUnixTimeMilliseconds()).QueryNumber();
        return new MonthOfKey(changes, calls);
    }

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
