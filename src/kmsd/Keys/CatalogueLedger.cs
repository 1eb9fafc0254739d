using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>
/// The catalogue and its rows. Readers take <see cref="Current"/>; the writer alone changes <see cref="Staged"/>, row by row,
/// and the commit makes it current.
/// </summary>
internal sealed class CatalogueLedger(Database database, RowAuthenticator authenticator, RowSet rows, Catalogue loaded) : IBatchParticipant
{
    // How many uses the counters on the disk may lag behind the history, from which a start makes up for them.
    private const int MostUsesUnwritten = 4096;

    // What the batch has counted, and what was counted since the counters were written.
    private readonly Dictionary<(KeyTag Tag, long Version), KeyVersion> _usedVersions = [];
    private readonly Dictionary<KeyTag, Key> _usedKeys = [];
    private readonly Dictionary<(KeyTag Tag, long Version), KeyVersion> _unwrittenVersions = [];
    private readonly Dictionary<KeyTag, Key> _unwrittenKeys = [];
    private static readonly string[] s_deletes =
    [
        "DELETE FROM versions WHERE tag = $1", "DELETE FROM grants WHERE tag = $1", "DELETE FROM keys WHERE tag = $1",
    ];

    private volatile Catalogue _current = loaded;
    private Catalogue _mark = loaded;
    private UsageMark _usage = loaded.Usage;
    private UsageMark _markedUsage = loaded.Usage;
    private UsageMark _committedUsage = loaded.Usage;
    private UsageMark _writtenUsage = loaded.Usage;
    private int _usesUnwritten;
    private int _usesInBatch;
    private bool _isWritten;

    // Some counter was written in this batch: all others, and the mark, must be as well.
    private bool _mustWriteUsage;

    /// <summary>What is committed.</summary>
    public Catalogue Current => _current;

    /// <summary>What the batch has made of it so far. For the writer only.</summary>
    public Catalogue Staged { get; private set; } = loaded;

    /// <summary>Whether a version may be used, by what is committed.</summary>
    public bool Stands(KeyTag tag, long version) =>
        Current.Keys.GetValueOrDefault(tag) is { State: KeyState.Enabled } key && key.FindVersion(version)?.State == KeyState.Enabled;

    public void Add(KeyStore store)
    {
        database.Prepare("""
            INSERT INTO stores (store_id, name, created_at, mac_generation, encoding_version, row_code) VALUES ($1, $2, $3, $4, $5, $6)
            """).BindAll(
            store.Id.ToBytes(), store.Name, store.CreatedAt.ToUnixTimeMilliseconds(), authenticator.Generation, RowEncoding.Version,
            rows.Put(KeyRows.Store(authenticator, store))).ExecuteOne();
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
            rows.Put(KeyRows.Key(authenticator, key)), usage.Calls, usage.LastUsedAt?.ToUnixTimeMilliseconds(),
            authenticator.Code(KeyRows.KeyUsage(authenticator, key.Tag, usage))).ExecuteOne();
        foreach (KeyVersion version in key.Versions)
        {
            Insert(key.Tag, version);
        }

