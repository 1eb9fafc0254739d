using Kms.Client.Protocol;

namespace Kmsd.Keys;

/// <summary>Limits that the configuration sets, and checks of those that the wire contract fixes.</summary>
internal sealed partial record KeyLimits(int KeysPerStore, int GrantsPerKey, int MembersPerStore, int VersionsPerKey, int Stores)
{
    /// <summary>How many encryptions are reserved on the disk at a time, ahead of use.</summary>
    public const long EncryptionsReservedAtOnce = 1 << 20;

    /// <summary>After how many encryptions a version is worn: the key rotates by itself, at half of what is allowed.</summary>
    public static long WornAfter => MostEncryptions / 2;

    /// <summary>The most encryptions under one version; a build for tests can lower it.</summary>
    public static long MostEncryptions
    {
        get
        {
            long limit = Aes256Gcm96.MostEncryptions;
            LowerForTest(ref limit);
            return limit;
        }
    }

    /// <exception cref="KmsException"><c>tooLarge</c></exception>
    public static void CheckContext(byte[]? context) => Check(context?.Length ?? 0, Limits.ContextBytes, "context", "");

    /// <exception cref="KmsException"><c>tooLarge</c></exception>
    public static void CheckPlaintext(int length) => Check(length, Limits.PlaintextBytes, "plaintext", " Encrypt long data with a data key (crypto.createDataKey).");

    private static void Check(int length, int most, string what, string advice)
    {
        if (length > most)
        {
            throw new KmsException(
                KmsErrorCode.TooLarge, $"The {what} is longer than {most} bytes.{advice}");
        }
    }

    static partial void LowerForTest(ref long encryptions);
}
