namespace Kms.Client.Protocol;

/// <summary>
/// Every reason for which a request can fail, with its number on the wire (<c>docs/api.md</c>, "Errors"). Numbers are never reused.
/// </summary>
public enum KmsErrorCode
{
    /// <summary>No error.</summary>
    None = 0,

    /// <summary>No such thing, or none that this caller may know of.</summary>
    NotFound = 1,

    /// <summary>The caller's roles don't allow it.</summary>
    Forbidden = 2,

    /// <summary>The key's or version's state forbids it; the message says which state it is in.</summary>
    InvalidState = 3,

    /// <summary>A name in use.</summary>
    AlreadyExists = 4,

    /// <summary>Over a stated limit; the message gives it.</summary>
    TooLarge = 5,

    /// <summary>Doesn't authenticate: altered, another key, another context.</summary>
    InvalidCiphertext = 6,

    /// <summary>The key's name must be given to confirm.</summary>
    ConfirmationRequired = 7,

    /// <summary>The caller's rate, a count limit, or too many connections.</summary>
    LimitExceeded = 8,

    /// <summary>The token is away or refused; the daemon keeps trying.</summary>
    TokenUnavailable = 9,

    /// <summary>The change or its record could not be written; nothing was changed.</summary>
    StorageUnavailable = 10,

    /// <summary>Stored data doesn't match its authentication code or the token's anchor.</summary>
    IntegrityFailure = 11,

    /// <summary>The key's type, the kernel or the token doesn't offer this.</summary>
    Unsupported = 12,

    /// <summary>The line isn't JSON (JSON-RPC 2.0).</summary>
    ParseError = -32700,

    /// <summary>The line isn't a request (JSON-RPC 2.0).</summary>
    InvalidRequest = -32600,

    /// <summary>No such method (JSON-RPC 2.0).</summary>
    MethodNotFound = -32601,

    /// <summary>Members missing, unknown, repeated, of the wrong type or out of range (JSON-RPC 2.0).</summary>
    InvalidParams = -32602,

    /// <summary>An unexpected failure, with an incident id that the journal explains (JSON-RPC 2.0).</summary>
    Internal = -32603,

    /// <summary>The request was cancelled (JSON-RPC, as the language server protocol numbers it).</summary>
    Cancelled = -32800,
}

/// <summary>The <c>data.reason</c> names of <see cref="KmsErrorCode"/>; clients branch on them.</summary>
public static class KmsErrorReasons
{
    private static readonly WireNames<KmsErrorCode> s_names = new(
        (KmsErrorCode.NotFound, "notFound"), (KmsErrorCode.Forbidden, "forbidden"), (KmsErrorCode.InvalidState, "invalidState"),
        (KmsErrorCode.AlreadyExists, "alreadyExists"), (KmsErrorCode.TooLarge, "tooLarge"),
        (KmsErrorCode.InvalidCiphertext, "invalidCiphertext"), (KmsErrorCode.ConfirmationRequired, "confirmationRequired"),
        (KmsErrorCode.LimitExceeded, "limitExceeded"), (KmsErrorCode.TokenUnavailable, "tokenUnavailable"),
        (KmsErrorCode.StorageUnavailable, "storageUnavailable"), (KmsErrorCode.IntegrityFailure, "integrityFailure"),
        (KmsErrorCode.Unsupported, "unsupported"), (KmsErrorCode.ParseError, "parseError"),
        (KmsErrorCode.InvalidRequest, "invalidRequest"), (KmsErrorCode.MethodNotFound, "methodNotFound"),
        (KmsErrorCode.InvalidParams, "invalidParams"), (KmsErrorCode.Internal, "internal"), (KmsErrorCode.Cancelled, "cancelled"));

    /// <summary>The reason's name.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><see cref="KmsErrorCode.None"/> and unknown numbers have none.</exception>
    public static string ToReason(this KmsErrorCode code) => s_names[code];

    /// <summary>Reads a reason; true if it is known.</summary>
    public static bool TryParse(string? reason, out KmsErrorCode code) => s_names.TryParse(reason, out code);
}
