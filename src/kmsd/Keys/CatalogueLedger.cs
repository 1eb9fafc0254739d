using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>
/// The catalogue and its rows. Readers take <see cref="Current"/>; the writer alone changes <see cref="Staged"/>, row by row,
/// and the commit makes it current.
/// </summary>
internal sealed class CatalogueLedger(Database database, RowAuthenticator authenticator, Catalogue loaded) : IBatchParticipant
{
    private readonly Dictionary<(KeyTag Tag, long Version), KeyVersion> _usedVersions = [];
    private readonly Dictionary<KeyTag, Key> _usedKeys = [];
    private volatile Catalogue _current = loaded;
    private Catalogue _mark = loaded;

    /// <summary>What is committed.</summary>
    public Catalogue Current => _current;

    /// <summary>What the batch has made of it so far. For the writer only.</summary>
    public Catalogue Staged { get; private set; } = loaded;

    public void Add(KeyStore store)
    {
        database.Prepare("""
            INSERT INTO stores (store_id, name, created_at, mac_generation, encoding_version, row_code) VALUES ($1, $2, $3, $4, $5, $6)
            """).BindAll(
            store.Id.ToBytes(), store.Name, store.CreatedAt.ToUnixTimeMilliseconds(), authenticator.Generation, RowEncoding.Version,
            authenticator.Code(KeyRows.Store(authenticator, store))).ExecuteOne();
        Staged = Staged.With(store);
    }

    /// <summary>Adds a key with its first version. Its grants are added apart.</summary>
    public void Add(Key key)
    {
        Usage usage = key.Usage.Staged;
        database.Prepare("""
            INSERT INTO keys (tag, store_id, name, type, protection, state, memo, created_at, state_changed_at, rotation_period_days,
                pending_rotation_period_days, next_rotation_at, delete_at, current_version, mac_generation, encoding_version, row_code,
                usage_count, last_used_at, usage_code)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
            """).BindAll(
            key.Tag.ToBytes(), key.StoreId.ToBytes(), key.Name, Wire.KeyTypes[key.Type], Wire.Protections[key.Protection],
            Wire.KeyStates[key.State], key.Memo, key.CreatedAt.ToUnixTimeMilliseconds(), key.StateChangedAt.ToUnixTimeMilliseconds(),
            key.RotationPeriodDays, key.PendingRotationPeriodDays, key.NextRotationAt.ToUnixTimeMilliseconds(),
            key.DeleteAt?.ToUnixTimeMilliseconds(), key.CurrentVersion.Number, authenticator.Generation, RowEncoding.Version,
            authenticator.Code(KeyRows.Key(authenticator, key)), usage.Calls, usage.LastUsedAt?.ToUnixTimeMilliseconds(),
            authenticator.Code(KeyRows.KeyUsage(authenticator, key.Tag, usage))).ExecuteOne();
        foreach (KeyVersion version in key.Versions)
        {
            Insert(key.Tag, version);
        }

        Staged = Staged.With(key);
    }

    public void Add(KeyTag tag, Grant grant)
    {
        database.Prepare("""
            INSERT INTO grants (tag, principal, role, granted_at, mac_generation, encoding_version, row_code)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """).BindAll(
            tag.ToBytes(), grant.Principal.ToString(), Wire.KeyRoles[grant.Role], grant.GrantedAt.ToUnixTimeMilliseconds(),
            authenticator.Generation, RowEncoding.Version, authenticator.Code(KeyRows.Grant(authenticator, tag, grant))).ExecuteOne();
        Key key = Staged.Keys[tag];
        Staged = Staged.With(key with { Grants = key.Grants.Add(grant) });
    }

    public void Remove(KeyTag tag, Grant grant)
    {
        database.Prepare("DELETE FROM grants WHERE tag = $1 AND principal = $2 AND role = $3")
            .BindAll(tag.ToBytes(), grant.Principal.ToString(), Wire.KeyRoles[grant.Role]).ExecuteOne();
        Key key = Staged.Keys[tag];
        Staged = Staged.With(key with { Grants = key.Grants.Remove(grant) });
    }

    /// <summary>Adds a member, or replaces the role of the one that is there.</summary>
    public void Put(StoreId id, Member member)
    {
        database.Prepare("""
            INSERT INTO members (store_id, principal, role, since, mac_generation, encoding_version, row_code)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (store_id, principal) DO UPDATE SET role = excluded.role, since = excluded.since,
                mac_generation = excluded.mac_generation, encoding_version = excluded.encoding_version, row_code = excluded.row_code
            """).BindAll(
            id.ToBytes(), member.Principal.ToString(), Wire.StoreRoles[member.Role], member.Since.ToUnixTimeMilliseconds(),
            authenticator.Generation, RowEncoding.Version, authenticator.Code(KeyRows.Member(authenticator, id, member))).ExecuteOne();
        KeyStore store = Staged.Stores[id];
        Staged = Staged.With(store with
        {
            Members = [.. store.Members.Where(other => other.Principal != member.Principal), member],
        });
    }

