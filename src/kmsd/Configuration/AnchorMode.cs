namespace Kmsd.Configuration;

/// <summary><c>[token] anchor</c>.</summary>
internal enum AnchorMode
{
    None = 0,

    /// <summary>The token remembers which state the database is in, and a start compares.</summary>
    Required = 1,

    /// <summary>It doesn't: for tokens without data objects. A database put back as a whole isn't noticed.</summary>
    Off = 2,
}
