using System.Security.Cryptography;
using Kms.Hsm;

namespace Kmsd.Storage;

/// <summary>
/// Makes and checks row codes: HMAC-SHA-256 (RFC 2104) under the key of a root generation, over the row's canonical encoding
/// with the instance id, and the generation. Not for several threads at once.
/// </summary>
/// <param name="keys">Shared; of every generation that isn't retired.</param>
/// <param name="instanceId">Whose rows they are.</param>
/// <param name="generation">Whose mac key vouches for what this makes.</param>
internal sealed class RowAuthenticator(GenerationKeys keys, byte[] instanceId, long generation) : IBatchParticipant
{
    /// <summary>The length of a code in bytes.</summary>
    public const int CodeLength = HMACSHA256.HashSizeInBytes;

    private readonly RowEncoding _encoding = new();
    private long _committed = generation;
    private long _mark = generation;

    /// <summary>The root generation whose mac key vouches for what this makes.</summary>
    public long Generation { get; private set; } = generation;

    /// <summary>The one that vouches in what is committed.</summary>
    public long CommittedGeneration => _committed;

    /// <summary>True if there is a key of a generation: it is neither planned nor retired.</summary>
    public bool Knows(long generation) => keys.Find(generation) is not null;

    /// <summary>From this change on, another generation vouches; if the change isn't committed, the one before does again.</summary>
    public void Use(long next) => Generation = next;

    /// <summary>Starts the encoding of a row; it is valid until the next start.</summary>
    public RowEncoding Row(string table) => _encoding.Start(table).Add(instanceId.AsSpan());

    public byte[] Code(RowEncoding row) => Code(row, Generation);

    /// <summary>The code by a certain generation.</summary>
    public byte[] Code(RowEncoding row, long by)
    {
        byte[] code = new byte[CodeLength];
        return TryCode(row, by, code) ? code : throw new InvalidOperationException($"Generation {by} of the root key isn't in use.");
    }

    /// <summary>True if <paramref name="code"/> is the row's, made in the encoding and under a key that this reads.</summary>
    public bool Verify(RowEncoding row, StoredCode code)
    {
        Span<byte> expected = stackalloc byte[CodeLength];
        return code.EncodingVersion == RowEncoding.Version
            && TryCode(row, code.Generation, expected)
            && CryptographicOperations.FixedTimeEquals(expected, code.Code);
    }

    /// <summary>True if <paramref name="code"/> is the row's by any generation that is in use: of counters, which move on while the rest of their row stays.</summary>
    public bool VerifyByAny(RowEncoding row, StoredCode code) =>
        Verify(row, code) || keys.Generations.Any(other => other != code.Generation && Verify(row, code with { Generation = other }));

    public void Mark() => _mark = Generation;

    public void ReturnToMark() => Generation = _mark;

    public void Flush(bool isFull)
    {
    }

    public void Commit() => _committed = Generation;

    public void Rollback() => Generation = _committed;

    private bool TryCode(RowEncoding row, long generation, Span<byte> code)
    {
        if (keys.Find(generation) is not SecretBytes key)
        {
            return false;
        }

        using SecretLease lease = key.Open();
        _ = HMACSHA256.HashData(lease.Bytes, row.With(generation), code);
        return true;
    }
}

/// <summary>What a row says of its own code.</summary>
internal readonly record struct StoredCode(long Generation, long EncodingVersion, byte[] Code);
