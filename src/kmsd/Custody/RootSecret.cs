using System.Security.Cryptography;
using Kms.Hsm;

namespace Kmsd.Custody;

/// <summary>The 32 bytes that custodians share, and what follows from them: the three keys of a root generation, and a check value.</summary>
internal sealed class RootSecret : IDisposable
{
    public const int Length = 32;
    public const int CheckLength = 8;

    private const int RandomLength = 64;

    private readonly SecretBytes _secret;

    private RootSecret(SecretBytes secret) => _secret = secret;

    /// <summary>Stays this one's.</summary>
    public SecretBytes Bytes => _secret;

    /// <summary>HKDF-Extract (RFC 5869) over random bytes of the token and of the kernel: either alone would do.</summary>
    public static RootSecret Draw(SecretFill drawFromToken) => new(new SecretBytes(Length, secret =>
    {
        using SecretBytes random = new(2 * RandomLength, both =>
        {
            drawFromToken(both[..RandomLength]);
            RandomNumberGenerator.Fill(both[RandomLength..]);
        });
        using SecretLease lease = random.Open();
        _ = HKDF.Extract(HashAlgorithmName.SHA256, lease.Bytes, "kms/v1/root"u8, secret);
    }));

    /// <summary>Puts shares together.</summary>
    /// <exception cref="ShareException">They don't belong together, or one of them is altered, or they aren't a root key's.</exception>
    public static RootSecret Combine(IReadOnlyList<Slip39Share> shares) =>
        shares.FirstOrDefault(share => share.Value.Length != Length) is { } other
            ? throw new ShareException($"The shares are of a secret of {other.Value.Length} bytes; a root key's has {Length}.")
            : new RootSecret(Slip39.Combine(shares, []));

    /// <summary>The three keys; the caller owns them.</summary>
    public RootKeyValues DeriveKeys()
    {
        SecretBytes? wrap = null;
        SecretBytes? seal = null;
        try
        {
            wrap = Expand("kms/v1/wrap");
            seal = Expand("kms/v1/seal");
            return new RootKeyValues(wrap, seal, Expand("kms/v1/mac"));
        }
        catch
        {
            wrap?.Dispose();
            seal?.Dispose();
            throw;
        }
    }

    /// <summary>8 bytes that tell this secret from others, and nothing else of it.</summary>
    public byte[] Check()
    {
        byte[] check = new byte[CheckLength];
        Expand("kms/v1/check", check);
        return check;
    }

    public bool IsSameAs(RootSecret other)
    {
        using SecretLease one = _secret.Open();
        using SecretLease two = other._secret.Open();
        return CryptographicOperations.FixedTimeEquals(one.Bytes, two.Bytes);
    }

#pragma warning disable IDISP007 // The constructor takes it over.
    public void Dispose() => _secret.Dispose();
#pragma warning restore IDISP007

    private SecretBytes Expand(string label) => new(Length, key => Expand(label, key));

    private void Expand(string label, Span<byte> destination)
    {
        using SecretLease lease = _secret.Open();
        HKDF.Expand(HashAlgorithmName.SHA256, lease.Bytes, destination, System.Text.Encoding.ASCII.GetBytes(label));
    }
}
