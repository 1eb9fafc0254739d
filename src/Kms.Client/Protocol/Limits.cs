namespace Kms.Client.Protocol;

/// <summary>The limits of <c>docs/api.md</c>: the value at the limit works, one over fails.</summary>
public static class Limits
{
    /// <summary>The longest plaintext, in bytes.</summary>
    public const int PlaintextBytes = 32 * 1024;

    /// <summary>The longest plaintext that an RSA key seals, in bytes: 256 − 2 · 32 − 2 (RFC 8017, section 7.1.1).</summary>
    public const int RsaPlaintextBytes = 190;

    /// <summary>The longest message to sign or verify, in bytes; of a longer one, give the digest.</summary>
    public const int MessageBytes = 8 * 1024;

    /// <summary>The length of a SHA-256 digest, in bytes.</summary>
    public const int DigestBytes = 32;

    /// <summary>The most items of a batch; their plaintexts together are at most <see cref="PlaintextBytes"/>.</summary>
    public const int BatchItems = 1024;

    /// <summary>The longest context, in bytes.</summary>
    public const int ContextBytes = 1024;

    /// <summary>The longest memo, in characters (Unicode scalar values).</summary>
    public const int MemoCharacters = 100;

    /// <summary>The most bytes that one <c>crypto.random</c> gives.</summary>
    public const int RandomBytes = 1024;

    /// <summary>The longest page of <c>keys.list</c>.</summary>
    public const int KeysPage = 200;

    /// <summary>The longest page of <c>versions.list</c>.</summary>
    public const int VersionsPage = 200;

    /// <summary>The longest page of <c>history.list</c>, <c>history.export</c> and <c>deletedKeys.history</c>.</summary>
    public const int HistoryPage = 1000;

    /// <summary>The longest page of <c>notifications.list</c>.</summary>
    public const int NotificationsPage = 1000;

    /// <summary>The longest rotation period, in days.</summary>
    public const int RotationPeriodDays = 730;

    /// <summary>The rotation period, in days, over which a key carries a warning.</summary>
    public const int RotationPeriodDaysWarned = 365;

    /// <summary>The rotation period, in days, of a key that names none.</summary>
    public const int DefaultRotationPeriodDays = 90;
}
