using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

public sealed class EcdsaP256Tests : IDisposable
{
    private const DSASignatureFormat Der = DSASignatureFormat.Rfc3279DerSequence;
    private const DSASignatureFormat P1363 = DSASignatureFormat.IeeeP1363FixedFieldConcatenation;

    private static readonly byte[] s_digest = SHA256.HashData("a message"u8);

    private readonly SecretBytes _key;
    private readonly byte[] _publicKey;

    public EcdsaP256Tests() => _key = EcdsaP256.NewMaterial(out _publicKey);

    public void Dispose() => _key.Dispose();

    [Fact]
    public void Material_is_what_dotnet_exports_of_the_same_key()
    {
        using ECDsa ecdsa = DotNet();
        using SecretLease lease = _key.Open();
        Assert.Equal(ecdsa.ExportPkcs8PrivateKey(), lease.Bytes.ToArray());
        Assert.Equal(ecdsa.ExportSubjectPublicKeyInfo(), _publicKey);
        Assert.Equal(256, ecdsa.KeySize);
        using SecretBytes other = EcdsaP256.NewMaterial(out byte[] otherPublicKey);
        Assert.NotEqual(_publicKey, otherPublicKey);
    }

    [Theory]
    [InlineData(Der)]
    [InlineData(P1363)]
    public void A_signature_is_dotnets_and_dotnets_is_ours(DSASignatureFormat encoding)
    {
        using ECDsa ecdsa = DotNet();

        // Often enough for an r or s that begins with zeros, or needs one before it in DER.
        for (int i = 0; i < 300; i++)
        {
            byte[] digest = SHA256.HashData(BitConverter.GetBytes(i));
            byte[] signature = EcdsaP256.Sign(_key, digest, encoding);
            Assert.True(ecdsa.VerifyHash(digest, signature, encoding));
            Assert.True(EcdsaP256.Verify(_publicKey, digest, signature, encoding));
            Assert.True(EcdsaP256.Verify(_publicKey, digest, ecdsa.SignHash(digest, encoding), encoding));
        }
    }

    [Theory]
    [InlineData(Der)]
    [InlineData(P1363)]
    public void Any_other_signature_is_refused(DSASignatureFormat encoding)
    {
        byte[] signature = EcdsaP256.Sign(_key, s_digest, encoding);
        Assert.False(EcdsaP256.Verify(_publicKey, s_digest, signature, encoding == Der ? P1363 : Der));
        Assert.False(EcdsaP256.Verify(_publicKey, SHA256.HashData("another"u8), signature, encoding));
        Assert.False(EcdsaP256.Verify(_publicKey, s_digest, [], encoding));
        Assert.False(EcdsaP256.Verify(_publicKey, s_digest, signature.AsSpan(1), encoding));
        Assert.False(EcdsaP256.Verify(_publicKey, s_digest, [.. signature, 0], encoding));
        for (int bit = 0; bit < signature.Length * 8; bit++)
        {
            byte[] changed = [.. signature];
            changed[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(EcdsaP256.Verify(_publicKey, s_digest, changed, encoding));
        }
    }

    [Fact]
    public void Zero_and_the_order_are_no_signature()
    {
        byte[] order = Convert.FromHexString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
        byte[] signature = EcdsaP256.Sign(_key, s_digest, P1363);
        foreach (byte[] wrong in new[] { new byte[32], order, [.. Enumerable.Repeat((byte)0xff, 32)] })
        {
            byte[][] forged = [[.. wrong, .. signature[32..]], [.. signature[..32], .. wrong], [.. wrong, .. wrong]];
            foreach (byte[] p1363 in forged)
            {
                Assert.False(EcdsaP256.Verify(_publicKey, s_digest, p1363, P1363));
                Assert.False(EcdsaP256.Verify(_publicKey, s_digest, EcdsaP256.Encode(p1363, Der), Der));
            }
        }
    }

    [Fact]
    public void Material_of_another_kind_is_refused()
    {
        using SecretBytes rsa = Rsa2048.NewMaterial(out _);
        _ = Assert.Throws<CryptographicException>(() => EcdsaP256.Sign(rsa, s_digest, Der));
    }

    [Theory]
    [InlineData(31)]
    [InlineData(33)]
    public void A_digest_is_32_bytes(int length)
    {
        byte[] digest = new byte[length];
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => EcdsaP256.Sign(_key, digest, Der));
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => EcdsaP256.Verify(_publicKey, digest, new byte[64], P1363));
    }

    [Theory]
    [InlineData("ecdsa_secp256r1_sha256_test.json", Der)]
    [InlineData("ecdsa_secp256r1_sha256_p1363_test.json", P1363)]
    public void Every_vector_of_wycheproof_passes_through_the_code_that_verifies(string file, DSASignatureFormat encoding) => Wycheproof.Run(
        file,
        (group, test) => EcdsaP256.Verify(
            Wycheproof.Bytes(group, "publicKeyDer"), SHA256.HashData(Wycheproof.Bytes(test, "msg")), Wycheproof.Bytes(test, "sig"), encoding),
        Wycheproof.IsValid);

    private ECDsa DotNet()
    {
        var ecdsa = ECDsa.Create();
        using SecretLease lease = _key.Open();
        ecdsa.ImportPkcs8PrivateKey(lease.Bytes, out _);
        return ecdsa;
    }
}
