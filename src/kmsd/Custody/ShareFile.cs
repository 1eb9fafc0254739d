using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Kms.Hsm;
using Kmsd.Hosting;
using Microsoft.Win32.SafeHandles;

namespace Kmsd.Custody;

/// <summary>
/// A share in a file, under its custodian's passphrase: a few lines that say what it is, an empty one, and the words, encrypted
/// (PBKDF2-HMAC-SHA-256, AES-256-GCM with the lines as additional data) in base64. See docs/share-file.md.
/// </summary>
internal static class ShareFile
{
    public const int LeastRounds = 600_000;
    public const int LeastPassphrase = 12;

    private const int MostRounds = 100_000_000;
    private const int LongestFile = 4096;
    private const int SaltLength = 16;
    private const int NonceLength = 12;
    private const int TagLength = 16;
    private const int KeyLength = 32;

    // As long as the longest share of a root key: how long its words are is nobody's business.
    private const int TextLength = 300;
    private const uint OwnerOnly = 0b110_000_000;
    private const string Magic = "kms-share 1";

    /// <summary>Makes the file, which must not be there; it is on the disk when this returns.</summary>
    /// <param name="path">Absolute.</param>
    /// <param name="share">Stays the caller's.</param>
    /// <param name="passphrase">Stays the caller's.</param>
    /// <exception cref="ShareException">It can't be made.</exception>
    public static void Write(string path, Slip39Share share, ReadOnlySpan<byte> passphrase)
    {
        byte[] content = Encrypt(share, passphrase, LeastRounds);
        int descriptor = Libc.Open(path, Libc.WriteNew, OwnerOnly);
        if (descriptor < 0)
        {
            throw new ShareException($"{path} can't be made: {Marshal.GetLastPInvokeErrorMessage()}.");
        }

        try
        {
            using (SafeFileHandle handle = new(descriptor, ownsHandle: true))
            {
                RandomAccess.Write(handle, content, 0);
                RandomAccess.FlushToDisk(handle);
            }

            Durable.SyncDirectory(Path.GetDirectoryName(path)!);
        }
        catch (IOException exception)
        {
            Remove(path);
            throw new ShareException($"{path} can't be written: {exception.Message}");
        }
    }

    /// <summary>Reads the share; the caller owns it.</summary>
    /// <exception cref="ShareException">It isn't there, is no share, or doesn't open with this passphrase.</exception>
    public static Slip39Share Read(string path, ReadOnlySpan<byte> passphrase)
    {
        byte[] buffer = new byte[LongestFile + 1];
        int length;
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            length = file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ShareException($"{path} can't be read: {exception.Message}");
        }

