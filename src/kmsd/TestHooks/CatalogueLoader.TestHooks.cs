#if KMS_TEST_HOOKS
using Kms.Client.Protocol;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>
/// <c>KMSD_TEST_RECODE=1</c>: versions and their material, as they stand in the database, get valid codes at start. So a test sees
/// what stops exchanged blobs and public keys when row codes don't.
/// </summary>
internal sealed partial class CatalogueLoader
{
    partial void RecodeForTest()
    {
        if (Environment.GetEnvironmentVariable("KMSD_TEST_RECODE") != "1")
        {
            return;
        }

        List<(KeyTag Tag, long Number, SealedMaterial Material)> materials = [];
        database.Prepare("SELECT tag, version, generation, mechanism, token_family, blob, binding FROM version_material").Query(row => materials.Add((
            KeyTag.FromBytes(row.GetBlob(0)),
            row.GetInt64(1),
            new SealedMaterial(row.GetInt64(2), row.GetString(3), row.GetString(4), row.GetBlob(5), row.GetBlobOrNull(6)))));
        foreach ((KeyTag tag, long number, SealedMaterial material) in materials)
        {
            database.Prepare("UPDATE version_material SET row_code = $3 WHERE tag = $1 AND version = $2")
                .BindAll(tag.ToBytes(), number, authenticator.Code(KeyRows.Material(authenticator, tag, number, material))).ExecuteOne();
        }

        List<(KeyTag Tag, KeyVersion Version)> versions = [];
        database.Prepare("SELECT tag, version, state, created_at, state_changed_at, public_key, encryptions_reserved FROM versions").Query(row => versions.Add((
            KeyTag.FromBytes(row.GetBlob(0)),
            new KeyVersion
            {
                Number = row.GetInt64(1),
                State = Parse(Wire.KeyStates, row.GetString(2)),
                CreatedAt = row.GetTime(3),
                StateChangedAt = row.GetTime(4),
                PublicKey = row.GetBlobOrNull(5),
                EncryptionsReserved = row.GetInt64(6),
                Material = materials.Find(of => of.Tag.ToBytes().SequenceEqual(row.GetBlob(0)) && of.Number == row.GetInt64(1)).Material,
            })));
        foreach ((KeyTag tag, KeyVersion version) in versions)
        {
            database.Prepare("UPDATE versions SET row_code = $3 WHERE tag = $1 AND version = $2")
                .BindAll(tag.ToBytes(), version.Number, authenticator.Code(KeyRows.Version(authenticator, tag, version))).ExecuteOne();
        }
    }
}
#endif
