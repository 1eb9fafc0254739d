using System.Security.Cryptography;
using Kms.Hsm;

namespace Kmsd.Storage;

/// <summary>
/// Makes and checks row codes: HMAC-SHA-256 (RFC 2104) under a key that the token derives at each start, over the row's
/// canonical encoding, the instance id and the generation of the key. Not for several threads at once.
/// </summary>
internal sealed class RowAuthenticator(SecretBytes key, byte[] instanceId, long generation)
{
    /// <summary>The length of a code in bytes.</summary>
    public const int CodeLength = HMACSHA256.HashSizeInBytes;

    private readonly RowEncoding _encoding = new();

    /// <summary>The root generation whose mac key vouches for what this makes.</summary>
    public long Generation { get; } = generation;

    /// <summary>Starts the encoding of a row; it is valid until the next start.</summary>
    public RowEncoding Row(string table) => _encoding.Start(table).Add(instanceId.AsSpan()).Add(Generation);

    public byte[] Code(RowEncoding row)
    {
        using SecretLease lease = key.Open();
        return HMACSHA256.HashData(lease.Bytes, row.Bytes);
    }

    /// <summary>True if <paramref name="code"/> is the row's, made in the encoding and under the key that this reads.</summary>
    public bool Verify(RowEncoding row, StoredCode code)
    {
        if (code.Generation != Generation || code.EncodingVersion != RowEncoding.Version)
        {
            return false;
        }

        Span<byte> expected = stackalloc byte[CodeLength];
        using SecretLease lease = key.Open();
        _ = HMACSHA256.HashData(lease.Bytes, row.Bytes, expected);
        return CryptographicOperations.FixedTimeEquals(expected, code.Code);
    }
}

/// <summary>What a row says of its own code.</summary>
internal readonly record struct StoredCode(long Generation, long EncodingVersion, byte[] Code);
