using System.Numerics;
using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

public sealed class Rsa2048Tests : IDisposable
{
    private static readonly byte[] s_digest = SHA256.HashData("a message"u8);

    private readonly SecretBytes _key;
    private readonly byte[] _publicKey;

    public Rsa2048Tests() => _key = Rsa2048.NewMaterial(out _publicKey);

    public void Dispose() => _key.Dispose();

    [Fact]
    public void Material_is_the_private_key_of_the_public_key()
    {
        using var rsa = RSA.Create();
        using SecretLease lease = _key.Open();
        rsa.ImportPkcs8PrivateKey(lease.Bytes, out int read);
        Assert.Equal(lease.Bytes.Length, read);
        Assert.Equal(2048, rsa.KeySize);
        Assert.Equal(rsa.ExportSubjectPublicKeyInfo(), _publicKey);
        using SecretBytes other = Rsa2048.NewMaterial(out byte[] otherPublicKey);
        Assert.NotEqual(_publicKey, otherPublicKey);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(Rsa2048.MostPlaintextBytes)]
    public void What_was_encrypted_decrypts_here_and_in_dotnet(int length)
    {
        byte[] text = RandomNumberGenerator.GetBytes(length);
        byte[] payload = Rsa2048.Encrypt(_publicKey, text);
        Assert.Equal(Rsa2048.PayloadLength, payload.Length);
        Assert.Equal(text, Decrypt(payload));
        using RSA rsa = DotNet();
        Assert.Equal(text, rsa.Decrypt(payload, RSAEncryptionPadding.OaepSHA256));
        Assert.Equal(text, Decrypt(rsa.Encrypt(text, RSAEncryptionPadding.OaepSHA256)));
        Assert.NotEqual(payload, Rsa2048.Encrypt(_publicKey, text));
    }

