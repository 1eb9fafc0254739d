using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Storage;
using Microsoft.Extensions.Logging;

namespace Kmsd.Audit;

/// <summary>
/// How often those who have no right were refused: one row a principal and minute, outside the chain, written every few
/// seconds; and one line in the journal for each.
/// </summary>
internal sealed class StrangerCounter(Writer writer, Database database, TimeProvider clock, ILogger<StrangerCounter> log)
{
    // Whoever comes after these is counted with the others.
    private const int MostPrincipals = 1024;
    private const string Others = "(others)";

    private readonly Lock _lock = new();
    private readonly HashSet<(string Principal, long Minute)> _told = [];
    private Dictionary<(string Principal, long Minute), (long Count, string Operation, string Reason)> _counted = [];
    private long _total;

    /// <summary>All since the start.</summary>
    public long Total => Interlocked.Read(ref _total);

    public void Count(Caller caller, string operation, string reason)
    {
        long minute = clock.GetUtcNow().ToUnixTimeSeconds() / 60;
        string principal = caller.PrimaryText;
        bool isNews;
        _ = Interlocked.Increment(ref _total);
        lock (_lock)
        {
            principal = _told.Count < MostPrincipals || _told.Contains((principal, minute)) ? principal : Others;
            _ = _told.RemoveWhere(told => told.Minute < minute - 1);
            isNews = _told.Add((principal, minute));
            (long count, _, _) = _counted.GetValueOrDefault((principal, minute));
            _counted[(principal, minute)] = (count + 1, operation, reason);
        }

        if (isNews)
        {
            AuditLog.StrangerRefused(log, principal, operation, reason);
        }
    }

    /// <summary>Writes what was counted since the last time.</summary>
    public async Task WriteAsync(CancellationToken cancellationToken)
    {
        Dictionary<(string Principal, long Minute), (long Count, string Operation, string Reason)> counted;
        lock (_lock)
        {
            (counted, _counted) = (_counted, []);
        }

        if (counted.Count == 0)
        {
            return;
        }

        try
        {
            _ = await writer.ChangeAsync(() => Write(counted), cancellationToken);
        }
        catch (KmsException exception)
        {
            AuditLog.RefusalsNotWritten(log, exception);
            lock (_lock)
            {
                foreach (((string, long) name, (long Count, string Operation, string Reason) count) in counted)
                {
                    (long more, _, _) = _counted.GetValueOrDefault(name);
                    _counted[name] = count with { Count = count.Count + more };
                }
            }
        }
    }

    private bool Write(Dictionary<(string Principal, long Minute), (long Count, string Operation, string Reason)> counted)
    {
        foreach (((string principal, long minute), (long count, string operation, string reason)) in counted)
        {
            database.Prepare("""
                INSERT INTO refusals (principal, minute, count, operation, reason) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (principal, minute) DO UPDATE SET count = count + excluded.count, operation = excluded.operation, reason = excluded.reason
                """).BindAll(principal, minute, count, operation, reason).ExecuteOne();
        }

        return true;
    }

    /// <summary>Removes counts that are older than the history is kept; for the writer.</summary>
    public void RemoveOld(DateTimeOffset before) =>
        database.Prepare("DELETE FROM refusals WHERE minute < $1").BindAll(before.ToUnixTimeSeconds() / 60).Execute();
}
