using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using Kms.Client.Protocol;

namespace Kms.Client.SealedFiles;

/// <summary>The first 512 bytes of a sealed file (<c>docs/sealed-file.md</c>): what the body authenticates, then the slot.</summary>
public sealed class SealedFileHeader
{
    /// <summary>The length of header and slot together: where the body starts.</summary>
    public const int LengthInBytes = AuthenticatedBytes + SlotBytes;

    /// <summary>The length of the file id.</summary>
    public const int FileIdBytes = 32;

    /// <summary>The length of the part that the body authenticates.</summary>
    internal const int AuthenticatedBytes = 64;

    /// <summary>The length of the slot for the sealed data key, which the body doesn't authenticate.</summary>
    internal const int SlotBytes = 448;

    internal const int FormatVersion = 1;
    internal const int ChunkBits = 16;

    private const int LongestSealedKey = SlotBytes - sizeof(ushort);
    private const byte Aes256GcmStream = 1;
    private const int TagAt = 16;
    private const int FileIdAt = 32;

    private readonly byte[] _fileId;

    internal SealedFileHeader(KeyTag key, ReadOnlySpan<byte> fileId, string sealedDataKey)
    {
        if (fileId.Length != FileIdBytes)
        {
            throw new ArgumentException("A file id is 32 bytes long.", nameof(fileId));
        }

        Key = key;
        _fileId = fileId.ToArray();
        SealedDataKey = IsSealedKey(sealedDataKey, out long version)
            ? sealedDataKey
            : throw new ArgumentException("This doesn't fit the slot of a sealed file.", nameof(sealedDataKey));
        KeyVersion = version;
    }

    private static ReadOnlySpan<byte> Magic => "KMSFILE\0"u8;

    /// <summary>The key under which the data key is sealed.</summary>
    public KeyTag Key { get; }

    /// <summary>The file's own random number, given to the daemon as context of the data key.</summary>
    public ReadOnlyMemory<byte> FileId => _fileId;

    /// <summary>The sealed data key, as the daemon gave it.</summary>
    public string SealedDataKey { get; }

    /// <summary>The version of the key that sealed the data key.</summary>
    public long KeyVersion { get; }

    /// <summary>The part that the body authenticates.</summary>
    internal byte[] ToAuthenticatedBytes()
    {
        byte[] bytes = new byte[AuthenticatedBytes];
        Magic.CopyTo(bytes);
        bytes[8] = FormatVersion;
        bytes[9] = Aes256GcmStream;
        bytes[10] = ChunkBits;
        Key.ToBytes().CopyTo(bytes, TagAt);
        _fileId.CopyTo(bytes, FileIdAt);
        return bytes;
    }

    /// <summary>The slot: the length of the sealed data key, the key, zeros.</summary>
    internal byte[] ToSlotBytes()
    {
        byte[] bytes = new byte[SlotBytes];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)SealedDataKey.Length);
        _ = Encoding.ASCII.GetBytes(SealedDataKey, bytes.AsSpan(sizeof(ushort)));
        return bytes;
    }

    /// <exception cref="SealedFileException">The bytes aren't the start of a sealed file of this format.</exception>
    internal static SealedFileHeader Parse(ReadOnlySpan<byte> bytes)
    {
        if (!bytes.StartsWith(Magic))
        {
            throw new SealedFileException(SealedFileFault.NotSealed, "This is not a sealed file.");
        }

        if (bytes.Length < LengthInBytes)
        {
            throw Damaged();
        }

        if (bytes[8] != FormatVersion || bytes[9] != Aes256GcmStream || bytes[10] != ChunkBits
            || bytes[11..TagAt].ContainsAnyExcept((byte)0))
        {
            throw new SealedFileException(
                SealedFileFault.UnknownFormat, "This sealed file is damaged, or of a format that this version doesn't know; try a newer one.");
        }

        ReadOnlySpan<byte> slot = bytes[AuthenticatedBytes..LengthInBytes];
        int length = BinaryPrimitives.ReadUInt16BigEndian(slot);
        if (length > LongestSealedKey || slot[(sizeof(ushort) + length)..].ContainsAnyExcept((byte)0))
        {
            throw Damaged();
        }

        string sealedKey = Encoding.Latin1.GetString(slot.Slice(sizeof(ushort), length));
        return IsSealedKey(sealedKey, out _)
            ? new SealedFileHeader(KeyTag.FromBytes(bytes[TagAt..FileIdAt]), bytes[FileIdAt..AuthenticatedBytes], sealedKey)
            : throw Damaged();
    }

    /// <summary><c>kms:v{version}:{base64}</c></summary>
    private static bool IsSealedKey([NotNullWhen(true)] string? text, out long version)
    {
        version = 0;
        const string Prefix = "kms:v";
        return text is { Length: <= LongestSealedKey } && text.StartsWith(Prefix, StringComparison.Ordinal)
            && text.IndexOf(':', Prefix.Length) is int colon and > 0
            && long.TryParse(text.AsSpan(Prefix.Length..colon), NumberStyles.None, CultureInfo.InvariantCulture, out version)
            && text[Prefix.Length] != '0'
            && !text.AsSpan(colon + 1).ContainsAnyExcept(s_base64);
    }

    private static readonly System.Buffers.SearchValues<char> s_base64 =
        System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");

    private static SealedFileException Damaged() => new(SealedFileFault.Damaged, "The start of this sealed file is damaged.");
}
