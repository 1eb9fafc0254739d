namespace Kmsctl.Commands;

/// <summary>What the status says of the database, where it decides how a command ends.</summary>
internal static class DatabaseState
{
    /// <summary>The daemon has found that it was changed from outside.</summary>
    public const string IntegrityFailure = "integrityFailure";
}
