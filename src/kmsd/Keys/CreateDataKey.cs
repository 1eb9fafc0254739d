using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Draws a data key for the caller and seals it: <c>crypto.createDataKey</c>.</summary>
internal sealed class CreateDataKey(Sealer sealer)
{
    private const int DefaultBits = 256;
    private const int BitsInByte = 8;

    public async Task<CreateDataKeyResult> RunAsync(Caller caller, CreateDataKeyRequest request, CancellationToken cancellationToken)
    {
        int bits = request.Bits ?? DefaultBits;
        if (bits is not (128 or 256 or 512))
        {
            throw new KmsException(KmsErrorCode.InvalidParams, "A data key has 128, 256 or 512 bits.");
        }

        SensitiveBytes dataKey = new(bits / BitsInByte);
        bool isHandedOut = false;
        try
        {
            RandomNumberGenerator.Fill(dataKey.AsSpan());
            Ciphertext ciphertext = await sealer.SealAsync(
                caller, "crypto.createDataKey", request.Key, dataKey, request.Context, cancellationToken);
            isHandedOut = request.IncludePlaintext == true;
            return new CreateDataKeyResult
            {
                Ciphertext = ciphertext.ToString(),
                Plaintext = isHandedOut ? dataKey : null,
                KeyVersion = ciphertext.Version,
            };
        }
        finally
        {
            if (!isHandedOut)
            {
                dataKey.Dispose();
            }
        }
    }
}
