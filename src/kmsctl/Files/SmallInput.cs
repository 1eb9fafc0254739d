using System.Security.Cryptography;
using System.Text;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Files;

/// <summary>A value that is read whole: into pinned memory that is zeroed, and never further than its limit.</summary>
internal static class SmallInput
{
    private const int LongestCiphertext = 64 * 1024;

    /// <exception cref="CommandException">It can't be opened, or is longer than <paramref name="most"/>.</exception>
    public static async Task<SensitiveBytes> ReadAsync(string path, int most, CancellationToken cancellationToken)
    {
        await using Stream input = InputFile.Open(path);
        byte[] buffer = GC.AllocateArray<byte>(most + 1, pinned: true);
        try
        {
            int length = await input.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken);
            return length <= most
                ? new SensitiveBytes(buffer.AsSpan(0, length))
                : throw new CommandException(
                    ExitCode.Refused + (int)KmsErrorCode.TooLarge,
                    $"The input is longer than {most} bytes; for more, use 'kmsctl file encrypt'.");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(buffer);
        }
    }

    /// <exception cref="CommandException">It can't be opened, or is too long for a ciphertext.</exception>
    public static async Task<string> ReadLineAsync(string path, CancellationToken cancellationToken)
    {
        using SensitiveBytes bytes = await ReadAsync(path, LongestCiphertext, cancellationToken);
        return Encoding.UTF8.GetString(bytes.AsSpan()).Trim();
    }
}
