using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Signs with the newest version: <c>crypto.sign</c>.</summary>
internal sealed class Sign(CatalogueLedger catalogue, MaterialCache cache, UseRecorder recorder)
{
    public async Task<SignResult> RunAsync(Caller caller, SignRequest request, CancellationToken cancellationToken)
    {
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.Encrypt);
        (SignatureAlgorithm algorithm, SignatureEncoding encoding) = SignatureForm.Of(key, request.Algorithm, request.Encoding);
        byte[] digest = SignatureForm.DigestOf(request.Message, request.Digest);
        KeyVersion version = key.Usable(key.CurrentVersion.Number);
        byte[] signature;
        using (MaterialLease lease = await cache.LeaseAsync(key, version, cancellationToken))
        {
            signature = await lease.Key.SignAsync(digest, algorithm, cancellationToken);
        }

        if (key.Type == KeyType.EcdsaP256)
        {
            signature = EcdsaP256.Encode(signature, SignatureForm.FormatOf(encoding));
        }

        await recorder.RecordAsync(
            new KeyUse(caller, "crypto.sign", KeyAction.Encrypt, key.Tag, version.Number), cancellationToken);
        return new SignResult
        {
            Signature = VersionedText.Format(version.Number, signature),
            KeyVersion = version.Number,
            Algorithm = algorithm,
        };
    }
}

/// <summary>Verifies what an enabled version has signed; a wrong signature is an answer: <c>crypto.verify</c>.</summary>
internal sealed class Verify(CatalogueLedger catalogue, MaterialCache cache, UseRecorder recorder)
{
    public async Task<VerifyResult> RunAsync(Caller caller, VerifyRequest request, CancellationToken cancellationToken)
    {
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.Decrypt);
        (SignatureAlgorithm algorithm, SignatureEncoding encoding) = SignatureForm.Of(key, request.Algorithm, request.Encoding);
        byte[] digest = SignatureForm.DigestOf(request.Message, request.Digest);
        if (!Ciphertext.TryParse(request.Signature, out Ciphertext signature))
        {
            throw new KmsException(KmsErrorCode.InvalidCiphertext, "This is no signature of the form kms:v1:….");
        }

        KeyVersion version = key.Usable(signature.Version);
        await cache.ProvePublicKeyAsync(key, version, cancellationToken);
        bool isValid = key.Type == KeyType.Rsa2048
            ? Rsa2048.Verify(version.PublicKey, digest, signature.Payload, algorithm)
            : EcdsaP256.Verify(version.PublicKey, digest, signature.Payload, SignatureForm.FormatOf(encoding));
        await recorder.RecordAsync(
            new KeyUse(caller, "crypto.verify", KeyAction.Decrypt, key.Tag, version.Number) { Outcome = isValid ? "ok" : "invalid" },
            cancellationToken);
        return new VerifyResult { Valid = isValid, KeyVersion = version.Number, Algorithm = algorithm };
    }
}

/// <summary>The public key of a version: <c>keys.getPublicKey</c>.</summary>
internal sealed class GetPublicKey(CatalogueLedger catalogue, MaterialCache cache)
{
    public async Task<PublicKeyResult> RunAsync(Caller caller, GetPublicKeyRequest request, CancellationToken cancellationToken)
    {
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.See);
        KeyVersion version = key.FindVersion(request.Version ?? key.CurrentVersion.Number)
            ?? throw Refusals.OfKey(KmsErrorCode.NotFound, $"The key '{key.Name}' has no version {request.Version}.");
        if (key.Type == KeyType.Aes256Gcm96)
        {
            throw new KmsException(KmsErrorCode.Unsupported, $"The key '{key.Name}' is of type AES256-GCM96, which has no public key.");
        }

        await cache.ProvePublicKeyAsync(key, version, cancellationToken);
        return new PublicKeyResult { PublicKey = PemEncoding.WriteString("PUBLIC KEY", version.PublicKey) + "\n", KeyVersion = version.Number };
    }
}

/// <summary>What sign and verify are asked for, checked.</summary>
internal static class SignatureForm
{
    /// <exception cref="KmsException"><c>unsupported</c>, <c>invalidParams</c></exception>
    public static (SignatureAlgorithm Algorithm, SignatureEncoding Encoding) Of(
        Key key, SignatureAlgorithm? algorithm, SignatureEncoding? encoding) => (key.Type, algorithm, encoding) switch
        {
            (KeyType.Aes256Gcm96, _, _) => throw new KmsException(
                KmsErrorCode.Unsupported, $"The key '{key.Name}' is of type AES256-GCM96, which doesn't sign."),
            (KeyType.Rsa2048, null or SignatureAlgorithm.RsaPssSha256 or SignatureAlgorithm.RsaPkcs1Sha256, null) =>
                (algorithm ?? SignatureAlgorithm.RsaPssSha256, SignatureEncoding.None),
            (KeyType.EcdsaP256, null or SignatureAlgorithm.EcdsaSha256, _) =>
                (SignatureAlgorithm.EcdsaSha256, encoding ?? SignatureEncoding.Der),
            _ => throw new KmsException(
                KmsErrorCode.InvalidParams, $"The key '{key.Name}' is of type {Wire.KeyTypes[key.Type]}, which this algorithm or encoding doesn't fit."),
        };

    /// <summary>The SHA-256 digest that is signed.</summary>
    /// <exception cref="KmsException"><c>invalidParams</c>, <c>tooLarge</c></exception>
    public static byte[] DigestOf(SensitiveBytes? message, byte[]? digest)
    {
        if (message is null == digest is null)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, "Exactly one of message and digest is needed.");
        }

        if (message is not null)
        {
#pragma warning disable IDISP007 // The request ends here.
            using SensitiveBytes taken = message;
#pragma warning restore IDISP007
            return taken.Length <= Limits.MessageBytes
                ? SHA256.HashData(taken.AsSpan())
                : throw new KmsException(KmsErrorCode.TooLarge, $"The message is longer than {Limits.MessageBytes} bytes; hash it with SHA-256 and give the digest.");
        }

        return digest!.Length == SHA256.HashSizeInBytes
            ? digest
            : throw new KmsException(KmsErrorCode.InvalidParams, $"A digest is the {SHA256.HashSizeInBytes} bytes of a SHA-256.");
    }

    public static DSASignatureFormat FormatOf(SignatureEncoding encoding) => encoding == SignatureEncoding.P1363
        ? DSASignatureFormat.IeeeP1363FixedFieldConcatenation
        : DSASignatureFormat.Rfc3279DerSequence;
}
