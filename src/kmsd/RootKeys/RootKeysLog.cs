using Microsoft.Extensions.Logging;

namespace Kmsd.RootKeys;

internal static partial class RootKeysLog
{
    [LoggerMessage(2001, LogLevel.Error, "The token doesn't answer; callers are refused until it does.")]
    public static partial void TokenAway(ILogger log, Exception exception);
}
