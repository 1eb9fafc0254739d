namespace Kms.Client.Transport;

/// <summary>The connection ended before the answer came. Never leaves the library.</summary>
internal sealed class ConnectionLostException(bool sent, Exception? innerException)
    : Exception("The connection ended before the answer came.", innerException)
{
    /// <summary>Whether the daemon may have the request.</summary>
    public bool Sent => sent;
}
