using System.Security.Cryptography;
using Kms.Hsm.Native;
using Kmsd.Keys;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm.Tests;

public sealed class TokenKeyTests : IDisposable
{
    private static readonly byte[] s_data = "what it belongs to"u8.ToArray();
    private static readonly byte[] s_digest = SHA256.HashData("a message"u8);

    private Token _token = SoftHsm.Open();
    private readonly RootGenerationDescriptor _descriptor;
    private readonly RootGeneration _root;
    private readonly int _objects;

    public TokenKeyTests()
    {
        _descriptor = _token.CreateGeneration(1, SoftHsm.InstanceId);
        _root = _token.OpenGeneration(_descriptor);
        _objects = TokenSessions.CountObjects(_token);
    }

    public void Dispose()
    {
        try
        {
            _token.DestroyGeneration(_descriptor);
        }
        finally
        {
            _token.Dispose();
        }
    }

    [Theory]
    [InlineData(TokenKeyType.Aes256, "CKM_AES_KEY_WRAP", 40)]
    [InlineData(TokenKeyType.Rsa2048, "CKM_AES_KEY_WRAP_PAD", 1200)]
    [InlineData(TokenKeyType.EcdsaP256, "CKM_AES_KEY_WRAP_PAD", 64)]
    public void A_key_that_was_made_is_the_one_that_its_blob_opens(TokenKeyType type, string mechanism, int shortest)
    {
        using TokenKey made = _root.GenerateKey(type, out WrappedKey wrapped);
        using TokenKey opened = _root.UnwrapKey(type, wrapped.Blob, wrapped.Mechanism);
        Assert.Equal(type, opened.Type);
        Assert.Equal(mechanism, wrapped.Mechanism);
        Assert.InRange(wrapped.Blob.Length, shortest, shortest + 72);
        Assert.Equal(type == TokenKeyType.Aes256, wrapped.PublicKey is null);
        AreOne(made, opened, wrapped.PublicKey);

        using TokenKey other = _root.GenerateKey(type, out WrappedKey otherWrapped);
        Assert.NotEqual(wrapped.Blob, otherWrapped.Blob);
        _ = Assert.ThrowsAny<Exception>(() => AreOne(made, other, wrapped.PublicKey));
    }

