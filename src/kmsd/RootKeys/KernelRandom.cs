namespace Kmsd.RootKeys;

/// <summary>At start the token's random is mixed into the kernel's pool (random(4)); keys and nonces are drawn from there.</summary>
internal static class KernelRandom
{
    private const int BytesMixedIn = 64;

    public static async Task MixInAsync(RootKey root)
    {
        byte[] bytes = new byte[BytesMixedIn];
        await root.FillRandomAsync(bytes, CancellationToken.None);
        await File.WriteAllBytesAsync("/dev/urandom", bytes, CancellationToken.None);
    }
}
