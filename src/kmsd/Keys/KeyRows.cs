using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>How stores, members, keys, versions, material and grants are encoded for their codes.</summary>
internal static class KeyRows
{
    public static RowEncoding Store(RowAuthenticator authenticator, KeyStore store) =>
        authenticator.Row("stores").Add(store.Id.ToBytes()).EndId().Add(store.Name).Add(store.CreatedAt);

    public static RowEncoding Member(RowAuthenticator authenticator, StoreId store, Member member) =>
        authenticator.Row("members").Add(store.ToBytes()).Add(member.Principal.ToString()).EndId().Add(Wire.StoreRoles[member.Role])
            .Add(member.Since);

    public static RowEncoding Key(RowAuthenticator authenticator, Key key) =>
        authenticator.Row("keys").Add(key.Tag.ToBytes()).EndId().Add(key.StoreId.ToBytes()).Add(key.Name).Add(Wire.KeyTypes[key.Type])
            .Add(Wire.Protections[key.Protection]).Add(Wire.KeyStates[key.State]).Add(key.Memo).Add(key.CreatedAt)
            .Add(key.StateChangedAt).Add(key.RotationPeriodDays).Add((long?)key.PendingRotationPeriodDays)
            .Add(key.NextRotationAt).Add(key.DeleteAt).Add(key.CurrentVersion.Number);

    public static RowEncoding KeyUsage(RowAuthenticator authenticator, KeyTag tag, Usage usage) =>
        authenticator.Row("keys.usage").Add(tag.ToBytes()).Add(usage.Calls).Add(usage.LastUsedAt);

    public static RowEncoding Version(RowAuthenticator authenticator, KeyTag tag, KeyVersion version) =>
        authenticator.Row("versions").Add(tag.ToBytes()).Add(version.Number).EndId().Add(Wire.KeyStates[version.State])
            .Add(version.CreatedAt).Add(version.StateChangedAt).Add(version.PublicKey).Add(version.EncryptionsReserved);

    public static RowEncoding VersionUsage(RowAuthenticator authenticator, KeyTag tag, long version, Usage usage) =>
        authenticator.Row("versions.usage").Add(tag.ToBytes()).Add(version).Add(usage.Calls).Add(usage.Items)
            .Add(usage.LastUsedAt);

    public static RowEncoding Material(RowAuthenticator authenticator, KeyTag tag, long version, SealedMaterial material) =>
        MaterialId(authenticator, tag, version, material.Generation).Add(material.Mechanism).Add(material.TokenFamily).Add(material.Blob).Add(material.Binding);

    /// <summary>What names a row of material.</summary>
    public static RowEncoding MaterialId(RowAuthenticator authenticator, KeyTag tag, long version, long generation) =>
        authenticator.Row("version_material").Add(tag.ToBytes()).Add(version).Add(generation).EndId();

    public static RowEncoding Deleted(RowAuthenticator authenticator, DeletedKey key) =>
        authenticator.Row("deleted_keys").Add(key.Tag.ToBytes()).EndId().Add(key.StoreId.ToBytes()).Add(key.Store).Add(key.Name)
            .Add(Wire.KeyTypes[key.Type]).Add(Wire.Protections[key.Protection]).Add(key.CreatedAt).Add(key.RequestedAt)
            .Add(key.DeletedAt).Add(key.PurgeAt).Add(key.Versions).Add(key.UsageCount).Add(key.ItemCount).Add(key.LastUsedAt)
            .Add(key.GrantsText);

    public static RowEncoding Grant(RowAuthenticator authenticator, KeyTag tag, Grant grant) =>
        authenticator.Row("grants").Add(tag.ToBytes()).Add(grant.Principal.ToString()).Add(Wire.KeyRoles[grant.Role]).EndId()
            .Add(grant.GrantedAt);
}
