using System.Security.Cryptography;

namespace Kmsd.Hosting;

/// <summary>
/// Random bytes for what stands in the open later, such as nonces and salts: drawn many at a time, since a draw costs more than
/// what is done with it. Keys are drawn each by itself.
/// </summary>
internal static class RandomPool
{
    private const int Drawn = 1024;

    [ThreadStatic]
    private static byte[]? s_bytes;

    [ThreadStatic]
    private static int s_left;

    /// <summary>Fills with bytes that nobody else is given.</summary>
    /// <param name="bytes">At most 1024.</param>
    public static void Take(Span<byte> bytes)
    {
        byte[] pool = s_bytes ??= new byte[Drawn];
        if (s_left < bytes.Length)
        {
            RandomNumberGenerator.Fill(pool);
            s_left = pool.Length;
        }

        Span<byte> taken = pool.AsSpan(s_left - bytes.Length, bytes.Length);
        taken.CopyTo(bytes);
        CryptographicOperations.ZeroMemory(taken);
        s_left -= bytes.Length;
    }
}