    public void Remove(StoreId id, Member member)
    {
        database.Prepare("DELETE FROM members WHERE store_id = $1 AND principal = $2")
            .BindAll(id.ToBytes(), member.Principal.ToString()).ExecuteOne();
        KeyStore store = Staged.Stores[id];
        Staged = Staged.With(store with { Members = store.Members.Remove(member) });
    }

    /// <summary>Counts one request on a key; the rows are written once a batch.</summary>
    public void CountUse(Key key, KeyVersion version, long items, DateTimeOffset at)
    {
        key.Usage.Staged = key.Usage.Staged.Plus(items, at);
        version.Usage.Staged = version.Usage.Staged.Plus(items, at);
        _usedKeys[key.Tag] = key;
        _usedVersions[(key.Tag, version.Number)] = version;
    }

    public void Mark() => _mark = Staged;

    public void ReturnToMark() => Staged = _mark;

    public void Flush()
    {
        foreach (Key key in _usedKeys.Values)
        {
            Usage usage = key.Usage.Staged;
            database.Prepare("UPDATE keys SET usage_count = $2, last_used_at = $3, usage_code = $4 WHERE tag = $1").BindAll(
                key.Tag.ToBytes(), usage.Calls, usage.LastUsedAt?.ToUnixTimeMilliseconds(),
                authenticator.Code(KeyRows.KeyUsage(authenticator, key.Tag, usage))).ExecuteOne();
        }

        foreach (((KeyTag tag, long number), KeyVersion version) in _usedVersions)
        {
            Usage usage = version.Usage.Staged;
            database.Prepare("""
                UPDATE versions SET usage_count = $3, item_count = $4, last_used_at = $5, usage_code = $6 WHERE tag = $1 AND version = $2
                """).BindAll(
                tag.ToBytes(), number, usage.Calls, usage.Items, usage.LastUsedAt?.ToUnixTimeMilliseconds(),
                authenticator.Code(KeyRows.VersionUsage(authenticator, tag, number, usage))).ExecuteOne();
        }
    }

    public void Commit()
    {
        Settle(counter => counter.Commit());
        _current = Staged;
    }

    public void Rollback()
    {
        Settle(counter => counter.Rollback());
        Staged = _current;
    }

    private void Settle(Action<UsageCounter> settle)
    {
        foreach (Key key in _usedKeys.Values)
        {
            settle(key.Usage);
        }

        foreach (KeyVersion version in _usedVersions.Values)
        {
            settle(version.Usage);
        }

        _usedKeys.Clear();
        _usedVersions.Clear();
    }

    private void Insert(KeyTag tag, KeyVersion version)
    {
        Usage usage = version.Usage.Staged;
        database.Prepare("""
            INSERT INTO versions (tag, version, state, created_at, state_changed_at, public_key, encryptions_reserved, mac_generation,
                encoding_version, row_code, usage_count, item_count, last_used_at, usage_code)
            VALUES ($1, $2, $3, $4, $5, NULL, 0, $6, $7, $8, $9, $10, $11, $12)
            """).BindAll(
            tag.ToBytes(), version.Number, Wire.KeyStates[version.State], version.CreatedAt.ToUnixTimeMilliseconds(),
            version.StateChangedAt.ToUnixTimeMilliseconds(), authenticator.Generation, RowEncoding.Version,
            authenticator.Code(KeyRows.Version(authenticator, tag, version)), usage.Calls, usage.Items,
            usage.LastUsedAt?.ToUnixTimeMilliseconds(),
            authenticator.Code(KeyRows.VersionUsage(authenticator, tag, version.Number, usage))).ExecuteOne();
        SealedMaterial material = version.Material;
        database.Prepare("""
            INSERT INTO version_material (tag, version, generation, mechanism, token_family, blob, binding, mac_generation,
                encoding_version, row_code)
            VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, $8, $9)
            """).BindAll(
            tag.ToBytes(), version.Number, material.Generation, material.Mechanism, material.TokenFamily, material.Blob,
            authenticator.Generation, RowEncoding.Version,
            authenticator.Code(KeyRows.Material(authenticator, tag, version.Number, material))).ExecuteOne();
    }
}
