using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Encrypts under the newest version: <c>crypto.encrypt</c>.</summary>
internal sealed class Encrypt(Sealer sealer)
{
    public async Task<EncryptResult> RunAsync(Caller caller, EncryptRequest request, CancellationToken cancellationToken)
    {
        KeyLimits.CheckPlaintext(request.Plaintext.Length);
        Ciphertext ciphertext = await sealer.SealAsync(
            caller, "crypto.encrypt", request.Key, request.Plaintext, request.Context, cancellationToken);
        return new EncryptResult { Ciphertext = ciphertext.ToString(), KeyVersion = ciphertext.Version };
    }
}
