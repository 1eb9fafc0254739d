using Kms.Client.Protocol;
using Microsoft.Extensions.Logging;

namespace Kmsd.Keys;

internal static partial class KeysLog
{
    [LoggerMessage(3001, LogLevel.Critical, "What is stored of key {Tag} doesn't match its authentication code; it isn't served.")]
    public static partial void KeyQuarantined(ILogger log, KeyTag tag);

    [LoggerMessage(3002, LogLevel.Critical, "What is stored of key store {Store} doesn't match its authentication code; it isn't served.")]
    public static partial void StoreQuarantined(ILogger log, StoreId store);

    [LoggerMessage(3004, LogLevel.Critical, "The counters don't add up to what was written last: an older row was put in the place of one. The database was changed from outside.")]
    public static partial void CountersDoNotAddUp(ILogger log);

    [LoggerMessage(3003, LogLevel.Critical, "A row of {Table} belongs to nothing; it is ignored. The database was changed from outside.")]
    public static partial void Orphan(ILogger log, string table);

    [LoggerMessage(3005, LogLevel.Critical, "What remains of deleted key {Tag} doesn't match its authentication code; it isn't listed. The database was changed from outside.")]
    public static partial void RemainsChanged(ILogger log, string tag);
}
