using Kms.Hsm;
using Kmsd.Hosting;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;

namespace Kmsd.RootKeys;

/// <summary>A root generation as the database holds it: where its keys are in the token, and how they prove who they are.</summary>
internal sealed record StoredGeneration(RootGenerationDescriptor Descriptor, DateTimeOffset CreatedAt, DateTimeOffset RotateBy)
{
    /// <summary>Made in the token and never outside it.</summary>
    public const string TokenOrigin = "token";

    private const string Current = "current";

    public long Number => Descriptor.Number;

    public void Insert(Database database, RowAuthenticator authenticator) => database.Prepare("""
        INSERT INTO root_generations (generation, origin, state, wrap_key_id, seal_key_id, mac_key_id, wrap_check, seal_check, mac_check,
            wrap_mechanism, seal_mechanism, token_family, created_at, rotate_by, share_set_id, threshold,
            mac_generation, encoding_version, row_code)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, NULL, NULL, $15, $16, $17)
        """).BindAll(
        (long)Descriptor.Number, TokenOrigin, Current, Descriptor.WrapKeyId, Descriptor.SealKeyId, Descriptor.MacKeyId,
        Descriptor.WrapCheck, Descriptor.SealCheck, Descriptor.MacCheck, Descriptor.WrapMechanism, Descriptor.SealMechanism,
        Descriptor.TokenFamily, CreatedAt.ToUnixTimeMilliseconds(), RotateBy.ToUnixTimeMilliseconds(),
        authenticator.Generation, RowEncoding.Version, authenticator.Code(Row(authenticator))).ExecuteOne();

    /// <summary>The current generation and its row's code, which can be checked only once the token has derived the key.</summary>
    /// <exception cref="StartupException">78: there is none, or it isn't readable.</exception>
    public static (StoredGeneration Generation, StoredCode Code) Read(Database database, byte[] instanceId)
    {
        List<(StoredGeneration, StoredCode)> found = [];
        try
        {
            database.Prepare("""
                SELECT generation, wrap_key_id, seal_key_id, mac_key_id, wrap_check, seal_check, mac_check, wrap_mechanism,
                    seal_mechanism, token_family, created_at, rotate_by, mac_generation, encoding_version, row_code
                FROM root_generations WHERE state = 'current' AND origin = 'token' AND share_set_id IS NULL AND threshold IS NULL
                """).Query(reader => found.Add((Read(reader, instanceId), reader.GetCode(12))));
        }
        catch (OverflowException exception)
        {
            throw new StartupException(ExitCode.Configuration, "The database names a root generation that can't be.", exception);
        }

        return found.Count == 1
            ? found[0]
            : throw new StartupException(
                ExitCode.Configuration, $"The database names {found.Count} current root generations, not one. Restore it from a backup.");
    }

    /// <exception cref="StartupException">78: the row was changed from outside.</exception>
    public void Verify(RowAuthenticator authenticator, StoredCode code)
    {
        if (!authenticator.Verify(Row(authenticator), code))
        {
            throw new StartupException(
                ExitCode.Configuration, "The root key's row of the database doesn't verify: it was changed from outside. Restore it from a backup.");
        }
    }

    private static StoredGeneration Read(SqliteDataReader reader, byte[] instanceId) => new(
        new RootGenerationDescriptor(
            checked((uint)reader.GetInt64(0)), instanceId, reader.GetBlob(1), reader.GetBlob(2), reader.GetBlob(3), reader.GetBlob(4),
            reader.GetBlob(5), reader.GetBlob(6), SealMechanism: reader.GetString(8), WrapMechanism: reader.GetString(7),
            TokenFamily: reader.GetString(9)),
        reader.GetTime(10), reader.GetTime(11));

    private RowEncoding Row(RowAuthenticator authenticator) => authenticator.Row("root_generations")
        .Add(Descriptor.Number).Add(TokenOrigin).Add(Current).Add(Descriptor.WrapKeyId).Add(Descriptor.SealKeyId)
        .Add(Descriptor.MacKeyId).Add(Descriptor.WrapCheck).Add(Descriptor.SealCheck).Add(Descriptor.MacCheck)
        .Add(Descriptor.WrapMechanism).Add(Descriptor.SealMechanism).Add(Descriptor.TokenFamily).Add(CreatedAt).Add(RotateBy)
        .Add((long?)null).Add((long?)null);
}