        Staged = Staged.With(key);
    }

    /// <summary>Writes what changed of a key: its row, changed versions, and a new one. Grants are changed apart.</summary>
    public void Replace(Key key)
    {
        Key before = Staged.Keys[key.Tag];
        database.Prepare("""
            UPDATE keys SET name = $2, state = $3, memo = $4, state_changed_at = $5, rotation_period_days = $6,
                pending_rotation_period_days = $7, next_rotation_at = $8, delete_at = $9, current_version = $10, mac_generation = $11,
                encoding_version = $12, row_code = $13 WHERE tag = $1
            """).BindAll(
            key.Tag.ToBytes(), key.Name, Wire.KeyStates[key.State], key.Memo, key.StateChangedAt.ToUnixTimeMilliseconds(),
            key.RotationPeriodDays, key.PendingRotationPeriodDays, key.NextRotationAt.ToUnixTimeMilliseconds(),
            key.DeleteAt?.ToUnixTimeMilliseconds(), key.CurrentVersion.Number, authenticator.Generation, RowEncoding.Version,
            rows.Put(KeyRows.Key(authenticator, key))).ExecuteOne();
        foreach (KeyVersion version in key.Versions)
        {
            KeyVersion? old = before.FindVersion(version.Number);
            if (old is null)
            {
                Insert(key.Tag, version);
            }
            else if (!ReferenceEquals(old, version))
            {
                Update(key.Tag, version);
            }
        }

        Staged = Staged.With(key);
    }

    /// <summary>
    /// Destroys a key: its sealed material is overwritten, its other rows are deleted, and what remains is written. The write-ahead
    /// log must be emptied after the commit.
    /// </summary>
    public void Destroy(Key key, DeletedKey remains)
    {
        byte[] tag = key.Tag.ToBytes();
        Forget(key);
        DestroyedMaterial.Overwrite(database, tag);
        foreach (string sql in s_deletes)
        {
            database.Prepare(sql).BindAll(tag).Execute();
        }

        database.Prepare("""
            INSERT INTO deleted_keys (tag, store_id, store, name, type, protection, created_at, requested_at, deleted_at, purge_at, versions,
                usage_count, item_count, last_used_at, last_grants, mac_generation, encoding_version, row_code)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
            """).BindAll(
            tag, remains.StoreId.ToBytes(), remains.Store, remains.Name, Wire.KeyTypes[remains.Type], Wire.Protections[remains.Protection],
            remains.CreatedAt.ToUnixTimeMilliseconds(), remains.RequestedAt.ToUnixTimeMilliseconds(), remains.DeletedAt.ToUnixTimeMilliseconds(), remains.PurgeAt.ToUnixTimeMilliseconds(),
            remains.Versions, remains.UsageCount, remains.ItemCount, remains.LastUsedAt?.ToUnixTimeMilliseconds(), remains.GrantsText, authenticator.Generation, RowEncoding.Version,
            rows.Put(KeyRows.Deleted(authenticator, remains))).ExecuteOne();

        _usage = _usage with { Calls = _usage.Calls - key.Usage.Staged.Calls, Items = _usage.Items - key.Versions.Sum(version => version.Usage.Staged.Items) };
        Staged = Staged.Without(key).With(remains);
    }

    /// <summary>Removes what remained of a deleted key.</summary>
    public void Purge(DeletedKey remains)
    {
        database.Prepare("DELETE FROM deleted_keys WHERE tag = $1").BindAll(remains.Tag.ToBytes()).ExecuteOne();
        rows.Remove(KeyRows.Deleted(authenticator, remains));
        Staged = Staged.Without(remains);
    }

    /// <summary>
    /// Writes a key's rows anew under the current root generation, and adds material that it carries. Of what was re-wrapped from
    /// material that isn't the version's any more, nothing is taken.
    /// </summary>
    /// <param name="key">As it is staged.</param>
    /// <param name="rewrapped">By the versions' numbers: from what, and what came of it.</param>
    public void Rewrap(Key key, IReadOnlyDictionary<long, (SealedMaterial From, SealedMaterial To)> rewrapped)
    {
        _mustWriteUsage = true;
        byte[] tag = key.Tag.ToBytes();
        Usage usage = key.Usage.Staged;
        database.Prepare("""
            UPDATE keys SET mac_generation = $2, encoding_version = $3, row_code = $4, usage_count = $5, last_used_at = $6, usage_code = $7
            WHERE tag = $1
            """).BindAll(
            tag, authenticator.Generation, RowEncoding.Version, rows.Put(KeyRows.Key(authenticator, key)), usage.Calls,
            usage.LastUsedAt?.ToUnixTimeMilliseconds(), authenticator.Code(KeyRows.KeyUsage(authenticator, key.Tag, usage))).ExecuteOne();
        foreach (KeyVersion version in key.Versions)
        {
            Recode(key.Tag, version);
            if (rewrapped.TryGetValue(version.Number, out (SealedMaterial From, SealedMaterial To) made) && ReferenceEquals(version.Material, made.From))
            {
                Insert(key.Tag, version.Number, made.To);
                key = key.With(version with { Material = made.To });
            }
        }

        Statement recode = database.Prepare("""
            UPDATE grants SET mac_generation = $4, encoding_version = $5, row_code = $6 WHERE tag = $1 AND principal = $2 AND role = $3
            """);
        foreach (Grant grant in key.Grants)
        {
            recode.BindAll(
                tag, grant.Principal.ToString(), Wire.KeyRoles[grant.Role], authenticator.Generation, RowEncoding.Version,
                rows.Put(KeyRows.Grant(authenticator, key.Tag, grant))).ExecuteOne();
        }

        Staged = Staged.With(key);
    }

    /// <summary>Writes a store's rows anew under the current root generation.</summary>
    public void Recode(KeyStore store)
    {
        database.Prepare("UPDATE stores SET mac_generation = $2, encoding_version = $3, row_code = $4 WHERE store_id = $1").BindAll(
            store.Id.ToBytes(), authenticator.Generation, RowEncoding.Version, rows.Put(KeyRows.Store(authenticator, store))).ExecuteOne();
        foreach (Member member in store.Members)
        {
            Put(store.Id, member);
        }
    }

    /// <summary>Writes the row of a deleted key anew under the current root generation.</summary>
    public void Recode(DeletedKey deleted) => database.Prepare(
        "UPDATE deleted_keys SET mac_generation = $2, encoding_version = $3, row_code = $4 WHERE tag = $1").BindAll(
        deleted.Tag.ToBytes(), authenticator.Generation, RowEncoding.Version, rows.Put(KeyRows.Deleted(authenticator, deleted))).ExecuteOne();

    /// <summary>
    /// Overwrites material of a root generation that is being retired. The write-ahead log must be emptied after the commit.
    /// </summary>
    /// <param name="generation">Whose keys nothing needs any more.</param>
    /// <param name="most">How many at a time.</param>
    /// <returns>How many it were.</returns>
    public int DestroyMaterial(long generation, int most)
    {
        List<(KeyTag Tag, long Version)> found = [];
        database.Prepare($"SELECT tag, version FROM version_material WHERE generation = $1 AND NOT ({DestroyedMaterial.IsDestroyed}) LIMIT $2")
            .BindAll(generation, most).Query(reader => found.Add((KeyTag.FromBytes(reader.GetBlob(0)), reader.GetInt64(1))));
        foreach ((KeyTag tag, long version) in found)
        {
            DestroyedMaterial.Overwrite(database, tag.ToBytes(), version, generation);
            rows.Remove(KeyRows.MaterialId(authenticator, tag, version, generation));
        }

        return found.Count;
    }

    /// <summary>
    /// Everything up to here is counted, though the last entries are of no use: a start needn't read them, and must not where a segment ends
    /// or entries are erased.
    /// </summary>
    public void AdvanceMark(long sequence)
    {
        _usage = _usage with { Sequence = sequence };
        _usage.Put(database, authenticator);
    }

    public void Add(KeyTag tag, Grant grant)
    {
        database.Prepare("""
            INSERT INTO grants (tag, principal, role, granted_at, mac_generation, encoding_version, row_code)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """).BindAll(
            tag.ToBytes(), grant.Principal.ToString(), Wire.KeyRoles[grant.Role], grant.GrantedAt.ToUnixTimeMilliseconds(),
            authenticator.Generation, RowEncoding.Version, rows.Put(KeyRows.Grant(authenticator, tag, grant))).ExecuteOne();
        Key key = Staged.Keys[tag];
        Staged = Staged.With(key with { Grants = key.Grants.Add(grant) });
    }

    public void Remove(KeyTag tag, Grant grant)
    {
        database.Prepare("DELETE FROM grants WHERE tag = $1 AND principal = $2 AND role = $3")
            .BindAll(tag.ToBytes(), grant.Principal.ToString(), Wire.KeyRoles[grant.Role]).ExecuteOne();
        rows.Remove(KeyRows.Grant(authenticator, tag, grant));
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
            authenticator.Generation, RowEncoding.Version, rows.Put(KeyRows.Member(authenticator, id, member))).ExecuteOne();
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
        rows.Remove(KeyRows.Member(authenticator, id, member));
        KeyStore store = Staged.Stores[id];
        Staged = Staged.With(store with { Members = store.Members.Remove(member) });
    }

    /// <summary>Counts one request on a key, whose entry in the history has this number.</summary>
    public void CountUse(Key key, KeyVersion version, long items, DateTimeOffset at, long sequence)
    {
        key.Usage.Staged = key.Usage.Staged.Plus(items, at);
        version.Usage.Staged = version.Usage.Staged.Plus(items, at);
        _usedKeys[key.Tag] = key;
        _usedVersions[(key.Tag, version.Number)] = version;
        _usage = new UsageMark(sequence, _usage.Calls + 1, _usage.Items + items);
        _usesInBatch++;
    }

    /// <summary>At start: counts again a use that the counters on the disk don't know yet.</summary>
    public void Recount(KeyTag tag, long number, IEnumerable<long> also, long items, DateTimeOffset at, long sequence)
    {
        // What is in quarantine isn't served, and counts nothing.
        if (Staged.Keys.GetValueOrDefault(tag) is Key key && key.FindVersion(number) is KeyVersion version)
        {
            CountUse(key, version, items, at, sequence);
            foreach (KeyVersion other in also.Select(key.FindVersion).OfType<KeyVersion>())
            {
                CountVersion(key, other, at);
            }

            Flush(isFull: false);
            Commit();
        }
    }

    /// <summary>Counts the touch of another version by a request that is counted already.</summary>
    public void CountVersion(Key key, KeyVersion version, DateTimeOffset at)
    {
        version.Usage.Staged = version.Usage.Staged.Plus(0, at);
        _usedVersions[(key.Tag, version.Number)] = version;
    }

    public bool MayDefer => _usesUnwritten < MostUsesUnwritten;

    /// <summary>Remembers which counters are to be written, with some later commit.</summary>
    public void Defer()
    {
        foreach ((KeyTag tag, Key key) in _usedKeys)
        {
            _unwrittenKeys[tag] = key;
        }

        foreach (((KeyTag, long) name, KeyVersion version) in _usedVersions)
        {
            _unwrittenVersions[name] = version;
        }
    }

    public void CommitDeferred()
    {
        Settle(counter => counter.Commit());
        _committedUsage = _markedUsage = _usage;
        _usesUnwritten += _usesInBatch;
        _usesInBatch = 0;
    }

    public void RollbackDeferred()
    {
        _usesInBatch = 0;
        Settle(counter => counter.Rollback());
        _usage = _committedUsage;
    }

    public void Mark() => (_mark, _markedUsage) = (Staged, _usage);

    public void ReturnToMark() => (Staged, _usage) = (_mark, _markedUsage);

    /// <summary>
    /// Counters are written with every commit that reaches the disk, and after so many uses; what they lack after a crash is
    /// counted again out of the history, from the mark on.
    /// </summary>
    public void Flush(bool isFull)
    {
        Defer();
        if (_usage == _writtenUsage || (!isFull && !_mustWriteUsage && _usesUnwritten + _usesInBatch < MostUsesUnwritten))
        {
            return;
        }

        // Rows of a key that was destroyed meanwhile are gone.
        foreach (Key key in _unwrittenKeys.Values.Where(key => Staged.Keys.ContainsKey(key.Tag)))
        {
            Usage usage = key.Usage.Staged;
            database.Prepare("UPDATE keys SET usage_count = $2, last_used_at = $3, usage_code = $4 WHERE tag = $1").BindAll(
                key.Tag.ToBytes(), usage.Calls, usage.LastUsedAt?.ToUnixTimeMilliseconds(),
                authenticator.Code(KeyRows.KeyUsage(authenticator, key.Tag, usage))).ExecuteOne();
        }

        foreach (((KeyTag tag, long number), KeyVersion version) in _unwrittenVersions.Where(used => Staged.Keys.ContainsKey(used.Key.Tag)))
        {
            Usage usage = version.Usage.Staged;
            database.Prepare("""
                UPDATE versions SET usage_count = $3, item_count = $4, last_used_at = $5, usage_code = $6 WHERE tag = $1 AND version = $2
                """).BindAll(
                tag.ToBytes(), number, usage.Calls, usage.Items, usage.LastUsedAt?.ToUnixTimeMilliseconds(),
                authenticator.Code(KeyRows.VersionUsage(authenticator, tag, number, usage))).ExecuteOne();
        }

        _usage.Put(database, authenticator);
        _isWritten = true;
    }

    public void Commit()
    {
        CommitDeferred();
        _current = Staged;
        _mustWriteUsage = false;
        if (_isWritten)
        {
            _writtenUsage = _usage;
            _unwrittenKeys.Clear();
            _unwrittenVersions.Clear();
            _usesUnwritten = 0;
            _isWritten = false;
        }
    }

    public void Rollback()
    {
        // What was counted before stays to be written; of this batch nothing happened.
        RollbackDeferred();
        Staged = _current;
        _isWritten = false;
        _mustWriteUsage = false;
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

    /// <summary>The rows of a key leave the set.</summary>
    private void Forget(Key key)
    {
        List<(long Version, long Generation)> materials = [];
        database.Prepare($"SELECT version, generation FROM version_material WHERE tag = $1 AND NOT ({DestroyedMaterial.IsDestroyed})").BindAll(key.Tag.ToBytes())
            .Query(reader => materials.Add((reader.GetInt64(0), reader.GetInt64(1))));
        foreach ((long version, long generation) in materials)
        {
            rows.Remove(KeyRows.MaterialId(authenticator, key.Tag, version, generation));
        }

        foreach (KeyVersion version in key.Versions)
        {
            rows.Remove(KeyRows.Version(authenticator, key.Tag, version));
        }

        foreach (Grant grant in key.Grants)
        {
            rows.Remove(KeyRows.Grant(authenticator, key.Tag, grant));
        }

        rows.Remove(KeyRows.Key(authenticator, key));
    }

    private void Update(KeyTag tag, KeyVersion version) => database.Prepare("""
        UPDATE versions SET state = $3, state_changed_at = $4, encryptions_reserved = $5, mac_generation = $6, encoding_version = $7,
            row_code = $8 WHERE tag = $1 AND version = $2
        """).BindAll(
        tag.ToBytes(), version.Number, Wire.KeyStates[version.State], version.StateChangedAt.ToUnixTimeMilliseconds(),
        version.EncryptionsReserved, authenticator.Generation, RowEncoding.Version,
        rows.Put(KeyRows.Version(authenticator, tag, version))).ExecuteOne();

    private void Insert(KeyTag tag, KeyVersion version)
    {
        Usage usage = version.Usage.Staged;
        database.Prepare("""
            INSERT INTO versions (tag, version, state, created_at, state_changed_at, public_key, encryptions_reserved, mac_generation,
                encoding_version, row_code, usage_count, item_count, last_used_at, usage_code)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            """).BindAll(
            tag.ToBytes(), version.Number, Wire.KeyStates[version.State], version.CreatedAt.ToUnixTimeMilliseconds(),
            version.StateChangedAt.ToUnixTimeMilliseconds(), version.PublicKey, version.EncryptionsReserved, authenticator.Generation,
            RowEncoding.Version, rows.Put(KeyRows.Version(authenticator, tag, version)), usage.Calls, usage.Items,
            usage.LastUsedAt?.ToUnixTimeMilliseconds(),
            authenticator.Code(KeyRows.VersionUsage(authenticator, tag, version.Number, usage))).ExecuteOne();
        Insert(tag, version.Number, version.Material);
    }

    private void Recode(KeyTag tag, KeyVersion version)
    {
        Usage usage = version.Usage.Staged;
        database.Prepare("""
            UPDATE versions SET mac_generation = $3, encoding_version = $4, row_code = $5, usage_count = $6, item_count = $7, last_used_at = $8,
                usage_code = $9 WHERE tag = $1 AND version = $2
            """).BindAll(
            tag.ToBytes(), version.Number, authenticator.Generation, RowEncoding.Version, rows.Put(KeyRows.Version(authenticator, tag, version)),
            usage.Calls, usage.Items, usage.LastUsedAt?.ToUnixTimeMilliseconds(),
            authenticator.Code(KeyRows.VersionUsage(authenticator, tag, version.Number, usage))).ExecuteOne();
    }

    private void Insert(KeyTag tag, long version, SealedMaterial material) => database.Prepare("""
            INSERT INTO version_material (tag, version, generation, mechanism, token_family, blob, binding, mac_generation,
                encoding_version, row_code)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            """).BindAll(
            tag.ToBytes(), version, material.Generation, material.Mechanism, material.TokenFamily, material.Blob,
            material.Binding, authenticator.Generation, RowEncoding.Version,
            rows.Put(KeyRows.Material(authenticator, tag, version, material))).ExecuteOne();
}
