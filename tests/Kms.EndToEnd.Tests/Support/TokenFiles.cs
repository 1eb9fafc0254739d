using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>
/// Reads keys out of the files of a SoftHSM token, as anybody who holds the files and the PIN can, so that a test knows what the
/// daemon must keep to itself. The layout is that of SoftHSM 2 (<c>ObjectFile.cpp</c>, <c>SecureDataManager.cpp</c>, <c>RFC4880.cpp</c>).
/// </summary>
internal static class TokenFiles
{
    // PKCS #11 3.0, pkcs11t.h.
    private const ulong Label = 0x3;
    private const ulong Value = 0x11;

    private const int BooleanKind = 1;
    private const int NumberKind = 2;
    private const int BytesKind = 3;

    /// <summary>The values of the token's private secret keys, by their labels.</summary>
    public static Dictionary<string, byte[]> ReadSecretKeys(string folder, string pin)
    {
        string token = Directory.EnumerateFiles(folder, "token.object", SearchOption.AllDirectories).Single();
        byte[] tokenKey = ReadAttributes(token).Values.Select(sealedKey => OpenTokenKey(sealedKey, pin)).First(key => key is not null)!;
        Dictionary<string, byte[]> keys = [];
        foreach (string file in Directory.EnumerateFiles(Path.GetDirectoryName(token)!, "*.object").Where(file => file != token))
        {
            Dictionary<ulong, byte[]> attributes = ReadAttributes(file);
            if (attributes.TryGetValue(Value, out byte[]? value))
            {
                keys.Add(Encoding.UTF8.GetString(Decrypt(tokenKey, attributes[Label])!), Decrypt(tokenKey, value)!);
            }
        }

        return keys;
    }

    /// <summary>Those that are strings of bytes: after a generation number, each attribute is type, kind and value, in big-endian.</summary>
    private static Dictionary<ulong, byte[]> ReadAttributes(string path)
    {
        ReadOnlySpan<byte> file = File.ReadAllBytes(path).AsSpan(sizeof(ulong));
        Dictionary<ulong, byte[]> attributes = [];
        while (file.Length >= 2 * sizeof(ulong))
        {
            ulong type = BinaryPrimitives.ReadUInt64BigEndian(file);
            ulong kind = BinaryPrimitives.ReadUInt64BigEndian(file[sizeof(ulong)..]);
            file = file[(2 * sizeof(ulong))..];
            int length = kind switch
            {
                BooleanKind => 1,
                NumberKind => sizeof(ulong),
                _ => sizeof(ulong) + (int)BinaryPrimitives.ReadUInt64BigEndian(file),
            };
            if (kind == BytesKind)
            {
                attributes[type] = file[sizeof(ulong)..length].ToArray();
            }
            else if (kind is not (BooleanKind or NumberKind))
            {
                length = sizeof(ulong) + (kind == 4 ? (int)BinaryPrimitives.ReadUInt64BigEndian(file) : sizeof(ulong) * (int)BinaryPrimitives.ReadUInt64BigEndian(file));
            }

            file = file[length..];
        }

        return attributes;
    }

    /// <summary>Salt ‖ IV ‖ AES-256-CBC of "RJR" and the key, under a key derived from the PIN. Null if it is something else.</summary>
    private static byte[]? OpenTokenKey(byte[] sealedKey, string pin)
    {
        const int SaltLength = 8;
        const int LeastIterations = 1500;
        if (sealedKey.Length <= SaltLength)
        {
            return null;
        }

        byte[] salt = sealedKey[..SaltLength];
        byte[] derived = [.. salt, .. Encoding.UTF8.GetBytes(pin)];
        for (int left = LeastIterations + salt[^1]; left > 0; left--)
        {
            derived = SHA256.HashData(derived);
        }

        byte[]? opened = Decrypt(derived, sealedKey[SaltLength..]);
        return opened is [(byte)'R', (byte)'J', (byte)'R', ..] ? opened[3..] : null;
    }

    /// <summary>IV ‖ AES-256-CBC. Null if the padding is wrong.</summary>
    private static byte[]? Decrypt(byte[] key, byte[] text)
    {
        const int BlockLength = 16;
        if (text.Length <= BlockLength || text.Length % BlockLength != 0)
        {
            return null;
        }

        using var aes = Aes.Create();
        aes.Key = key;
        try
        {
            return aes.DecryptCbc(text.AsSpan(BlockLength), text.AsSpan(0, BlockLength));
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}