    [Theory]
    [InlineData(TokenKeyType.Aes256)]
    [InlineData(TokenKeyType.Rsa2048)]
    [InlineData(TokenKeyType.EcdsaP256)]
    public void A_blob_opens_the_same_key_after_a_restart(TokenKeyType type)
    {
        WrappedKey wrapped;
        byte[] payload = [];
        using (TokenKey made = _root.GenerateKey(type, out wrapped))
        {
            payload = type == TokenKeyType.Aes256 ? made.Encrypt("a text"u8, s_data) : payload;
        }

        _token.Dispose();
        _token = SoftHsm.Open();
        using TokenKey opened = _token.OpenGeneration(_descriptor).UnwrapKey(type, wrapped.Blob, wrapped.Mechanism);
        if (type == TokenKeyType.Aes256)
        {
            Assert.Equal("a text"u8, Decrypt(opened, payload, s_data));
        }
        else
        {
            AreOne(opened, opened, wrapped.PublicKey);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(500)]
    [InlineData(32 * 1024)]
    [InlineData(64 * 1024)]
    public void What_was_encrypted_decrypts_with_the_same_additional_data_only(int length)
    {
        using TokenKey key = _root.GenerateKey(TokenKeyType.Aes256, out _);
        byte[] text = RandomNumberGenerator.GetBytes(length);
        byte[] payload = key.Encrypt(text, s_data);
        Assert.Equal(length + 28, payload.Length);
        Assert.Equal(text, Decrypt(key, payload, s_data));
        Refused(key, payload, []);
        Refused(key, payload, [.. s_data, 0]);
        Assert.NotEqual(payload[..12], key.Encrypt(text, s_data)[..12]);
        byte[] bare = key.Encrypt(text, []);
        Assert.Equal(text, Decrypt(key, bare, []));
        Refused(key, bare, s_data);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    public void A_payload_changed_in_any_bit_or_cut_is_refused_and_the_key_goes_on_working(int length)
    {
        using TokenKey key = _root.GenerateKey(TokenKeyType.Aes256, out _);
        byte[] payload = key.Encrypt(new byte[length], s_data);
        for (int bit = 0; bit < payload.Length * 8; bit++)
        {
            byte[] changed = [.. payload];
            changed[bit / 8] ^= (byte)(1 << (bit % 8));
            Refused(key, changed, s_data);
        }

        for (int cut = 0; cut < payload.Length; cut++)
        {
            Refused(key, payload[..cut], s_data);
        }

        Refused(key, [.. payload, 0], s_data);
        Assert.Equal(new byte[length], Decrypt(key, payload, s_data));
    }

    /// <summary>The wrap key is put there with a known value, so that .NET can open the blob by itself.</summary>
    [Fact]
    public void A_payload_is_dotnets_aes_gcm_and_a_blob_is_rfc_3394()
    {
        byte[] wrapKey = RandomNumberGenerator.GetBytes(32);
        using var planted = PlantedKey.InPlaceOf(_token, _descriptor, RootRole.Wrap, wrapKey);
        byte[] check = KeyWrap.Wrap(wrapKey, "kmsd/v1/check/wrap: thirty-two b"u8);
        RootGeneration root = _token.OpenGeneration(_descriptor with { WrapCheck = check });
        using TokenKey key = root.GenerateKey(TokenKeyType.Aes256, out WrappedKey wrapped);
        byte[] value = KeyWrap.Unwrap(wrapKey, wrapped.Blob);
        byte[] payload = key.Encrypt("a text"u8, s_data);
        byte[] opened = new byte[6];
        using AesGcm gcm = new(value, 16);
        gcm.Decrypt(payload.AsSpan(0, 12), payload.AsSpan(12, 6), payload.AsSpan(18), opened, s_data);
        Assert.Equal("a text"u8, opened);

        using TokenKey known = root.UnwrapKey(TokenKeyType.Aes256, KeyWrap.Wrap(wrapKey, value), wrapped.Mechanism);
        Assert.Equal("a text"u8, Decrypt(known, payload, s_data));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(189)]
    [InlineData(190)]
    public void What_dotnet_encrypts_by_oaep_is_read_from_the_raw_operation(int length)
    {
        using TokenKey key = _root.GenerateKey(TokenKeyType.Rsa2048, out WrappedKey wrapped);
        using RSA rsa = Rsa(wrapped.PublicKey!);
        byte[] text = RandomNumberGenerator.GetBytes(length);
        byte[] encoded = new byte[256];
        byte[] message = new byte[190];
        key.DecryptRaw(rsa.Encrypt(text, RSAEncryptionPadding.OaepSHA256), encoded);
        Assert.True(Oaep.TryDecode(encoded, message, out int read));
        Assert.Equal(text, message[..read]);

        // With SHA-1 it is another encoding.
        key.DecryptRaw(rsa.Encrypt(text.AsSpan(0, Math.Min(length, 100)), RSAEncryptionPadding.OaepSHA1), encoded);
        Assert.False(Oaep.TryDecode(encoded, message, out _));
    }

    [Fact]
    public void The_raw_operation_keeps_zeros_in_front_and_refuses_what_is_not_below_the_modulus()
    {
        using TokenKey key = _root.GenerateKey(TokenKeyType.Rsa2048, out WrappedKey wrapped);
        using RSA rsa = Rsa(wrapped.PublicKey!);
        byte[] modulus = rsa.ExportParameters(false).Modulus!;
        byte[] encoded = new byte[256];

        // One and zero are their own powers.
        key.DecryptRaw([.. new byte[255], 1], encoded);
        Assert.Equal([.. new byte[255], 1], encoded);
        key.DecryptRaw(new byte[256], encoded);
        Assert.Equal(new byte[256], encoded);

        // n − 1 is too: its exponent is odd.
        byte[] last = [.. modulus[..^1], (byte)(modulus[^1] - 1)];
        key.DecryptRaw(last, encoded);
        Assert.Equal(last, encoded);
        byte[][] wrong = [modulus, [.. Enumerable.Repeat((byte)0xff, 256)], new byte[255], new byte[257], []];
        foreach (byte[] ciphertext in wrong)
        {
            _ = Assert.Throws<SealedBlobException>(() => key.DecryptRaw(ciphertext, encoded));
        }
    }

    [Fact]
    public void Signatures_verify_in_dotnet_under_the_public_key_that_was_handed_out()
    {
        using TokenKey rsaKey = _root.GenerateKey(TokenKeyType.Rsa2048, out WrappedKey rsaWrapped);
        using RSA rsa = Rsa(rsaWrapped.PublicKey!);
        byte[] pss = rsaKey.SignPss(s_digest);
        byte[] pkcs1 = rsaKey.SignPkcs1(s_digest);
        Assert.True(rsa.VerifyHash(s_digest, pss, HashAlgorithmName.SHA256, RSASignaturePadding.Pss));
        Assert.True(rsa.VerifyHash(s_digest, pkcs1, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
        Assert.False(rsa.VerifyHash(s_digest, pss, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
        Assert.NotEqual(pss, rsaKey.SignPss(s_digest));
        Assert.Equal(pkcs1, rsaKey.SignPkcs1(s_digest));

        using TokenKey ecKey = _root.GenerateKey(TokenKeyType.EcdsaP256, out WrappedKey ecWrapped);
        using ECDsa ecdsa = Ecdsa(ecWrapped.PublicKey!);
        for (int i = 0; i < 300; i++)
        {
            byte[] digest = SHA256.HashData(BitConverter.GetBytes(i));
            byte[] signature = ecKey.SignEcdsa(digest);
            Assert.Equal(64, signature.Length);
            Assert.True(ecdsa.VerifyHash(digest, signature, DSASignatureFormat.IeeeP1363FixedFieldConcatenation));
        }
    }

    [Fact]
    public void A_key_of_one_type_does_nothing_of_another()
    {
        using TokenKey aes = _root.GenerateKey(TokenKeyType.Aes256, out _);
        using TokenKey rsa = _root.GenerateKey(TokenKeyType.Rsa2048, out _);
        using TokenKey ecdsa = _root.GenerateKey(TokenKeyType.EcdsaP256, out _);
        Action[] wrong =
        [
            () => aes.SignPss(s_digest), () => aes.SignPkcs1(s_digest), () => aes.SignEcdsa(s_digest), () => aes.DecryptRaw(new byte[256], new byte[256]),
            () => rsa.SignEcdsa(s_digest), () => rsa.Encrypt([], []), () => rsa.Decrypt(new byte[28], [], []),
            () => ecdsa.SignPss(s_digest), () => ecdsa.SignPkcs1(s_digest), () => ecdsa.DecryptRaw(new byte[256], new byte[256]),
        ];
        Assert.All(wrong, operation => Assert.Throws<InvalidOperationException>(operation));
        Assert.All([31, 33], length => Assert.Throws<ArgumentOutOfRangeException>(() => rsa.SignPss(new byte[length])));
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => _root.GenerateKey(TokenKeyType.None, out _).Dispose());
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => _root.UnwrapKey(TokenKeyType.None, new byte[40], "CKM_AES_KEY_WRAP").Dispose());
    }

    [Theory]
    [InlineData(TokenKeyType.Aes256, CKA.CKA_VALUE)]
    [InlineData(TokenKeyType.Rsa2048, CKA.CKA_PRIVATE_EXPONENT)]
    [InlineData(TokenKeyType.Rsa2048, CKA.CKA_PRIME_1)]
    [InlineData(TokenKeyType.EcdsaP256, CKA.CKA_VALUE)]
    public void A_key_can_neither_be_read_nor_wrapped_nor_made_extractable(TokenKeyType type, CKA secret)
    {
        using TokenKey key = _root.GenerateKey(type, out WrappedKey wrapped);
        using TokenKey opened = _root.UnwrapKey(type, wrapped.Blob, wrapped.Mechanism);
        foreach (ulong handle in new[] { key.Handle, opened.Handle })
        {
            Module module = _token.Module;
            Assert.Null(_token.Operate(session => module.Attribute(session, handle, secret)));
            foreach ((CKA flag, byte expected) in new[]
            {
                (CKA.CKA_TOKEN, (byte)0), (CKA.CKA_PRIVATE, (byte)1), (CKA.CKA_SENSITIVE, (byte)1), (CKA.CKA_EXTRACTABLE, (byte)0),
            })
            {
                Assert.Equal([expected], _token.Operate(session => module.Attribute(session, handle, flag))!);
            }

            ulong wrapKey = PlantedKey.Find(_token, _descriptor.WrapKeyId);
            CKM mechanism = Enum.Parse<CKM>(wrapped.Mechanism);
            TokenException refusal = Assert.Throws<TokenException>(
                () => _token.Operate(session => module.Wrap(session, mechanism, wrapKey, handle)));
            Assert.Equal("CKR_KEY_UNEXTRACTABLE", Assert.IsType<Pkcs11Exception>(refusal.InnerException).ReturnName);
        }
    }

    [Theory]
    [InlineData(TokenKeyType.Aes256)]
    [InlineData(TokenKeyType.Rsa2048)]
    [InlineData(TokenKeyType.EcdsaP256)]
    public void A_wrong_blob_type_or_mechanism_is_refused_and_leaves_nothing(TokenKeyType type)
    {
        _root.GenerateKey(type, out WrappedKey wrapped).Dispose();
        byte[] blob = wrapped.Blob;
        int step = Math.Max(1, blob.Length * 8 / 400);
        for (int bit = 0; bit < blob.Length * 8; bit += step)
        {
            byte[] changed = [.. blob];
            changed[bit / 8] ^= (byte)(1 << (bit % 8));
            RefusedBlob(type, changed, wrapped.Mechanism);
        }

        foreach (byte[] cut in new[] { [], blob[..8], blob[..^1], blob[..^8], blob[8..], [.. blob, 0], [.. blob, .. new byte[8]] })
        {
            RefusedBlob(type, cut, wrapped.Mechanism);
        }

        foreach (TokenKeyType other in Enum.GetValues<TokenKeyType>().Except([TokenKeyType.None, type]))
        {
            RefusedBlob(other, blob, wrapped.Mechanism);
            RefusedBlob(other, blob, other == TokenKeyType.Aes256 ? "CKM_AES_KEY_WRAP" : "CKM_AES_KEY_WRAP_PAD");
            RefusedBlob(type, blob, type == TokenKeyType.Aes256 ? "CKM_AES_KEY_WRAP_PAD" : "CKM_AES_KEY_WRAP");
        }

        TokenException refusal = Assert.Throws<TokenException>(() => _root.UnwrapKey(type, blob, "CKM_AES_CBC_PAD").Dispose());
        Assert.Equal(TokenFault.Unsupported, refusal.Fault);
        Assert.Contains("CKM_AES_CBC_PAD", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(_objects, TokenSessions.CountObjects(_token));
        _root.UnwrapKey(type, blob, wrapped.Mechanism).Dispose();
    }

    [Fact]
    public void A_blob_of_another_generation_is_refused()
    {
        RootGenerationDescriptor second = _token.CreateGeneration(2, SoftHsm.InstanceId);
        try
        {
            _token.OpenGeneration(second).GenerateKey(TokenKeyType.Aes256, out WrappedKey wrapped).Dispose();
            RefusedBlob(TokenKeyType.Aes256, wrapped.Blob, wrapped.Mechanism);
        }
        finally
        {
            _token.DestroyGeneration(second);
        }
    }

    [Fact]
    public void Keys_are_no_token_objects_and_nothing_of_them_stays()
    {
        IReadOnlyList<string> labels = _token.FindRootObjects();
        TokenKey[] keys =
        [
            .. new[] { TokenKeyType.Aes256, TokenKeyType.Rsa2048, TokenKeyType.EcdsaP256 }.Select(type => _root.GenerateKey(type, out _)),
        ];

        // Three keys, and neither what they were unwrapped from nor a public key.
        Assert.Equal(_objects + 3, TokenSessions.CountObjects(_token));
        Assert.Equal(labels, _token.FindRootObjects());
        Assert.Equal(labels.Count, _token.Operate(session =>
        {
            using Template template = new();
            return _token.Module.Find(session, template.Add(CKA.CKA_TOKEN, true)).Count;
        }));
        Array.ForEach(keys, key => key.Dispose());
        Array.ForEach(keys, key => key.Dispose());
        Assert.Equal(_objects, TokenSessions.CountObjects(_token));
    }

    private static void AreOne(TokenKey key, TokenKey other, byte[]? publicKey)
    {
        switch (key.Type)
        {
            case TokenKeyType.Aes256:
                Assert.Equal("a text"u8, Decrypt(other, key.Encrypt("a text"u8, s_data), s_data));
                break;
            case TokenKeyType.Rsa2048:
                using (RSA rsa = Rsa(publicKey!))
                {
                    Assert.Equal(2048, rsa.KeySize);
                    Assert.True(rsa.VerifyHash(s_digest, key.SignPss(s_digest), HashAlgorithmName.SHA256, RSASignaturePadding.Pss));
                    Assert.True(rsa.VerifyHash(s_digest, other.SignPss(s_digest), HashAlgorithmName.SHA256, RSASignaturePadding.Pss));
                }

                break;
            default:
                using (ECDsa ecdsa = Ecdsa(publicKey!))
                {
                    Assert.True(ecdsa.VerifyHash(s_digest, key.SignEcdsa(s_digest)));
                    Assert.True(ecdsa.VerifyHash(s_digest, other.SignEcdsa(s_digest)));
                }

                break;
        }
    }

    private static byte[] Decrypt(TokenKey key, byte[] payload, byte[] data)
    {
        byte[] text = new byte[payload.Length - 28];
        key.Decrypt(payload, data, text);
        return text;
    }

    private static void Refused(TokenKey key, byte[] payload, byte[] data)
    {
        byte[] text = new byte[Math.Max(0, payload.Length - 28)];
        text.AsSpan().Fill(0x5a);
        _ = Assert.Throws<SealedBlobException>(() => key.Decrypt(payload, data, text));
        Assert.Equal(-1, text.AsSpan().IndexOfAnyExcept((byte)0x5a));
    }

    private void RefusedBlob(TokenKeyType type, byte[] blob, string mechanism) =>
        Assert.Throws<SealedBlobException>(() => _root.UnwrapKey(type, blob, mechanism).Dispose());

    private static RSA Rsa(byte[] publicKey)
    {
        var rsa = RSA.Create();
        rsa.ImportSubjectPublicKeyInfo(publicKey, out _);
        return rsa;
    }

    private static ECDsa Ecdsa(byte[] publicKey)
    {
        var ecdsa = ECDsa.Create();
        ecdsa.ImportSubjectPublicKeyInfo(publicKey, out _);
        return ecdsa;
    }
}
