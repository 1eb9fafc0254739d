using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Opens what a version of the key has sealed: <c>crypto.decrypt</c>.</summary>
internal sealed class Decrypt(CatalogueLedger catalogue, VersionCipher cipher, UseRecorder recorder)
{
    private const string Operation = "crypto.decrypt";

    public async Task<DecryptResult> RunAsync(Caller caller, DecryptRequest request, CancellationToken cancellationToken)
    {
        KeyLimits.CheckContext(request.Context);
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.Decrypt);
        if (!Ciphertext.TryParse(request.Ciphertext, out Ciphertext ciphertext))
        {
            throw Refusals.DoesNotAuthenticate();
        }

        SensitiveBytes? plaintext = await cipher.DecryptAsync(key, ciphertext, request.Context, cancellationToken);
        try
        {
            // One that fails to authenticate was carried out too: it counts, and is recorded before it is refused.
            await recorder.RecordAsync(
                new KeyUse(caller, Operation, KeyAction.Decrypt, key.Tag, ciphertext.Version)
                {
                    Context = request.Context,
                    Outcome = plaintext is null ? KmsErrorCode.InvalidCiphertext.ToReason() : "ok",
                },
                cancellationToken);
            return new DecryptResult
            {
                Plaintext = plaintext ?? throw Refusals.Recorded(Refusals.DoesNotAuthenticate()),
                KeyVersion = ciphertext.Version,
            };
        }
        catch
        {
            plaintext?.Dispose();
            throw;
        }
    }
}
