namespace Kms.Client.Protocol;

/// <summary>Parameters of <c>root.rotate</c></summary>
public sealed class RotateRootRequest
{
    /// <summary>Why; 1 to 100 characters, kept in the history.</summary>
    public required string Reason { get; init; }
}

/// <summary>Parameters of <c>root.retire</c></summary>
public sealed class RetireRootRequest
{
    /// <summary>The generation whose keys are destroyed.</summary>
    public required long Generation { get; init; }

    /// <summary>Why; 1 to 100 characters, kept in the history.</summary>
    public required string Reason { get; init; }
}

/// <summary>Answer of <c>root.status</c>, <c>root.rotate</c> and <c>root.retire</c></summary>
public sealed class RootStatusResult
{
    /// <summary>The current generation.</summary>
    public required long Generation { get; init; }

    /// <summary><c>token</c> or <c>ceremony</c>.</summary>
    public required string Origin { get; init; }

    /// <summary>When the current generation was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When it must have been replaced.</summary>
    public required DateTimeOffset RotateBy { get; init; }

    /// <summary>Who holds shares of the current generation; of the others it stands with each of them.</summary>
    public required CustodyDescription Custody { get; init; }

    /// <summary>Every generation that isn't retired, oldest first.</summary>
    public required RootGenerationDescription[] Generations { get; init; }

    /// <summary>
    /// Generations whose keys the token holds though the daemon's database doesn't name them, or calls them retired: an older
    /// database or an older token was put back. Null if there are none. <c>root.retire</c> destroys them.
    /// </summary>
    public long[]? Left { get; init; }

    /// <summary>How far the re-wrapping of versions under the current generation is.</summary>
    public required RewrapDescription Rewrap { get; init; }
}

/// <summary>Who holds shares of the root key.</summary>
public sealed class CustodyDescription
{
    /// <summary>
    /// <c>none</c>: nobody holds a share; the token's own backup is all there is. <c>shares</c>: custodians do, as what follows says.
    /// </summary>
    public required string Kind { get; init; }

    /// <summary>What all shares of the set carry: four hexadecimal digits.</summary>
    public string? Set { get; init; }

    /// <summary>How many shares there are.</summary>
    public long? Count { get; init; }

    /// <summary>How many of them make the root key.</summary>
    public long? Threshold { get; init; }

    /// <summary>When shares were last proven to make it.</summary>
    public DateTimeOffset? VerifiedAt { get; init; }

    /// <summary>Who holds them.</summary>
    public ShareDescription[]? Shares { get; init; }
}

/// <summary>Who holds a share of the root key, on what and where.</summary>
public sealed class ShareDescription
{
    /// <summary>Its number, from 1.</summary>
    public required long Share { get; init; }

    /// <summary>Whose it is.</summary>
    public required string Custodian { get; init; }

    /// <summary>What it is written on.</summary>
    public required string Medium { get; init; }

    /// <summary>Which one.</summary>
    public required string MediumSerial { get; init; }

    /// <summary>The number of the seal of its bag.</summary>
    public required string Seal { get; init; }

    /// <summary>In which it lies.</summary>
    public required string Safe { get; init; }

    /// <summary>Where that is.</summary>
    public required string Site { get; init; }

    /// <summary>When these facts were recorded.</summary>
    public required DateTimeOffset RecordedAt { get; init; }

    /// <summary>When it was last proven.</summary>
    public required DateTimeOffset VerifiedAt { get; init; }
}

/// <summary>A generation of the root key.</summary>
public sealed class RootGenerationDescription
{
    /// <summary>Its number, from 1.</summary>
    public required long Generation { get; init; }

    /// <summary><c>current</c>, <c>old</c>, <c>planned</c> (being made) or <c>retiring</c> (being destroyed).</summary>
    public required string State { get; init; }

    /// <summary><c>token</c> or <c>ceremony</c>.</summary>
    public required string Origin { get; init; }

    /// <summary>When it was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>How many versions it carries.</summary>
    public required long Versions { get; init; }

    /// <summary>
    /// Who holds shares of it: an old one's are needed until it is retired, for backups from its time too. Null from a daemon that
    /// doesn't say, and for one that is planned: nobody can hold any yet.
    /// </summary>
    public CustodyDescription? Custody { get; init; }
}

/// <summary>Progress of re-wrapping.</summary>
public sealed class RewrapDescription
{
    /// <summary>Versions that the current generation carries.</summary>
    public required long Done { get; init; }

    /// <summary>Versions in all.</summary>
    public required long Total { get; init; }
}
