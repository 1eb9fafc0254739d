using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>Known-answer and round-trip tests of what a root generation needs. A token's mechanism list is a claim; this is seen.</summary>
internal static class TokenSelfTest
{
    private const int KeyLength = 32;

    public static TokenCapabilities Run(Module module, ulong session)
    {
        List<ulong> made = [];
        try
        {
            return new TokenCapabilities(
                AesGcm: Expect(SealsAndRefuses(module, session, made), "AES-GCM with additional data"),
                AesKeyWrap: Expect(Wraps(module, session, made), "AES key wrap (CKM_AES_KEY_WRAP)"),
                HmacSha256: Expect(Authenticates(module, session, made), "HMAC-SHA-256 with a generic secret"));
        }
        finally
        {
            foreach (ulong key in made)
            {
                module.DestroyObject(session, key);
            }
        }
    }

    private static bool SealsAndRefuses(Module module, ulong session, List<ulong> made)
    {
        byte[] key = RandomNumberGenerator.GetBytes(KeyLength);
        byte[] nonce = RandomNumberGenerator.GetBytes(Mechanism.GcmNonceLength);
        byte[] text = RandomNumberGenerator.GetBytes(KeyLength);
        byte[] additionalData = "kmsd/self-test"u8.ToArray();
        ulong handle = Import(module, session, made, key, CKK.CKK_AES, CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT);

        using var encryption = Mechanism.AesGcm(nonce, additionalData);
        byte[] sealedText = module.Encrypt(session, encryption, handle, text, Mechanism.GcmTagLength);
        byte[] expected = new byte[text.Length + Mechanism.GcmTagLength];
        using (AesGcm reference = new(key, Mechanism.GcmTagLength))
        {
            reference.Encrypt(nonce, text, expected.AsSpan(0, text.Length), expected.AsSpan(text.Length), additionalData);
        }

        using var decryption = Mechanism.AesGcm(nonce, additionalData);
        byte[] opened = module.Decrypt(session, decryption, handle, sealedText, out int length);
        if (!sealedText.AsSpan().SequenceEqual(expected) || !opened.AsSpan(0, length).SequenceEqual(text))
        {
            return false;
        }

        sealedText[^1] ^= 1;
        using var tampered = Mechanism.AesGcm(nonce, additionalData);
        try
        {
            _ = module.Decrypt(session, tampered, handle, sealedText, out _);
            return false;
        }
        catch (Pkcs11Exception)
        {
            return true;
        }
    }

    private static bool Wraps(Module module, ulong session, List<ulong> made)
    {
        ulong wrapping = Import(
            module, session, made, RandomNumberGenerator.GetBytes(KeyLength), CKK.CKK_AES, CKA.CKA_WRAP, CKA.CKA_UNWRAP);
        byte[] key = RandomNumberGenerator.GetBytes(KeyLength);
        ulong original = Import(module, session, made, key, CKK.CKK_AES, CKA.CKA_ENCRYPT, CKA.CKA_EXTRACTABLE);
        byte[] wrapped = module.Wrap(session, CKM.CKM_AES_KEY_WRAP, wrapping, original);

        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY).Add(CKA.CKA_KEY_TYPE, CKK.CKK_AES).Add(CKA.CKA_TOKEN, false)
            .Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_SENSITIVE, true).Add(CKA.CKA_EXTRACTABLE, false).Add(CKA.CKA_DECRYPT, true);
        ulong unwrapped = module.Unwrap(session, CKM.CKM_AES_KEY_WRAP, wrapping, wrapped, template);
        made.Add(unwrapped);

        byte[] nonce = RandomNumberGenerator.GetBytes(Mechanism.GcmNonceLength);
        using var encryption = Mechanism.AesGcm(nonce, []);
        byte[] sealedText = module.Encrypt(session, encryption, original, key, Mechanism.GcmTagLength);
        using var decryption = Mechanism.AesGcm(nonce, []);
        byte[] opened = module.Decrypt(session, decryption, unwrapped, sealedText, out int length);
        return opened.AsSpan(0, length).SequenceEqual(key);
    }

    private static bool Authenticates(Module module, ulong session, List<ulong> made)
    {
        byte[] key = RandomNumberGenerator.GetBytes(KeyLength);
        byte[] message = "kmsd/self-test"u8.ToArray();
        ulong handle = Import(module, session, made, key, CKK.CKK_GENERIC_SECRET, CKA.CKA_SIGN, CKA.CKA_VERIFY);
        byte[] code = module.Sign(session, CKM.CKM_SHA256_HMAC, handle, message, HMACSHA256.HashSizeInBytes);
        return code.AsSpan().SequenceEqual(HMACSHA256.HashData(key, message));
    }

    private static ulong Import(Module module, ulong session, List<ulong> made, byte[] value, CKK type, params ReadOnlySpan<CKA> may)
    {
        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY).Add(CKA.CKA_KEY_TYPE, type).Add(CKA.CKA_TOKEN, false)
            .Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_SENSITIVE, true).Add(CKA.CKA_VALUE, value);
        foreach (CKA flag in may)
        {
            _ = template.Add(flag, true);
        }

        ulong handle = module.CreateObject(session, template);
        made.Add(handle);
        return handle;
    }

    private static bool Expect(bool works, string what) =>
        works ? true : throw new TokenException(TokenFault.Unsupported, $"The token's self-test failed: {what} gives a wrong result.");
}
