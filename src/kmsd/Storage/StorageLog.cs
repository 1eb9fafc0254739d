using Microsoft.Extensions.Logging;

namespace Kmsd.Storage;

internal static partial class StorageLog
{
    [LoggerMessage(1001, LogLevel.Error, "A commit of {Requests} requests failed; they were refused.")]
    public static partial void CommitFailed(ILogger log, Exception exception, int requests);

    [LoggerMessage(1002, LogLevel.Warning, "Nothing was left to roll back (SQLite code {Code}).")]
    public static partial void NothingToRollBack(ILogger log, int code);
}
