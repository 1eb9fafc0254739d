using System.Collections.Concurrent;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Keys;
using Kmsd.RootKeys;

namespace Kmsd.Tests.RootKeys;

/// <summary>A root key without a token: AES-GCM in this process, with the same promises and with switches for bad days.</summary>
internal sealed class MemoryRootKey(byte[] instanceId) : RootKey
{
    public const string SealMechanism = "CKM_AES_GCM";

    private const int NonceLength = 12;
    private const int TagLength = 16;

    private readonly ConcurrentDictionary<long, byte[]> _keys = new([new(1, RandomNumberGenerator.GetBytes(32))]);
    private long _generation = 1;
    private volatile bool _isAvailable = true;

    public override long Generation => _generation;

    /// <summary>The generations whose keys it holds.</summary>
    public IEnumerable<long> Generations => _keys.Keys.Order();

    /// <summary>Called before a version is carried over; what it throws is thrown.</summary>
    public Action? OnRewrap { get; set; }

    /// <summary>Called before keys of a generation are made; what it throws is thrown.</summary>
    public Action? OnCreateGeneration { get; set; }

    /// <summary>Called before a generation's keys are destroyed; what it throws is thrown.</summary>
    public Action? OnDestroyGeneration { get; set; }

    /// <summary>Called before keys that nothing names are destroyed; what it throws is thrown.</summary>
    public Action? OnDestroyLeft { get; set; }

    /// <summary>What a copy of the token holds.</summary>
    public byte[] KeyOf(long generation) => _keys[generation];

    /// <summary>The token is put back from a copy.</summary>
    public void PutBack(long generation, byte[] key) => _keys[generation] = key;

    public override string TokenFamily => "tests/memory";

    public override bool IsAvailable => _isAvailable;

    /// <summary>While true, the token is away.</summary>
    public bool IsAway { get => !_isAvailable; set => _isAvailable = !value; }

    /// <summary>What <see cref="OpenAsync"/> waits for, if anything.</summary>
    public Task? OpeningWaitsFor { get; set; }

    /// <summary>All material that was ever opened, in order.</summary>
    public ConcurrentQueue<SecretBytes> Opened { get; } = [];

    /// <summary>All keys that it ever held, in order.</summary>
    public ConcurrentQueue<MemoryHeldKey> Held { get; } = [];

    /// <summary>What it remembers of the database; several where a write was cut off.</summary>
    public List<byte[]> Anchors { get; } = [];

    /// <summary>How many anchors were written.</summary>
    public int AnchorWrites { get; private set; }

    /// <summary>Called at each write of an anchor, before it; what it throws is thrown.</summary>
    public Action? OnAnchorWrite { get; set; }

    /// <summary>Called at each write of an anchor, after it; what it throws is thrown.</summary>
    public Action? OnAnchorWritten { get; set; }

    public SecretBytes DeriveKey(string label, long generation = 1) =>
        new(HMACSHA256.HashData(_keys[generation], Encoding.UTF8.GetBytes($"{label}/{generation}")));

    public override Task<SecretBytes> DeriveKeyAsync(string label, long generation, CancellationToken cancellationToken)
    {
        CheckAvailable();
        return Task.FromResult(DeriveKey(label, generation));
    }

    public override Task<IReadOnlyList<byte[]>> ReadAnchorsAsync()
    {
        CheckAvailable();
        return Task.FromResult<IReadOnlyList<byte[]>>([.. Anchors]);
    }

    public override Task WriteAnchorAsync(byte[] anchor)
    {
        CheckAvailable();
        OnAnchorWrite?.Invoke();
        AnchorWrites++;
        Anchors.Clear();
        Anchors.Add(anchor);
        OnAnchorWritten?.Invoke();
        return Task.CompletedTask;
    }

    public override Task RemoveAnchorsAsync()
    {
        CheckAvailable();
        Anchors.Clear();
        return Task.CompletedTask;
    }

    public override Task<SealedMaterial> SealAsync(SecretBytes material, MaterialBinding binding, CancellationToken cancellationToken)
    {
        CheckAvailable();
        return Task.FromResult(Seal(material, binding));
    }

    private SealedMaterial Seal(SecretBytes material, MaterialBinding binding)
    {
        byte[] blob = new byte[NonceLength + material.Length + TagLength];
        RandomNumberGenerator.Fill(blob.AsSpan(0, NonceLength));
        using AesGcm gcm = new(_keys[Generation], TagLength);
        using SecretLease lease = material.Open();
        gcm.Encrypt(
            blob.AsSpan(0, NonceLength), lease.Bytes, blob.AsSpan(NonceLength, material.Length), blob.AsSpan(^TagLength..),
            binding.ToAdditionalData(instanceId, Generation));
        return new SealedMaterial(Generation, SealMechanism, TokenFamily, blob);
    }

