namespace Kms.Client.Transport;

/// <summary>Where the daemon's socket is when the caller doesn't say.</summary>
internal static class ServiceAddress
{
    public const string Default = "/run/kmsd/kmsd.sock";
    public const string Variable = "KMSD_SOCKET";

    /// <summary>
    /// The path to connect to. A program that runs with more rights than its caller (getauxval(3), AT_SECURE) mustn't let the
    /// caller's environment choose the server.
    /// </summary>
    public static string Choose(string? given) => Choose(
        given, Environment.GetEnvironmentVariable(Variable), Libc.GetAuxiliaryValue(Libc.AtSecure) != 0);

    public static string Choose(string? given, string? environment, bool secure) =>
        !string.IsNullOrEmpty(given) ? given
        : !secure && !string.IsNullOrEmpty(environment) ? environment
        : Default;
}
