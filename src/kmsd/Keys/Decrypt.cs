using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Opens what a version of the key has sealed: <c>crypto.decrypt</c>.</summary>
internal sealed class Decrypt(CatalogueLedger catalogue, MaterialCache cache, UseRecorder recorder)
{
    private const string Operation = "crypto.decrypt";

    public async Task<DecryptResult> RunAsync(Caller caller, DecryptRequest request, CancellationToken cancellationToken)
    {
        KeyLimits.CheckContext(request.Context);
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.Decrypt);
        if (!Ciphertext.TryParse(request.Ciphertext, out Ciphertext ciphertext) || ciphertext.Payload.Length < Aes256Gcm96.Overhead)
        {
            throw Refusals.DoesNotAuthenticate();
        }

        KeyVersion version = key.Usable(ciphertext.Version);
        SensitiveBytes plaintext = new(ciphertext.Payload.Length - Aes256Gcm96.Overhead);
        try
        {
            bool authenticates;
            using (MaterialLease lease = await cache.LeaseAsync(key, version, cancellationToken))
            {
                byte[] additionalData = Aes256Gcm96.AdditionalData(key.Tag, version.Number, request.Context);
                authenticates = Aes256Gcm96.TryDecrypt(lease.Material, ciphertext.Payload, additionalData, plaintext.AsSpan());
            }

            // One that fails to authenticate was carried out too: it counts, and is recorded before it is refused.
            await recorder.RecordAsync(
                new KeyUse(caller, Operation, KeyAction.Decrypt, key.Tag, version.Number)
                {
                    Context = request.Context,
                    Outcome = authenticates ? "ok" : KmsErrorCode.InvalidCiphertext.ToReason(),
                },
                cancellationToken);
            return authenticates
                ? new DecryptResult { Plaintext = plaintext, KeyVersion = version.Number }
                : throw Refusals.DoesNotAuthenticate();
        }
        catch
        {
            plaintext.Dispose();
            throw;
        }
    }
}