    /// <summary>Its keys are "in the token" by a promise alone.</summary>
    public override Task<(SealedMaterial Material, byte[]? PublicKey)> GenerateAsync(MaterialBinding binding, CancellationToken cancellationToken)
    {
        CheckAvailable();
        byte[]? publicKey = null;
        using SecretBytes material = binding.Type switch
        {
            KeyType.Rsa2048 => Rsa2048.NewMaterial(out publicKey),
            KeyType.EcdsaP256 => EcdsaP256.NewMaterial(out publicKey),
            _ => new SecretBytes(32, RandomNumberGenerator.Fill),
        };
        string mechanism = publicKey is null ? "CKM_AES_KEY_WRAP" : "CKM_AES_KEY_WRAP_PAD";
        SealedMaterial made = Seal(material, binding) with { Mechanism = mechanism };
        return Task.FromResult((made with { Binding = BindingOf(made, publicKey) }, publicKey));
    }

    public override async Task<HeldKey> UnwrapAsync(
        SealedMaterial material, byte[]? publicKey, MaterialBinding binding, CancellationToken cancellationToken)
    {
        SecretBytes opened = await OpenAsync(material, binding, cancellationToken);
        if (material.Binding is not byte[] code || !code.SequenceEqual(BindingOf(material, publicKey)))
        {
            opened.Dispose();
            throw DoesNotAuthenticate(null);
        }

        MemoryHeldKey held = new(this, opened);
        Held.Enqueue(held);
        return held;
    }

    /// <summary>The seal binds the fields already; this binds the public key, and serves as something to be mixed up.</summary>
    private byte[] BindingOf(SealedMaterial material, byte[]? publicKey) => HMACSHA256.HashData(_keys[material.Generation].AsSpan(), [.. material.Blob, .. publicKey ?? []]);

    public override async Task<SecretBytes> OpenAsync(SealedMaterial material, MaterialBinding binding, CancellationToken cancellationToken)
    {
        if (OpeningWaitsFor is Task obstacle)
        {
            await obstacle.WaitAsync(cancellationToken);
        }

        CheckAvailable();
        if (!_keys.ContainsKey(material.Generation))
        {
            throw DoesNotAuthenticate(null);
        }

        SecretBytes opened = Open(material, binding.ToAdditionalData(instanceId, material.Generation));
        Opened.Enqueue(opened);
        return opened;
    }

    public override async Task<IReadOnlyList<Rewrapped>> RewrapAsync(IReadOnlyList<ToRewrap> versions, long generation, CancellationToken cancellationToken)
    {
        List<Rewrapped> made = [];
        foreach (ToRewrap version in versions)
        {
            OnRewrap?.Invoke();
            try
            {
                made.Add(new Rewrapped(await RewrapAsync(version, generation, cancellationToken), null));
            }
            catch (KmsException exception) when (exception.Code == KmsErrorCode.IntegrityFailure)
            {
                made.Add(new Rewrapped(null, exception));
            }
        }

        return made;
    }

    private async Task<SealedMaterial> RewrapAsync(ToRewrap version, long generation, CancellationToken cancellationToken)
    {
        (SealedMaterial material, KeyProtection protection, byte[]? publicKey, MaterialBinding binding) = version;
        using SecretBytes opened = await OpenAsync(material, binding, cancellationToken);
        if (protection == KeyProtection.Hsm && !material.Binding!.SequenceEqual(BindingOf(material, publicKey)))
        {
            throw DoesNotAuthenticate(null);
        }

        SealedMaterial made = Seal(opened, binding) with { Mechanism = material.Mechanism };
        return protection == KeyProtection.Hsm ? made with { Binding = BindingOf(made, publicKey) } : made;
    }

    public override Task<StoredGeneration> CreateGenerationAsync(StoredGeneration planned)
    {
        CheckAvailable();
        OnCreateGeneration?.Invoke();
        _keys[planned.Number] = RandomNumberGenerator.GetBytes(32);
        return Task.FromResult(planned with
        {
            Descriptor = planned.Descriptor with { SealMechanism = SealMechanism, WrapMechanism = "CKM_AES_KEY_WRAP", TokenFamily = TokenFamily },
        });
    }

    public override Task<SecretBytes?> FindDerivedKeyAsync(string label, long generation)
    {
        CheckAvailable();
        return Task.FromResult(_keys.ContainsKey(generation) ? DeriveKey(label, generation) : null);
    }

    public override Task<IReadOnlyList<long>> FindGenerationsAsync()
    {
        CheckAvailable();
        return Task.FromResult<IReadOnlyList<long>>([.. _keys.Keys.Order()]);
    }

