using System.Globalization;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.Json;
using Kms.Client.Protocol;
using Microsoft.Extensions.Logging;
using StreamJsonRpc.Protocol;

namespace Kmsd.Rpc;

/// <summary>The only place where an exception becomes an answer. Nothing internal crosses the socket.</summary>
internal static class RpcError
{
    public static JsonRpcError.ErrorDetail From(Exception exception, string? method, ILogger log)
    {
        switch (exception)
        {
            case KmsException refusal:
                return Make(refusal);
            case OperationCanceledException:
                return Make(KmsErrorCode.Cancelled, "The request was cancelled.");
            case IOException or SocketException or ObjectDisposedException:
                // The client hung up while it was answered; no fault of ours, and nobody is left to read this.
                return Make(KmsErrorCode.Internal, "The connection ended.");
            case JsonException json:
                return Make(KmsErrorCode.InvalidParams, DescribeParams(json));
            default:
                string incident = RandomNumberGenerator.GetHexString(12, lowercase: true);
                RpcLog.Incident(log, exception, incident, method ?? "(none)");
                return new JsonRpcError.ErrorDetail
                {
                    Code = (JsonRpcErrorCode)KmsErrorCode.Internal,
                    Message = $"Internal error; the journal explains it under incident {incident}.",
                    Data = new ErrorDetail { Reason = KmsErrorCode.Internal.ToReason(), Incident = incident },
                };
        }
    }

    public static JsonRpcError.ErrorDetail Make(KmsErrorCode code, string message) => Make(new KmsException(code, message));

    private static JsonRpcError.ErrorDetail Make(KmsException refusal) => new()
    {
        Code = (JsonRpcErrorCode)refusal.Code,
        Message = refusal.Message,
        Data = ErrorDetail.Of(refusal),
    };

    /// <summary>Replaces an error that the library made: its text names types of this program.</summary>
    public static JsonRpcError.ErrorDetail Rewrite(JsonRpcError.ErrorDetail? error) => (KmsErrorCode)(error?.Code ?? 0) switch
    {
        KmsErrorCode.Cancelled => Make(KmsErrorCode.Cancelled, "The request was cancelled."),
        KmsErrorCode.MethodNotFound => Make(KmsErrorCode.MethodNotFound, "There is no such method; see rpc.discover."),
        KmsErrorCode.InvalidParams => Make(KmsErrorCode.InvalidParams, DescribeParams(null)),
        KmsErrorCode.InvalidRequest => Make(KmsErrorCode.InvalidRequest, "This is not a valid request."),
        _ => Make(KmsErrorCode.Internal, "Internal error."),
    };

    private static string DescribeParams(JsonException? exception)
    {
        const string Sentence = "The params don't fit the method: a member is missing, unknown, repeated, null or of the wrong form";

        // The path holds only names that the client itself has sent.
        return exception?.Path is { Length: > 1 } path
            ? string.Create(CultureInfo.InvariantCulture, $"{Sentence}, at {path}.")
            : Sentence + ".";
    }
}
