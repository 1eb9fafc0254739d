namespace Kmsd.Hosting;

/// <summary>The exit codes of <c>kmsd</c>, after <c>sysexits.h</c>.</summary>
internal static class ExitCode
{
    public const int Success = 0;
    public const int Usage = 64;
    public const int DataDoesNotVerify = 65;
    public const int Internal = 70;
    public const int CannotCreate = 73;
    public const int TokenAbsent = 75;
    public const int PinRefused = 77;
    public const int Configuration = 78;
}

/// <summary>The daemon can't start, or a command can't run: one sentence for the operator and the exit code.</summary>
internal sealed class StartupException : Exception
{
    /// <summary>What a sentence about a damaged or changed database ends with.</summary>
    public const string RestoreBackup = "Restore it from a backup: kmsd restore FILE (kmsctl backup puts them into 'backups' beside the database).";

    public StartupException(int exitCode, string message)
        : base(message) => ExitCode = exitCode;

    public StartupException(int exitCode, string message, Exception innerException)
        : base(message, innerException) => ExitCode = exitCode;

    public int ExitCode { get; }
}
