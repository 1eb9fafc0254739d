using Kms.Client.Protocol;

namespace Kmsd.Keys;

/// <summary>Why somebody did something that can't be undone, as it is kept in the history.</summary>
internal static class Reason
{
    private const int MostCharacters = 100;

    /// <exception cref="KmsException"><c>invalidParams</c>.</exception>
    public static string Check(string reason) => reason.Length <= MostCharacters && !string.IsNullOrWhiteSpace(reason) && !reason.Any(char.IsControl)
        ? reason
        : throw new KmsException(KmsErrorCode.InvalidParams, $"A reason is 1 to {MostCharacters} characters, not spaces alone, without control characters.");
}
