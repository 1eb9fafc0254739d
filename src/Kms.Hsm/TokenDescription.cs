namespace Kms.Hsm;

/// <summary>Which token is meant: exactly one of the two is given, and exactly one token must match.</summary>
/// <param name="Label">CKA token label, without its padding.</param>
/// <param name="Serial">Serial number, without its padding.</param>
public sealed record TokenSelector(string? Label, string? Serial)
{
    /// <summary>For a sentence, such as <c>label 'kmsd'</c>.</summary>
    public override string ToString() => Label is null ? $"serial '{Serial}'" : $"label '{Label}'";
}

/// <summary>How a token is used.</summary>
public sealed record TokenOptions
{
    /// <summary>Worker sessions, 1 or more; the token may allow fewer.</summary>
    public int Sessions { get; init; } = 8;

    /// <summary>How long a caller waits for a session or for the gate.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Values are put into the token wrapped by a key of its own, also where it would take them plain.</summary>
    public bool ImportsWrapped { get; init; }
}

/// <summary>What a token says of itself (CK_TOKEN_INFO, PKCS#11 v2.40 §3.2).</summary>
/// <param name="Label">The label.</param>
/// <param name="Serial">The serial number.</param>
/// <param name="Manufacturer">The manufacturer.</param>
/// <param name="Model">The model.</param>
/// <param name="Firmware">Firmware version, <c>major.minor</c>.</param>
public sealed record TokenDescription(string Label, string Serial, string Manufacturer, string Model, string Firmware)
{
    /// <summary>Tokens of one family make blobs that another of it opens; stored with each blob.</summary>
    public string Family => $"{Manufacturer}/{Model}";
}

/// <summary>What the self-test saw the token do, whatever its mechanism list says.</summary>
/// <param name="AesGcm">CKM_AES_GCM with additional data, and a changed tag refused.</param>
/// <param name="AesKeyWrap">CKM_AES_KEY_WRAP: wrapped, unwrapped, and the same key again.</param>
/// <param name="HmacSha256">CKM_SHA256_HMAC with a generic secret, equal to .NET's.</param>
public sealed record TokenCapabilities(bool AesGcm, bool AesKeyWrap, bool HmacSha256);

/// <summary>A root generation as the database keeps it: where its keys are, and how they prove who they are. Nothing in it is secret.</summary>
/// <param name="Number">From 1.</param>
/// <param name="InstanceId">16 bytes; bound into labels and derived keys.</param>
/// <param name="WrapKeyId">CKA_ID of the wrap key.</param>
/// <param name="SealKeyId">CKA_ID of the seal key.</param>
/// <param name="MacKeyId">CKA_ID of the mac key.</param>
/// <param name="WrapCheck">A known key, wrapped.</param>
/// <param name="SealCheck">A known text, sealed.</param>
/// <param name="MacCheck">The MAC of a known text.</param>
/// <param name="SealMechanism">How material is sealed.</param>
/// <param name="WrapMechanism">How keys are wrapped.</param>
/// <param name="TokenFamily">The family of the token that made it.</param>
public sealed record RootGenerationDescriptor(
    uint Number,
    byte[] InstanceId,
    byte[] WrapKeyId,
    byte[] SealKeyId,
    byte[] MacKeyId,
    byte[] WrapCheck,
    byte[] SealCheck,
    byte[] MacCheck,
    string SealMechanism,
    string WrapMechanism,
    string TokenFamily)
{
    /// <summary>A generation whose keys aren't made yet: with the ids that they will have, and without check values.</summary>
    /// <param name="number">From 1.</param>
    /// <param name="instanceId">16 bytes.</param>
    public static RootGenerationDescriptor Plan(uint number, ReadOnlySpan<byte> instanceId)
    {
        ArgumentOutOfRangeException.ThrowIfZero(number);
        return new RootGenerationDescriptor(
            number, instanceId.ToArray(), RootKeyObjects.NewId(), RootKeyObjects.NewId(), RootKeyObjects.NewId(), [], [], [], "", "", "");
    }
}