        return Decrypt(buffer.AsSpan(0, length), passphrase, path);
    }

    public static void Remove(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ShareException($"{path} can't be removed: {exception.Message}. Remove it by hand.");
        }
    }

    /// <summary>On which filesystem a folder is.</summary>
    /// <exception cref="ShareException">It isn't there.</exception>
    public static (uint Major, uint Minor) DeviceOf(string folder) =>
        Libc.GetDevice(Libc.CurrentDirectory, folder, 0, Libc.BasicStatus, out Libc.FileDevice device) == 0
            ? (device.Major, device.Minor)
            : throw new ShareException($"{folder}: {Marshal.GetLastPInvokeErrorMessage()}.");

    internal static byte[] Encrypt(Slip39Share share, ReadOnlySpan<byte> passphrase, int rounds)
    {
        byte[] salt = RandomNumberGenerator.GetBytes(SaltLength);
        byte[] nonce = RandomNumberGenerator.GetBytes(NonceLength);
        ShareHeader header = share.Header;
        byte[] lines = Lines(header.SetName, header.MemberIndex + 1, header.MemberThreshold, rounds, salt, nonce);
        byte[] sealedText = new byte[TextLength + TagLength];
        using SecretBytes text = share.ToText();
        using SecretBytes padded = new(TextLength, room =>
        {
            room.Fill((byte)' ');
            using SecretLease words = text.Open();
            words.Bytes.CopyTo(room);
        });
        using SecretBytes key = Derive(passphrase, salt, rounds);
        using SecretLease keyLease = key.Open();
        using SecretLease textLease = padded.Open();
        using AesGcm aes = new(keyLease.Bytes, TagLength);
        aes.Encrypt(nonce, textLease.Bytes, sealedText.AsSpan(0, TextLength), sealedText.AsSpan(TextLength), lines);
        return [.. lines, .. Encoding.ASCII.GetBytes(Convert.ToBase64String(sealedText)), (byte)'\n'];
    }

    internal static Slip39Share Decrypt(ReadOnlySpan<byte> content, ReadOnlySpan<byte> passphrase, string name)
    {
        int end = content.IndexOf("\n\n"u8);
        if (end < 0 || content.Length > LongestFile || !content.StartsWith("kms-share "u8))
        {
            throw new ShareException($"{name} is no share of a root key.");
        }

        ReadOnlySpan<byte> lines = content[..(end + 2)];
        (int rounds, byte[] salt, byte[] nonce) = ReadLines(lines, name);
        byte[] sealedText = new byte[TextLength + TagLength];
        if (System.Buffers.Text.Base64.DecodeFromUtf8(content[(end + 2)..].TrimEnd((byte)'\n'), sealedText, out _, out int length) != System.Buffers.OperationStatus.Done
            || length != sealedText.Length)
        {
            throw new ShareException($"{name} isn't whole: it was cut or altered.");
        }

        using SecretBytes key = Derive(passphrase, salt, rounds);
        using SecretBytes text = Open(key, nonce, sealedText, lines.ToArray(), name);
        using SecretLease words = text.Open();
        return Slip39Share.Parse(words.Bytes);
    }

    private static SecretBytes Open(SecretBytes key, byte[] nonce, byte[] sealedText, byte[] lines, string name)
    {
        try
        {
            return new SecretBytes(TextLength, room =>
            {
                using SecretLease lease = key.Open();
                using AesGcm aes = new(lease.Bytes, TagLength);
                aes.Decrypt(nonce, sealedText.AsSpan(0, TextLength), sealedText.AsSpan(TextLength), room, lines);
            });
        }
        catch (AuthenticationTagMismatchException)
        {
            throw new ShareException($"{name} doesn't open: the passphrase is wrong, or the file was altered.") { MayBePassphrase = true };
        }
    }

    private static byte[] Lines(string set, int member, int threshold, int rounds, byte[] salt, byte[] nonce) => Encoding.ASCII.GetBytes(string.Create(
        CultureInfo.InvariantCulture,
        $"{Magic}\nset {set}\nshare {member}\nneeded {threshold}\npbkdf2-hmac-sha256 {rounds} {Convert.ToHexStringLower(salt)}\naes-256-gcm {Convert.ToHexStringLower(nonce)}\n\n"));

    /// <summary>Strict: what is read must be what would be written.</summary>
    private static (int Rounds, byte[] Salt, byte[] Nonce) ReadLines(ReadOnlySpan<byte> lines, string name)
    {
        string[] fields = Encoding.ASCII.GetString(lines).Split([' ', '\n']);
        try
        {
            if (fields is ["kms-share", _, "set", string set, "share", string member, "needed", string threshold,
                "pbkdf2-hmac-sha256", string rounds, string salt, "aes-256-gcm", string nonce, "", ""])
            {
                (int count, byte[] saltBytes, byte[] nonceBytes) = (Number(rounds), Convert.FromHexString(salt), Convert.FromHexString(nonce));
                if (count is >= LeastRounds and <= MostRounds && saltBytes.Length == SaltLength && nonceBytes.Length == NonceLength
                    && lines.SequenceEqual(Lines(set, Number(member), Number(threshold), count, saltBytes, nonceBytes)))
                {
                    return (count, saltBytes, nonceBytes);
                }
            }
        }
        catch (Exception exception) when (exception is FormatException or OverflowException)
        {
            throw new ShareException($"{name} is no share that this version reads.");
        }

        throw new ShareException($"{name} is no share that this version reads.");
    }

    private static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);

    private static SecretBytes Derive(ReadOnlySpan<byte> passphrase, byte[] salt, int rounds)
    {
        byte[] copy = GC.AllocateUninitializedArray<byte>(passphrase.Length, pinned: true);
        passphrase.CopyTo(copy);
        try
        {
            return new SecretBytes(KeyLength, key => Rfc2898DeriveBytes.Pbkdf2(copy, salt, key, rounds, HashAlgorithmName.SHA256));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(copy);
        }
    }
}
