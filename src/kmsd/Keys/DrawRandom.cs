using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kmsd.RootKeys;

namespace Kmsd.Keys;

/// <summary>Random bytes from the token's generator: <c>crypto.random</c>.</summary>
internal sealed class DrawRandom(RootKey root)
{
    public async Task<RandomResult> RunAsync(RandomRequest request, CancellationToken cancellationToken)
    {
        if (request.Bytes is < 1 or > Limits.RandomBytes)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, $"1 to {Limits.RandomBytes} random bytes are given at a time.");
        }

        // A buffer of its own: if the token answers too late, nobody else's memory is written.
        byte[] bytes = GC.AllocateArray<byte>(request.Bytes, pinned: true);
        await root.FillRandomAsync(bytes, cancellationToken);
        SensitiveBytes random = new(bytes);
        CryptographicOperations.ZeroMemory(bytes);
        return new RandomResult { Random = random };
    }
}
