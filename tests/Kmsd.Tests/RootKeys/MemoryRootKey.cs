using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.RootKeys;

namespace Kmsd.Tests.RootKeys;

/// <summary>A root key without a token: AES-GCM in this process, with the same promises and with switches for bad days.</summary>
internal sealed class MemoryRootKey(byte[] instanceId) : RootKey
{
    private const int NonceLength = 12;
    private const int TagLength = 16;

    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private volatile bool _isAvailable = true;

    public override long Generation => 1;

    public override string SealMechanism => "CKM_AES_GCM";

    public override string TokenFamily => "tests/memory";

    public override bool IsAvailable => _isAvailable;

    /// <summary>While true, the token is away.</summary>
    public bool IsAway { get => !_isAvailable; set => _isAvailable = !value; }

    /// <summary>What <see cref="OpenAsync"/> waits for, if anything.</summary>
    public Task? OpeningWaitsFor { get; set; }

    /// <summary>All material that was ever opened, in order.</summary>
    public ConcurrentQueue<SecretBytes> Opened { get; } = [];

    public SecretBytes DeriveKey(string label) => new(HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(label)));

    public override Task<byte[]> SealAsync(SecretBytes material, MaterialBinding binding, CancellationToken cancellationToken)
    {
        CheckAvailable();
        byte[] blob = new byte[NonceLength + material.Length + TagLength];
        RandomNumberGenerator.Fill(blob.AsSpan(0, NonceLength));
        using AesGcm gcm = new(_key, TagLength);
        using SecretLease lease = material.Open();
        gcm.Encrypt(
            blob.AsSpan(0, NonceLength), lease.Bytes, blob.AsSpan(NonceLength, material.Length), blob.AsSpan(^TagLength..),
            binding.ToAdditionalData(instanceId, Generation));
        return Task.FromResult(blob);
    }

    public override async Task<SecretBytes> OpenAsync(byte[] blob, MaterialBinding binding, CancellationToken cancellationToken)
    {
        if (OpeningWaitsFor is Task obstacle)
        {
            await obstacle.WaitAsync(cancellationToken);
        }

        CheckAvailable();
        SecretBytes material = Open(blob, binding.ToAdditionalData(instanceId, Generation));
        Opened.Enqueue(material);
        return material;
    }

    public override Task FillRandomAsync(Memory<byte> destination, CancellationToken cancellationToken)
    {
        CheckAvailable();
        RandomNumberGenerator.Fill(destination.Span);
        return Task.CompletedTask;
    }

#pragma warning disable IDISP010 // The base's is abstract.
    protected override void Dispose(bool disposing)
#pragma warning restore IDISP010
    {
        if (disposing)
        {
            CryptographicOperations.ZeroMemory(_key);
        }
    }

    private SecretBytes Open(byte[] blob, byte[] additionalData)
    {
        if (blob.Length <= NonceLength + TagLength)
        {
            throw DoesNotAuthenticate(null);
        }

        using AesGcm gcm = new(_key, TagLength);
        byte[] material = GC.AllocateArray<byte>(blob.Length - NonceLength - TagLength, pinned: true);
        try
        {
            gcm.Decrypt(blob.AsSpan(0, NonceLength), blob.AsSpan(NonceLength, material.Length), blob.AsSpan(^TagLength..), material, additionalData);
            return new SecretBytes(material);
        }
        catch (AuthenticationTagMismatchException exception)
        {
            throw DoesNotAuthenticate(exception);
        }
    }

    private void CheckAvailable()
    {
        if (!_isAvailable)
        {
            throw new KmsException(KmsErrorCode.TokenUnavailable, "The token is away.");
        }
    }

    private static KmsException DoesNotAuthenticate(Exception? inner) =>
        new(KmsErrorCode.IntegrityFailure, "The material doesn't authenticate.", inner);
}
