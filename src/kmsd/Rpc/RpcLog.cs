using Kmsd.Access;
using Microsoft.Extensions.Logging;

namespace Kmsd.Rpc;

internal static partial class RpcLog
{
    [LoggerMessage(4001, LogLevel.Error, "Incident {Incident} in {Method}.")]
    public static partial void Incident(ILogger log, Exception exception, string incident, string method);

    [LoggerMessage(4002, LogLevel.Warning, "A connection of {Caller} was refused: too many connections, {Limit}.")]
    public static partial void ConnectionRefused(ILogger log, Caller caller, string limit);

    [LoggerMessage(4003, LogLevel.Debug, "A connection of {Caller} ended with a fault.")]
    public static partial void ConnectionFaulted(ILogger log, Exception exception, Caller caller);

    [LoggerMessage(4004, LogLevel.Warning, "A connection was lost before it was accepted.")]
    public static partial void AcceptFailed(ILogger log, Exception exception);

    [LoggerMessage(4005, LogLevel.Information, "Serving on {Socket}.")]
    public static partial void Serving(ILogger log, string socket);

    [LoggerMessage(4006, LogLevel.Information, "Stopping.")]
    public static partial void Stopping(ILogger log);
}