    public override Task DestroyLeftGenerationAsync(long generation)
    {
        CheckAvailable();
        OnDestroyLeft?.Invoke();
        _ = generation == _generation ? throw new InvalidOperationException("It is in use.") : _keys.TryRemove(generation, out byte[]? _);
        return Task.CompletedTask;
    }

    public override void Use(long generation) => _generation = _keys.ContainsKey(generation) ? generation : throw new ArgumentException("It isn't there.", nameof(generation));

    public override Task DestroyGenerationAsync(StoredGeneration generation)
    {
        CheckAvailable();
        OnDestroyGeneration?.Invoke();
        _ = _keys.TryRemove(generation.Number, out _);
        return Task.CompletedTask;
    }

    public override Task FillRandomAsync(Memory<byte> destination, CancellationToken cancellationToken)
    {
        CheckAvailable();
        RandomNumberGenerator.Fill(destination.Span);
        return Task.CompletedTask;
    }

    /// <summary>The token stays where it is when a daemon ends.</summary>
#pragma warning disable IDISP010 // The base's is abstract.
    protected override void Dispose(bool disposing)
#pragma warning restore IDISP010
    {
    }

    private SecretBytes Open(SealedMaterial sealedMaterial, byte[] additionalData)
    {
        byte[] blob = sealedMaterial.Blob;
        if (blob.Length <= NonceLength + TagLength)
        {
            throw DoesNotAuthenticate(null);
        }

        using AesGcm gcm = new(_keys[sealedMaterial.Generation], TagLength);
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

    internal void CheckAvailable()
    {
        if (!_isAvailable)
        {
            throw new KmsException(KmsErrorCode.TokenUnavailable, "The token is away.");
        }
    }

    private static KmsException DoesNotAuthenticate(Exception? inner) =>
        new(KmsErrorCode.IntegrityFailure, "The material doesn't authenticate.", inner);
}

/// <summary>A key that a root key in memory holds, used by the daemon's own software.</summary>
internal sealed class MemoryHeldKey(MemoryRootKey root, SecretBytes material) : HeldKey
{
    /// <summary>What the token does when it was reset.</summary>
    public bool WasLost { get; set; }

    public override bool IsLost => WasLost;

    public override Task<byte[]> EncryptAsync(SensitiveBytes plaintext, byte[] additionalData, CancellationToken cancellationToken) =>
        Task.FromResult(Aes256Gcm96.Encrypt(Use(), plaintext.AsSpan(), additionalData));

    public override Task<SensitiveBytes?> DecryptAsync(byte[] payload, byte[] additionalData, CancellationToken cancellationToken)
    {
        SensitiveBytes plaintext = new(payload.Length - Aes256Gcm96.Overhead);
        return Task.FromResult(Aes256Gcm96.TryDecrypt(Use(), payload, additionalData, plaintext.AsSpan()) ? plaintext : null);
    }

    public override Task<SensitiveBytes?> DecryptRawAsync(byte[] payload, CancellationToken cancellationToken)
    {
        using SecretLease lease = Use().Open();
        using var rsa = RSA.Create();
        rsa.ImportPkcs8PrivateKey(lease.Bytes, out _);
        RSAParameters parameters = rsa.ExportParameters(includePrivateParameters: true);
        BigInteger Number(byte[]? bytes) => new(bytes, isUnsigned: true, isBigEndian: true);
        BigInteger modulus = Number(parameters.Modulus);
        if (Number(payload) >= modulus)
        {
            return Task.FromResult<SensitiveBytes?>(null);
        }

        byte[] encoded = BigInteger.ModPow(Number(payload), Number(parameters.D), modulus).ToByteArray(isUnsigned: true, isBigEndian: true);
        SensitiveBytes block = new(256);
        encoded.CopyTo(block.AsSpan()[^encoded.Length..]);
        return Task.FromResult<SensitiveBytes?>(block);
    }

    public override Task<byte[]> SignAsync(byte[] digest, SignatureAlgorithm algorithm, CancellationToken cancellationToken) =>
        Task.FromResult(algorithm == SignatureAlgorithm.EcdsaSha256
            ? EcdsaP256.Sign(Use(), digest, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)
            : Rsa2048.Sign(Use(), digest, algorithm));

#pragma warning disable IDISP007, IDISP010 // The constructor takes it over; the base's is abstract.
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            material.Dispose();
        }
    }
#pragma warning restore IDISP007, IDISP010

    private SecretBytes Use()
    {
        root.CheckAvailable();
        return WasLost ? throw new KmsException(KmsErrorCode.TokenUnavailable, "The token has lost the key.") : material;
    }
}
