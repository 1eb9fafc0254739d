namespace Kms.Hsm;

/// <summary>What is wrong with a token.</summary>
public enum TokenFault
{
    /// <summary>Not a fault; never thrown.</summary>
    None = 0,

    /// <summary>The module's file isn't there.</summary>
    ModuleMissing,

    /// <summary>The file is no PKCS#11 module, or the module doesn't start.</summary>
    ModuleUnusable,

    /// <summary>No token has the label or serial.</summary>
    TokenAbsent,

    /// <summary>More than one token has the label or serial.</summary>
    TokenAmbiguous,

    /// <summary>The PIN is wrong. It was tried once and must not be tried again.</summary>
    PinRefused,

    /// <summary>The PIN is locked or has expired.</summary>
    PinLocked,

    /// <summary>A key of the root generation isn't in the token.</summary>
    RootKeyMissing,

    /// <summary>A key of that name is there, but it isn't the one the database was made with.</summary>
    RootKeyMismatch,

    /// <summary>More than one object has a root key's label and id.</summary>
    RootKeyAmbiguous,

    /// <summary>The token lacks a mechanism, or doesn't do it right.</summary>
    Unsupported,

    /// <summary>The token doesn't answer, was removed, or has no session free in time.</summary>
    Unavailable,
}

/// <summary>A fault of the token, in a sentence for the person who runs it.</summary>
/// <param name="fault">What is wrong.</param>
/// <param name="message">The sentence.</param>
/// <param name="inner">The call that failed, where it was one.</param>
public sealed class TokenException(TokenFault fault, string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>What is wrong.</summary>
    public TokenFault Fault { get; } = fault;
}

/// <summary>A blob doesn't authenticate: altered, of another root key, or opened with other additional data.</summary>
/// <param name="inner">The call that failed, where it was one.</param>
public sealed class SealedBlobException(Exception? inner = null)
    : Exception("The sealed material doesn't authenticate.", inner);

/// <summary>A PKCS#11 function returned something else than CKR_OK.</summary>
/// <param name="function">Such as <c>C_Login</c>.</param>
/// <param name="returnValue">The CK_RV.</param>
/// <param name="returnName">Its name in the specification, or its number in hexadecimal where it has none.</param>
public sealed class Pkcs11Exception(string function, ulong returnValue, string returnName)
    : Exception($"{function} returned {returnName}.")
{
    /// <summary>The function, such as <c>C_Login</c>.</summary>
    public string Function { get; } = function;

    /// <summary>The CK_RV.</summary>
    public ulong ReturnValue { get; } = returnValue;

    /// <summary>The name of the CK_RV.</summary>
    public string ReturnName { get; } = returnName;
}
