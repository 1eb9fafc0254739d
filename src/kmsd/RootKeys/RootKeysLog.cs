using Microsoft.Extensions.Logging;

namespace Kmsd.RootKeys;

internal static partial class RootKeysLog
{
    [LoggerMessage(2001, LogLevel.Error, "The token doesn't answer; callers are refused until it does.")]
    public static partial void TokenAway(ILogger log, Exception exception);

    [LoggerMessage(2002, LogLevel.Warning, "The token holds keys of root generations that this database doesn't need: {Generations}. They stay for the database that was set aside by a restore, and for backups made under them; kmsctl root retire destroys them.")]
    public static partial void GenerationsLeft(ILogger log, string generations);
}
