using System.Security.Cryptography;
using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

/// <summary>An encoded message (RFC 8017, section 7.1.1), right or wrong in one chosen way.</summary>
internal static class OaepBlock
{
    public const int PaddingStart = 32;
    public const int BlockLength = 223;

    public static byte[] Make(ReadOnlySpan<byte> message, byte first = 0, Action<byte[]>? damage = null)
    {
        byte[] block = new byte[BlockLength];
        SHA256.HashData([]).CopyTo(block, 0);
        block[^(message.Length + 1)] = 1;
        message.CopyTo(block.AsSpan(BlockLength - message.Length));
        damage?.Invoke(block);

        byte[] seed = RandomNumberGenerator.GetBytes(32);
        Oaep.Mask(seed, block);
        Oaep.Mask(block, seed);
        return [first, .. seed, .. block];
    }
}
