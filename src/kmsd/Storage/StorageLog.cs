using Microsoft.Extensions.Logging;

namespace Kmsd.Storage;

internal static partial class StorageLog
{
    [LoggerMessage(1001, LogLevel.Error, "A commit of {Requests} requests failed, and they were refused: {Cause}")]
    public static partial void CommitFailed(ILogger log, int requests, string cause);

    [LoggerMessage(1004, LogLevel.Critical, "What the disk holds of the refused commit could not be overwritten yet: {Cause}")]
    public static partial void NotSuperseded(ILogger log, string cause);

    [LoggerMessage(1002, LogLevel.Warning, "Nothing was left to roll back (SQLite code {Code}).")]
    public static partial void NothingToRollBack(ILogger log, int code);

    [LoggerMessage(1007, LogLevel.Warning, "Uses could not be written beside the database ({Cause}); they go into it at once.")]
    public static partial void NotDeferred(ILogger log, string cause);

    [LoggerMessage(1006, LogLevel.Error, "The write-ahead log could not be brought into the database; it is tried again.")]
    public static partial void LogNotShortened(ILogger log, Exception exception);

    [LoggerMessage(1003, LogLevel.Critical, "The write-ahead log could not be emptied: destroyed material may still stand in it until it is.")]
    public static partial void LogNotEmptied(ILogger log, Exception exception);

    [LoggerMessage(1005, LogLevel.Warning, "Another process reads the database, so the write-ahead log can't be emptied: destroyed material stands in it until that process has ended its reading.")]
    public static partial void LogIsRead(ILogger log);
}
