using Kms.Hsm;
using Kmsd.Hosting;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.RootKeys;

/// <summary>Where a root generation stands.</summary>
internal enum GenerationState
{
    None = 0,

    /// <summary>Its keys are to be made, or were made and not taken into use: whatever of them is in the token is removed.</summary>
    Planned = 1,

    /// <summary>It carries and vouches for what is made now. Exactly one does.</summary>
    Current = 2,

    /// <summary>It may still carry versions that the current one carries too.</summary>
    Old = 3,

    /// <summary>Nothing needs it any more; its keys are being destroyed.</summary>
    Retiring = 4,

    /// <summary>Its keys are destroyed.</summary>
    Retired = 5,
}

/// <summary>The set of shares into which a ceremony split a root key.</summary>
/// <param name="Id">The identifier that all shares of the set carry (SLIP-39), 15 bits.</param>
/// <param name="Threshold">How many of them make the key.</param>
/// <param name="Check">Tells the secret that they make from others: 8 bytes.</param>
internal sealed record ShareSet(long Id, long Threshold, byte[] Check)
{
    /// <summary>As custodians write it: four hexadecimal digits.</summary>
    public string Name => Id.ToString("x4", System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>A root generation as the database holds it: where its keys are in the token, and how they prove who they are.</summary>
internal sealed record StoredGeneration(
    RootGenerationDescriptor Descriptor, string Origin, GenerationState State, ShareSet? Shares, DateTimeOffset CreatedAt, DateTimeOffset RotateBy)
{
    /// <summary>Made in the token and never outside it.</summary>
    public const string TokenOrigin = "token";

    /// <summary>Made outside and split among custodians.</summary>
    public const string CeremonyOrigin = "ceremony";

    // In the order of the enumeration; its zero is no state.
    private static readonly string[] s_states = ["", "planned", "current", "old", "retiring", "retired"];

    public long Number => Descriptor.Number;

    public string StateName => s_states[(int)State];

    /// <summary>Who holds shares of it, in one word.</summary>
    public string Custody => Shares is null ? "none" : "shares";

    /// <summary>Its keys must be in the token.</summary>
    public bool IsInToken => State is GenerationState.Current or GenerationState.Old;

    /// <summary>One whose keys are to be made.</summary>
    public static StoredGeneration Plan(long number, byte[] instanceId, string origin, DateTimeOffset now, int rotateDays) => new(
        RootGenerationDescriptor.Plan(checked((uint)number), instanceId), origin, GenerationState.Planned, Shares: null, now, now.AddDays(rotateDays));

    /// <summary>Adds the row, or replaces what it said.</summary>
    public void Put(Database database, RowAuthenticator authenticator, RowSet rows) => database.Prepare("""
        INSERT INTO root_generations (generation, origin, state, wrap_key_id, seal_key_id, mac_key_id, wrap_check, seal_check, mac_check,
            wrap_mechanism, seal_mechanism, token_family, created_at, rotate_by, share_set_id, threshold,
            secret_check, mac_generation, encoding_version, row_code)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
        ON CONFLICT (generation) DO UPDATE SET origin = excluded.origin, state = excluded.state, wrap_key_id = excluded.wrap_key_id,
            seal_key_id = excluded.seal_key_id, mac_key_id = excluded.mac_key_id, wrap_check = excluded.wrap_check,
            seal_check = excluded.seal_check, mac_check = excluded.mac_check, wrap_mechanism = excluded.wrap_mechanism,
            seal_mechanism = excluded.seal_mechanism, token_family = excluded.token_family, created_at = excluded.created_at,
            rotate_by = excluded.rotate_by, share_set_id = excluded.share_set_id, threshold = excluded.threshold, secret_check = excluded.secret_check,
            mac_generation = excluded.mac_generation, encoding_version = excluded.encoding_version, row_code = excluded.row_code
        """).BindAll(
        (long)Descriptor.Number, Origin, StateName, Descriptor.WrapKeyId, Descriptor.SealKeyId, Descriptor.MacKeyId,
        Descriptor.WrapCheck, Descriptor.SealCheck, Descriptor.MacCheck, Descriptor.WrapMechanism, Descriptor.SealMechanism,
        Descriptor.TokenFamily, CreatedAt.ToUnixTimeMilliseconds(), RotateBy.ToUnixTimeMilliseconds(), Shares?.Id, Shares?.Threshold, Shares?.Check,
        authenticator.Generation, RowEncoding.Version, rows.Put(Row(authenticator))).ExecuteOne();

    /// <summary>Removes the row of a generation that was planned and never taken into use.</summary>
    public void Delete(Database database, RowAuthenticator authenticator, RowSet rows)
    {
        database.Prepare("DELETE FROM root_generations WHERE generation = $1").BindAll(Number).ExecuteOne();
        rows.Remove(Row(authenticator));
    }

    /// <summary>All generations, and their rows' codes, which can be checked only once the token has derived the keys.</summary>
    /// <exception cref="StartupException">78: not exactly one is current, or one isn't readable.</exception>
    public static IReadOnlyList<(StoredGeneration Generation, StoredCode Code)> ReadAll(Database database, byte[] instanceId)
    {
        List<(StoredGeneration Generation, StoredCode Code)> found = [];
        try
        {
            database.Prepare("""
                SELECT generation, origin, state, wrap_key_id, seal_key_id, mac_key_id, wrap_check, seal_check, mac_check, wrap_mechanism,
                    seal_mechanism, token_family, created_at, rotate_by, share_set_id, threshold, mac_generation, encoding_version, row_code,
                    secret_check
                FROM root_generations ORDER BY generation
                """).Query(reader => found.Add((Read(reader, instanceId), reader.GetCode(16))));
        }
        catch (Exception exception) when (exception is OverflowException or FormatException)
        {
            throw new StartupException(ExitCode.Configuration, "The database names a root generation that can't be.", exception);
        }

        int current = found.Count(one => one.Generation.State == GenerationState.Current);
        return current == 1
            ? found
            : throw new StartupException(
                ExitCode.Configuration, $"The database names {current} current root generations, not one. {StartupException.RestoreBackup}");
    }

    /// <exception cref="StartupException">78: the row was changed from outside.</exception>
    public void Verify(RowAuthenticator authenticator, StoredCode code)
    {
        if (!authenticator.Verify(Row(authenticator), code))
        {
            throw new StartupException(
                ExitCode.Configuration, $"The root key's row of the database doesn't verify: it was changed from outside. {StartupException.RestoreBackup}");
        }
    }

    private static StoredGeneration Read(SqliteDataReader reader, byte[] instanceId) => new(
        new RootGenerationDescriptor(
            checked((uint)reader.GetInt64(0)), instanceId, reader.GetBlob(3), reader.GetBlob(4), reader.GetBlob(5), reader.GetBlob(6),
            reader.GetBlob(7), reader.GetBlob(8), SealMechanism: reader.GetString(10), WrapMechanism: reader.GetString(9),
            TokenFamily: reader.GetString(11)),
        reader.GetString(1),
        Array.IndexOf(s_states, reader.GetString(2), 1) is > 0 and int state ? (GenerationState)state : throw new FormatException("An unknown state."),
        ReadShares(reader), reader.GetTime(12), reader.GetTime(13));

    private static ShareSet? ReadShares(SqliteDataReader reader) =>
        (reader.GetNumberOrNull(14), reader.GetNumberOrNull(15), reader.GetBlobOrNull(19)) switch
        {
            (null, null, null) => null,
            (long id, long threshold, { } check) => new ShareSet(id, threshold, check),
            _ => throw new FormatException("Half of a set of shares."),
        };

    private RowEncoding Row(RowAuthenticator authenticator) => authenticator.Row("root_generations")
        .Add(Descriptor.Number).EndId().Add(Origin).Add(StateName).Add(Descriptor.WrapKeyId).Add(Descriptor.SealKeyId)
        .Add(Descriptor.MacKeyId).Add(Descriptor.WrapCheck).Add(Descriptor.SealCheck).Add(Descriptor.MacCheck)
        .Add(Descriptor.WrapMechanism).Add(Descriptor.SealMechanism).Add(Descriptor.TokenFamily).Add(CreatedAt).Add(RotateBy)
        .Add(Shares?.Id).Add(Shares?.Threshold).Add(Shares?.Check);
}