    [Fact]
    public void The_most_plaintext_is_190_bytes_and_not_one_more()
    {
        Assert.Equal(190, Rsa2048.MostPlaintextBytes);
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => Rsa2048.Encrypt(_publicKey, new byte[191]));
    }

    [Fact]
    public void What_does_not_decrypt_leaves_zeros()
    {
        byte[] payload = Rsa2048.Encrypt(_publicKey, "a text"u8);
        using RSA rsa = DotNet();
        byte[][] wrong =
        [
            payload[1..], [.. payload, 0], [], [.. payload[..^1], (byte)(payload[^1] ^ 1)], new byte[256],
            [.. Enumerable.Repeat((byte)0xff, 256)], rsa.ExportParameters(false).Modulus!,
            rsa.Encrypt("a text"u8, RSAEncryptionPadding.OaepSHA1), rsa.Encrypt("a text"u8, RSAEncryptionPadding.Pkcs1),
        ];
        foreach (byte[] refused in wrong)
        {
            byte[] opened = new byte[Rsa2048.MostPlaintextBytes];
            opened.AsSpan().Fill(0x5a);
            Assert.False(Rsa2048.TryDecrypt(_key, refused, opened, out int length));
            Assert.Equal(0, length);
            Assert.Equal(-1, opened.AsSpan().IndexOfAnyExcept((byte)0));
        }
    }

    [Fact]
    public void A_signature_is_dotnets_and_dotnets_is_ours()
    {
        using RSA rsa = DotNet();
        foreach ((SignatureAlgorithm algorithm, RSASignaturePadding padding) in Algorithms())
        {
            byte[] signature = Rsa2048.Sign(_key, s_digest, algorithm);
            Assert.True(rsa.VerifyHash(s_digest, signature, HashAlgorithmName.SHA256, padding));
            Assert.True(Rsa2048.Verify(_publicKey, s_digest, signature, algorithm));
            Assert.True(Rsa2048.Verify(_publicKey, s_digest, rsa.SignHash(s_digest, HashAlgorithmName.SHA256, padding), algorithm));
        }
    }

    [Fact]
    public void Any_other_signature_is_refused()
    {
        foreach ((SignatureAlgorithm algorithm, _) in Algorithms())
        {
            SignatureAlgorithm other = algorithm == SignatureAlgorithm.RsaPssSha256
                ? SignatureAlgorithm.RsaPkcs1Sha256
                : SignatureAlgorithm.RsaPssSha256;
            byte[] signature = Rsa2048.Sign(_key, s_digest, algorithm);
            Assert.False(Rsa2048.Verify(_publicKey, s_digest, signature, other));
            Assert.False(Rsa2048.Verify(_publicKey, SHA256.HashData("another"u8), signature, algorithm));
            Assert.False(Rsa2048.Verify(_publicKey, s_digest, [], algorithm));
            Assert.False(Rsa2048.Verify(_publicKey, s_digest, signature.AsSpan(1), algorithm));
            Assert.False(Rsa2048.Verify(_publicKey, s_digest, [.. signature, 0], algorithm));
            signature[100] ^= 1;
            Assert.False(Rsa2048.Verify(_publicKey, s_digest, signature, algorithm));
        }
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(20, false)]
    [InlineData(31, false)]
    [InlineData(32, true)]
    [InlineData(33, false)]
    [InlineData(222, false)]
    public void A_salt_is_32_bytes_and_no_other_length(int salt, bool isAccepted)
    {
        using RSA rsa = DotNet();
        RSAParameters key = rsa.ExportParameters(includePrivateParameters: true);
        BigInteger encoded = Number(PssEncoded(RandomNumberGenerator.GetBytes(salt)));
        byte[] result = BigInteger.ModPow(encoded, Number(key.D!), Number(key.Modulus!)).ToByteArray(isUnsigned: true, isBigEndian: true);
        byte[] signature = [.. new byte[256 - result.Length], .. result];
        Assert.Equal(isAccepted, Rsa2048.Verify(_publicKey, s_digest, signature, SignatureAlgorithm.RsaPssSha256));
    }

    [Theory]
    [InlineData(31)]
    [InlineData(33)]
    public void A_digest_is_32_bytes(int length)
    {
        byte[] digest = new byte[length];
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => Rsa2048.Sign(_key, digest, SignatureAlgorithm.RsaPssSha256));
        _ = Assert.Throws<ArgumentOutOfRangeException>(
            () => Rsa2048.Verify(_publicKey, digest, new byte[256], SignatureAlgorithm.RsaPssSha256));
    }

    [Fact]
    public void Ecdsa_and_none_are_not_rsas()
    {
        foreach (SignatureAlgorithm algorithm in new[] { SignatureAlgorithm.None, SignatureAlgorithm.EcdsaSha256 })
        {
            _ = Assert.Throws<ArgumentOutOfRangeException>(() => Rsa2048.Sign(_key, s_digest, algorithm));
            _ = Assert.Throws<ArgumentOutOfRangeException>(() => Rsa2048.Verify(_publicKey, s_digest, new byte[256], algorithm));
        }
    }

    /// <summary>rsa_oaep_2048_sha256_mgf1sha256_test.json; a ciphertext with a label is none under ours, the empty one.</summary>
    [Fact]
    public void Every_vector_of_wycheproof_passes_through_the_code_that_decrypts() => Wycheproof.Run(
        "rsa_oaep_2048_sha256_mgf1sha256_test.json",
        (group, test) =>
        {
            using SecretBytes key = new(Wycheproof.Bytes(group, "privateKeyPkcs8"));
            byte[] opened = new byte[Rsa2048.MostPlaintextBytes];
            return Rsa2048.TryDecrypt(key, Wycheproof.Bytes(test, "ct"), opened, out int length)
                && opened.AsSpan(0, length).SequenceEqual(Wycheproof.Bytes(test, "msg"));
        },
        OaepTests.HasOurLabel);

    private static (SignatureAlgorithm Algorithm, RSASignaturePadding Padding)[] Algorithms() =>
    [
        (SignatureAlgorithm.RsaPssSha256, RSASignaturePadding.Pss),
        (SignatureAlgorithm.RsaPkcs1Sha256, RSASignaturePadding.Pkcs1),
    ];

    /// <summary>EMSA-PSS of the digest (RFC 8017, section 9.1.1) for a modulus of 2048 bits.</summary>
    private static byte[] PssEncoded(byte[] salt)
    {
        byte[] hash = SHA256.HashData([.. new byte[8], .. s_digest, .. salt]);
        byte[] block = [.. new byte[222 - salt.Length], 1, .. salt];
        Oaep.Mask(hash, block);
        block[0] &= 0x7f;
        return [.. block, .. hash, 0xbc];
    }

    private static BigInteger Number(byte[] bytes) => new(bytes, isUnsigned: true, isBigEndian: true);

    private byte[] Decrypt(byte[] payload)
    {
        byte[] opened = new byte[Rsa2048.MostPlaintextBytes];
        Assert.True(Rsa2048.TryDecrypt(_key, payload, opened, out int length));
        Assert.Equal(-1, opened.AsSpan(length).IndexOfAnyExcept((byte)0));
        return opened[..length];
    }

    private RSA DotNet()
    {
        var rsa = RSA.Create();
        using SecretLease lease = _key.Open();
        rsa.ImportPkcs8PrivateKey(lease.Bytes, out _);
        return rsa;
    }
}
