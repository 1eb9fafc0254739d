using Kms.Client.Protocol;
using Kmsd.Hosting;

namespace Kmsd.RootKeys;

/// <summary>At start the token's random is mixed into the kernel's pool (random(4)); keys and nonces are drawn from there.</summary>
internal static class KernelRandom
{
    private const int BytesMixedIn = 64;

    /// <exception cref="StartupException">75: the token doesn't answer.</exception>
    public static async Task MixInAsync(RootKey root)
    {
        byte[] bytes = new byte[BytesMixedIn];
        try
        {
            await root.FillRandomAsync(bytes, CancellationToken.None);
        }
        catch (KmsException exception)
        {
            throw new StartupException(ExitCode.TokenAbsent, "The token gives no random bytes; it doesn't answer.", exception);
        }

        await File.WriteAllBytesAsync("/dev/urandom", bytes, CancellationToken.None);
    }
}
