using Microsoft.Extensions.Logging;

namespace Kmsd.Integrity;

internal static partial class IntegrityLog
{
    [LoggerMessage(8001, LogLevel.Error, "The token doesn't take the anchor of the database; no change is made until it does.")]
    public static partial void AnchorNotWritten(ILogger log, Exception exception);

    [LoggerMessage(8002, LogLevel.Warning, "The database is newer than the token's anchor (epoch {Database}, anchor {Anchor}): the token lost its last writes, as in a power cut. The anchor was written anew.")]
    public static partial void AnchorLostWrites(ILogger log, long database, long anchor);

    [LoggerMessage(8003, LogLevel.Warning, "The token holds an anchor of this database from now on.")]
    public static partial void AnchorMade(ILogger log);

    [LoggerMessage(8004, LogLevel.Warning, "[token] anchor = off: the anchor was removed. A database replaced as a whole by an older copy of itself isn't noticed.")]
    public static partial void AnchorRemoved(ILogger log);
}
