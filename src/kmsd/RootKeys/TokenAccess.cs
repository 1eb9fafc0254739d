using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.Hosting;

namespace Kmsd.RootKeys;

/// <summary>Opens the configured token with the PIN of a file; every failure is a sentence and an exit code.</summary>
internal static class TokenAccess
{
    /// <summary>The labels under which the mac key derives the keys of the database.</summary>
    public const string RowsKeyLabel = "kmsd/v1/rows";
    public const string HistoryKeyLabel = "kmsd/v1/history";

    // PKCS#11 gives no bound; no token takes more.
    private const int LongestPinInBytes = 256;

    /// <exception cref="StartupException">75, 77 or 78.</exception>
    public static Token Open(string module, TokenSelector selector, string pinFile, TokenOptions options)
    {
        using SecretBytes pin = ReadPin(pinFile);
        return Try(() => Token.Open(module, selector, pin, options));
    }

    /// <summary>Runs a step of start-up and turns what the token says into an exit.</summary>
    public static T Try<T>(Func<T> step)
    {
        try
        {
            return step();
        }
        catch (TokenException exception)
        {
            throw TokenFaults.ToStartupException(exception);
        }
    }

    /// <summary>The PIN is the file's content without one LF at its end.</summary>
    private static SecretBytes ReadPin(string path)
    {
        byte[] buffer = GC.AllocateArray<byte>(LongestPinInBytes + 2, pinned: true);
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            int length = file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            if (length > 0 && buffer[length - 1] == (byte)'\n')
            {
                length--;
            }

            if (length > 0 && buffer[length - 1] is (byte)'\n' or (byte)'\r' or (byte)' ' or (byte)'\t')
            {
                // A PIN that is surely wrong must not cost one of the few tries that a token gives.
                throw new StartupException(
                    ExitCode.Configuration, $"The PIN file {path} ends in white space behind the PIN; only one line feed may be there.");
            }

            return length is > 0 and <= LongestPinInBytes
                ? new SecretBytes(buffer.AsSpan(0, length))
                : throw new StartupException(
                    ExitCode.Configuration, $"The PIN file {path} must hold the PIN alone, 1 to {LongestPinInBytes} bytes.");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(ExitCode.Configuration, $"The PIN file can't be read: {exception.Message}", exception);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(buffer);
        }
    }
}
