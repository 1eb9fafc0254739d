using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.RootKeys;

namespace Kmsd.Keys;

/// <summary>Makes the material of a version, here or in the token, carried by the root key and bound to exactly this version.</summary>
internal sealed partial class VersionMaker(RootKey root, TimeProvider clock)
{
    /// <exception cref="KmsException"><c>tokenUnavailable</c></exception>
    public async Task<KeyVersion> MakeAsync(Key key, long number, CancellationToken cancellationToken)
    {
        MaterialBinding binding = key.BindingOf(number);
        (SealedMaterial material, byte[]? publicKey) = key.Protection == KeyProtection.Hsm
            ? await root.GenerateAsync(binding, cancellationToken)
            : await SealNewAsync(binding, cancellationToken);
        DateTimeOffset now = clock.GetUtcNow();
        return new KeyVersion
        {
            Number = number,
            State = KeyState.Enabled,
            CreatedAt = now,
            StateChangedAt = now,
            PublicKey = publicKey,
            EncryptionsReserved = key.Type == KeyType.Aes256Gcm96 ? KeyLimits.EncryptionsReservedAtOnce : 0,
            Material = material,
        };
    }

    private async Task<(SealedMaterial Material, byte[]? PublicKey)> SealNewAsync(MaterialBinding binding, CancellationToken cancellationToken)
    {
        (SecretBytes made, byte[]? publicKey) = Make(binding.Type);
        using SecretBytes material = made;
        return (await root.SealAsync(material, binding, cancellationToken), publicKey);
    }

    private static (SecretBytes Material, byte[]? PublicKey) Make(KeyType type)
    {
        byte[] publicKey;
        return type switch
        {
            KeyType.Aes256Gcm96 => (new SecretBytes(Aes256Gcm96.KeyLength, Fill), null),
            KeyType.Rsa2048 => (Rsa2048.NewMaterial(out publicKey), publicKey),
            KeyType.EcdsaP256 => (EcdsaP256.NewMaterial(out publicKey), publicKey),
            _ => throw new ArgumentOutOfRangeException(nameof(type)),
        };
    }

    private static void Fill(Span<byte> material)
    {
        RandomNumberGenerator.Fill(material);
        ImportForTest(material);
    }

    static partial void ImportForTest(Span<byte> material);
}
