using System.Collections.Immutable;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.RootKeys;

namespace Kmsd.Keys;

/// <summary>A master key: what it is, its versions, and who holds which role on it. Its material is sealed.</summary>
internal sealed record Key
{
    public required KeyTag Tag { get; init; }

    public required StoreId StoreId { get; init; }

    public required string Name { get; init; }

    public required KeyType Type { get; init; }

    public required KeyProtection Protection { get; init; }

    public required KeyState State { get; init; }

    public required string Memo { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required DateTimeOffset StateChangedAt { get; init; }

    public required int RotationPeriodDays { get; init; }

    public int? PendingRotationPeriodDays { get; init; }

    public required DateTimeOffset NextRotationAt { get; init; }

    public DateTimeOffset? DeleteAt { get; init; }

    /// <summary>In order of their numbers, which start at 1 and have no gaps.</summary>
    public required ImmutableArray<KeyVersion> Versions { get; init; }

    public ImmutableArray<Grant> Grants { get; init; } = [];

    /// <summary>Shared by all snapshots of the key.</summary>
    public UsageCounter Usage { get; init; } = new(default);

    /// <summary>A row of the key doesn't match its code: it isn't served.</summary>
    public bool IsQuarantined { get; init; }

    /// <summary>The newest version, which seals.</summary>
    public KeyVersion CurrentVersion => Versions[^1];

    /// <summary>The version, if key and version may be used.</summary>
    /// <exception cref="KmsException"><c>invalidState</c>, with the state; <c>invalidCiphertext</c> if there is no such version.</exception>
    public KeyVersion Usable(long number)
    {
        if (State != KeyState.Enabled)
        {
            throw Refusals.OfKey(KmsErrorCode.InvalidState, State == KeyState.PendingDeletion
                ? $"The key '{Name}' is {Wire.KeyStates[State]}; to use it, call its deletion off (keys.cancelDeletion) and enable it (keys.enable)."
                : $"The key '{Name}' is {Wire.KeyStates[State]}; enable it to use it (keys.enable).");
        }

        KeyVersion version = FindVersion(number) ?? throw Refusals.DoesNotAuthenticate();
        return version.State == KeyState.Enabled
            ? version
            : throw Refusals.OfKey(
                KmsErrorCode.InvalidState, $"Version {number} of '{Name}' is {Wire.KeyStates[version.State]}; enable it to use it (versions.list, versions.enable).");
    }

    /// <summary>With one version changed.</summary>
    public Key With(KeyVersion version) => this with { Versions = Versions.SetItem((int)version.Number - 1, version) };

    /// <summary>What a version's own state and the key's make of it.</summary>
    public KeyState EffectiveStateOf(KeyVersion version) => State == KeyState.Enabled ? version.State : State;

    /// <summary>What the material of one of its versions belongs to.</summary>
    public MaterialBinding BindingOf(long number) => new(StoreId.ToBytes(), Tag, number, Type);

    public KeyVersion? FindVersion(long number) =>
        number >= 1 && number <= Versions.Length ? Versions[(int)number - 1] : null;
}

/// <summary>One version of a key.</summary>
internal sealed record KeyVersion
{
    public required long Number { get; init; }

    /// <summary><see cref="KeyState.Enabled"/> or <see cref="KeyState.Disabled"/>.</summary>
    public required KeyState State { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required DateTimeOffset StateChangedAt { get; init; }

    public required SealedMaterial Material { get; init; }

    /// <summary>SubjectPublicKeyInfo (RFC 5280) in DER; null for symmetric keys. Used only once it is proven.</summary>
    public byte[]? PublicKey { get; init; }

    /// <summary>Shared by all snapshots of the version.</summary>
    public PublicKeyProof Proof { get; init; } = new();

    /// <summary>
    /// How many encryptions the disk allows for: written in full ahead of use, so that a power cut never makes the count of
    /// encryptions too low.
    /// </summary>
    public long EncryptionsReserved { get; init; }

    /// <summary>How many encryptions of former runs of the daemon may be missing in the counter: at most what they had reserved.</summary>
    public long EncryptionsUncounted { get; init; }

    /// <summary>An upper bound of the encryptions under this version, as the batch being written sees it. For the writer only.</summary>
    public long MostEncryptions => EncryptionsUncounted + Usage.Staged.Items;

    /// <summary>Shared by all snapshots of the version.</summary>
    public UsageCounter Usage { get; init; } = new(default);
}

/// <summary>
/// Whether this run of the daemon has seen that a version's public key, as the database holds it, belongs to its private key,
/// which its blob is bound to. It can't change while the daemon runs.
/// </summary>
internal sealed class PublicKeyProof
{
    private volatile bool _isGiven;

    public bool IsGiven => _isGiven;

    public void Give() => _isGiven = true;
}
