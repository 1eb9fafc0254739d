using Kms.Client.Protocol;

namespace Kmsd.Keys;

/// <summary>Refusals that must read the same wherever they are born.</summary>
internal static class Refusals
{
    private const string RecordedMark = "kmsd.recorded";

    public static KmsException NoSuchKey() => OfKey(KmsErrorCode.NotFound, "There is no such key.");

    /// <summary>Of a key that the caller may look at: clients say where.</summary>
    public static KmsException OfKey(KmsErrorCode code, string message) => new(code, message) { Subject = KmsException.OfKey };

    /// <param name="asked">As it was asked for, so that one who may not know of the store hears what he would hear if there were none.</param>
    public static KmsException NoSuchStore(string asked) => new(
        KmsErrorCode.NotFound, ResourceName.IsValid(asked) ? $"There is no key store '{asked}'." : "There is no such key store.");

    /// <summary>Marks a refusal that stands in the history already, as what was carried out and said no.</summary>
    public static KmsException Recorded(KmsException refusal)
    {
        refusal.Data[RecordedMark] = true;
        return refusal;
    }

    public static bool IsRecorded(KmsException refusal) => refusal.Data.Contains(RecordedMark);

    /// <summary>One answer for all causes: altered, malformed, another key, another version, another context.</summary>
    public static KmsException DoesNotAuthenticate() => new(
        KmsErrorCode.InvalidCiphertext, "This ciphertext doesn't authenticate: it was altered, or belongs to another key or context.");

    public static KmsException IsNoPair() => new(
        KmsErrorCode.IntegrityFailure, "The key's stored public key doesn't belong to its private key.");
}
