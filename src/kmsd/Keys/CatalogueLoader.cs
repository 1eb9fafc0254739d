using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Kmsd.Keys;

/// <summary>
/// Reads the catalogue once, at start, and checks every row against its code. A row that doesn't match puts its key, or its
/// store, in quarantine: it isn't served, and everything else is.
/// </summary>
/// <param name="database">What is read.</param>
/// <param name="authenticator">Checks it.</param>
/// <param name="grants">Reads the grants beside the rest, over a connection of its own; null: they are read in turn.</param>
/// <param name="log">For what doesn't match.</param>
internal sealed partial class CatalogueLoader(Database database, RowAuthenticator authenticator, Task<GrantRows>? grants, ILogger log)
{
    private readonly Dictionary<StoreId, KeyStore> _stores = [];
    private readonly Dictionary<KeyTag, List<KeyVersion>> _versions = [];
    private readonly Dictionary<(KeyTag, long), SealedMaterial> _material = [];
    private Dictionary<KeyTag, List<Grant>> _grants = [];
    private readonly HashSet<KeyTag> _badKeys = [];
    private readonly HashSet<StoreId> _badStores = [];
    private bool _isOrphaned;
    private int _badRemains;

    public Catalogue Load()
    {
        RecodeForTest();
        ReadStores();
        ReadMembers();
        ReadMaterial();
        ReadVersions();
        TakeGrants();
        List<DeletedKey> deleted = ReadDeleted();
        List<Key> keys = ReadKeys();
        _material.TrimExcess();
        _versions.TrimExcess();
        _grants.TrimExcess();
        LoadingMemory.Tidy(keys.Count);
        var catalogue = Catalogue.Of(
            [.. _stores.Values.Select(store => _badStores.Contains(store.Id) ? store with { IsQuarantined = true } : store)],
            [.. keys.Select(key => _badKeys.Contains(key.Tag) ? key with { IsQuarantined = true } : key)],
            deleted);

        foreach (KeyTag tag in _badKeys)
        {
            KeysLog.KeyQuarantined(log, tag);
        }

        foreach (StoreId id in _badStores)
        {
            KeysLog.StoreQuarantined(log, id);
        }

        var usage = UsageMark.Read(database, authenticator);
        bool hasBadRows = _isOrphaned || _badRemains > 0 || _badKeys.Count > 0 || _badStores.Count > 0;
        bool addsUp = usage.Calls == catalogue.Keys.Values.Sum(key => key.Usage.Committed.Calls)
            && usage.Items == catalogue.Keys.Values.SelectMany(key => key.Versions).Sum(version => version.Usage.Committed.Items);
        if (!hasBadRows && !addsUp)
        {
            KeysLog.CountersDoNotAddUp(log);
        }

        return catalogue with
        {
            Usage = usage,
            HasQuarantine = hasBadRows || !addsUp,
            IsOrphaned = _isOrphaned || (!hasBadRows && !addsUp),
            BadRemains = _badRemains,
            Quarantined = [.. _badKeys.OrderBy(tag => tag.Text, StringComparer.Ordinal)],
        };
    }

    partial void RecodeForTest();

    private void ReadStores() => database.Prepare(
        "SELECT store_id, name, created_at, mac_generation, encoding_version, row_code FROM stores").Query(reader =>
        {
            if (!Try(reader, row => new KeyStore(StoreId.FromBytes(row.GetBlob(0)), row.GetString(1), row.GetTime(2)), out KeyStore? store))
            {
                _isOrphaned = true;
                return;
            }

            _stores.Add(store.Id, store);
            if (!authenticator.Verify(KeyRows.Store(authenticator, store), reader.GetCode(3)))
            {
                _ = _badStores.Add(store.Id);
            }
        });

    private void ReadMembers() => database.Prepare(
        "SELECT store_id, principal, role, since, mac_generation, encoding_version, row_code FROM members").Query(reader =>
        {
            if (reader.GetBlob(0) is not { Length: 16 } id || !_stores.TryGetValue(StoreId.FromBytes(id), out KeyStore? store))
            {
                Orphan("members");
            }
            else if (Try(reader, ReadMember, out Member? member)
                && authenticator.Verify(KeyRows.Member(authenticator, store.Id, member), reader.GetCode(4)))
            {
                _stores[store.Id] = store with { Members = store.Members.Add(member) };
            }
            else
            {
                _ = _badStores.Add(store.Id);
            }
        });

    private void ReadMaterial() => database.Prepare($"""
        SELECT tag, version, generation, mechanism, token_family, blob, mac_generation, encoding_version, row_code, binding
        FROM version_material WHERE NOT ({DestroyedMaterial.IsDestroyed})
        """).Query(reader =>
        {
            if (!TryTag(reader, out KeyTag tag))
            {
                Orphan("version_material");
                return;
            }

            SealedMaterial material = new(reader.GetInt64(2), string.Intern(reader.GetString(3)), string.Intern(reader.GetString(4)), reader.GetBlob(5), reader.GetBlobOrNull(9));
            if (!authenticator.Knows(material.Generation))
            {
                return; // Left over from a generation that is being retired; if there is nothing else, the version has no material.
            }

            if (!authenticator.Verify(KeyRows.Material(authenticator, tag, reader.GetInt64(1), material), reader.GetCode(6)))
            {
                _ = _badKeys.Add(tag);
            }

            // The newest generation that carries it counts.
            if (!_material.TryGetValue((tag, reader.GetInt64(1)), out SealedMaterial? other) || other.Generation < material.Generation)
            {
                _material[(tag, reader.GetInt64(1))] = material;
            }
        });

    private void ReadVersions() => database.Prepare("""
        SELECT tag, version, state, created_at, state_changed_at, usage_count, item_count, last_used_at,
            mac_generation, encoding_version, row_code, usage_code, public_key, encryptions_reserved
        FROM versions ORDER BY tag, version
        """).Query(reader =>
        {
            if (!TryTag(reader, out KeyTag tag))
            {
                Orphan("versions");
                return;
            }

            if (!Try(reader, row => ReadVersion(row, tag), out KeyVersion? version))
            {
                _ = _badKeys.Add(tag);
                return;
            }

            StoredCode code = reader.GetCode(8);
            if (!authenticator.Verify(KeyRows.Version(authenticator, tag, version), code)
                || !authenticator.VerifyByAny(
                    KeyRows.VersionUsage(authenticator, tag, version.Number, version.Usage.Committed), code with { Code = reader.GetBlob(11) }))
            {
                _ = _badKeys.Add(tag);
            }

            Group(_versions, tag).Add(version);
        });

    private KeyVersion ReadVersion(SqliteDataReader reader, KeyTag tag) => new()
    {
        Number = reader.GetInt64(1),
        State = Parse(Wire.KeyStates, reader.GetString(2)),
        CreatedAt = reader.GetTime(3),
        StateChangedAt = reader.GetTime(4),
        Material = _material.Remove((tag, reader.GetInt64(1)), out SealedMaterial? material)
            ? material
            : throw new FormatException("The version has no material."),
        PublicKey = reader.GetBlobOrNull(12),
        EncryptionsReserved = reader.GetInt64(13),
        EncryptionsUncounted = Math.Max(0, checked(reader.GetInt64(13) - reader.GetInt64(6))),
        Usage = new UsageCounter(new Usage(reader.GetInt64(5), reader.GetInt64(6), reader.GetTimeOrNull(7))),
    };

    private void TakeGrants()
    {
#pragma warning disable VSTHRD002 // Another thread reads them, and waits for nothing of this one.
        GrantRows read = grants?.GetAwaiter().GetResult() ?? ReadGrants(database, authenticator);
#pragma warning restore VSTHRD002
        _grants = read.Good;
        _badKeys.UnionWith(read.Bad);
        for (int i = 0; i < read.Orphans; i++)
        {
            Orphan("grants");
        }
    }

    /// <summary>Every grant, checked.</summary>
    /// <param name="database">May be another connection than the rest is read by.</param>
    /// <param name="authenticator">Of the thread that this runs on.</param>
    public static GrantRows ReadGrants(Database database, RowAuthenticator authenticator)
    {
        Dictionary<KeyTag, List<Grant>> good = [];
        HashSet<KeyTag> bad = [];
        int orphans = 0;
        database.Prepare("SELECT tag, principal, role, granted_at, mac_generation, encoding_version, row_code FROM grants").Query(reader =>
        {
            if (!TryTag(reader, out KeyTag tag))
            {
                orphans++;
            }
            else if (Try(reader, ReadGrant, out Grant? grant)
                && authenticator.Verify(KeyRows.Grant(authenticator, tag, grant), reader.GetCode(4)))
            {
                Group(good, tag).Add(grant);
            }
            else
            {
                _ = bad.Add(tag);
            }
        });
        return new GrantRows(good, bad, orphans);
    }

    private List<DeletedKey> ReadDeleted()
    {
        List<DeletedKey> deleted = [];
        database.Prepare("""
            SELECT tag, store_id, store, name, type, protection, created_at, requested_at, deleted_at, purge_at, versions, usage_count,
                item_count, last_used_at, last_grants, mac_generation, encoding_version, row_code
            FROM deleted_keys
            """).Query(reader =>
            {
                if (Try(reader, ReadDeleted, out DeletedKey? key)
                    && authenticator.Verify(KeyRows.Deleted(authenticator, key), reader.GetCode(15)))
                {
                    deleted.Add(key);
                }
                else
                {
                    _badRemains++;
                    KeysLog.RemainsChanged(log, TryTag(reader, out KeyTag tag) ? tag.Text : "whose tag is none");
                }
            });
        return deleted;
    }

    private static DeletedKey ReadDeleted(SqliteDataReader reader) => new()
    {
        Tag = KeyTag.FromBytes(reader.GetBlob(0)),
        StoreId = StoreId.FromBytes(reader.GetBlob(1)),
        Store = reader.GetString(2),
        Name = reader.GetString(3),
        Type = Parse(Wire.KeyTypes, reader.GetString(4)),
        Protection = Parse(Wire.Protections, reader.GetString(5)),
        CreatedAt = reader.GetTime(6),
        RequestedAt = reader.GetTime(7),
        DeletedAt = reader.GetTime(8),
        PurgeAt = reader.GetTime(9),
        Versions = reader.GetInt64(10),
        UsageCount = reader.GetInt64(11),
        ItemCount = reader.GetInt64(12),
        LastUsedAt = reader.GetTimeOrNull(13),
        Grants = DeletedKey.ParseGrants(reader.GetString(14)),
    };

    private List<Key> ReadKeys()
    {
        List<Key> keys = [];
        var names = _stores.Keys.ToDictionary(id => id, _ => new HashSet<string>(StringComparer.OrdinalIgnoreCase));
        database.Prepare("""
            SELECT tag, store_id, name, type, protection, state, memo, created_at, state_changed_at, rotation_period_days,
                pending_rotation_period_days, next_rotation_at, delete_at, current_version, usage_count, last_used_at,
                mac_generation, encoding_version, row_code, usage_code
            FROM keys
            """).Query(reader =>
            {
                if (!TryTag(reader, out KeyTag tag))
                {
                    Orphan("keys");
                }
                else if (!Try(reader, ReadKey, out Key? key) || !names.TryGetValue(key.StoreId, out HashSet<string>? inStore) || !inStore.Add(key.Name))
                {
                    _ = _badKeys.Add(tag);
                }
                else
                {
                    Check(key, reader);
                    keys.Add(key);
                }
            });

        // What no key has taken.
        _badKeys.UnionWith(_versions.Keys);
        _badKeys.UnionWith(_grants.Keys);

        return keys;
    }

    private Key ReadKey(SqliteDataReader reader)
    {
        var tag = KeyTag.FromBytes(reader.GetBlob(0));
        return new Key
        {
            Tag = tag,
            StoreId = StoreId.FromBytes(reader.GetBlob(1)),
            Name = reader.GetString(2),
            Type = Parse(Wire.KeyTypes, reader.GetString(3)),
            Protection = Parse(Wire.Protections, reader.GetString(4)),
            State = Parse(Wire.KeyStates, reader.GetString(5)),
            Memo = reader.GetString(6),
            CreatedAt = reader.GetTime(7),
            StateChangedAt = reader.GetTime(8),
            RotationPeriodDays = checked((int)reader.GetInt64(9)),
            PendingRotationPeriodDays = checked((int?)reader.GetNumberOrNull(10)),
            NextRotationAt = reader.GetTime(11),
            DeleteAt = reader.GetTimeOrNull(12),
            Versions = _versions.Remove(tag, out List<KeyVersion>? versions) ? [.. versions] : [],
            Grants = _grants.Remove(tag, out List<Grant>? grants) ? [.. grants] : [],
            Usage = new UsageCounter(new Usage(reader.GetInt64(14), 0, reader.GetTimeOrNull(15))),
        };
    }

    private void Check(Key key, SqliteDataReader reader)
    {
        StoredCode code = reader.GetCode(16);
        bool hasEveryVersion = key.Versions.Select(version => version.Number)
            .SequenceEqual(Enumerable.Range(1, key.Versions.Length).Select(number => (long)number));
        if (key.Versions.IsEmpty
            || !hasEveryVersion
            || reader.GetInt64(13) != key.CurrentVersion.Number
            || !authenticator.Verify(KeyRows.Key(authenticator, key), code)
            || !authenticator.VerifyByAny(
                KeyRows.KeyUsage(authenticator, key.Tag, key.Usage.Committed), code with { Code = reader.GetBlob(19) }))
        {
            _ = _badKeys.Add(key.Tag);
        }
    }

    private static Member ReadMember(SqliteDataReader reader) => new(
        Principal.FromStored(reader.GetString(1)), Parse(Wire.StoreRoles, reader.GetString(2)), reader.GetTime(3));

    private static Grant ReadGrant(SqliteDataReader reader) => new(
        Principal.FromStored(reader.GetString(1)), Parse(Wire.KeyRoles, reader.GetString(2)), reader.GetTime(3));

    private static T Parse<T>(WireNames<T> names, string name)
        where T : struct, Enum =>
        names.TryParse(name, out T value) ? value : throw new FormatException($"'{name}' is unknown.");

    private static List<T> Group<T>(Dictionary<KeyTag, List<T>> groups, KeyTag tag)
    {
        if (!groups.TryGetValue(tag, out List<T>? group))
        {
            groups.Add(tag, group = new List<T>(1));
        }

        return group;
    }

    private static bool TryTag(SqliteDataReader reader, out KeyTag tag)
    {
        byte[] bytes = reader.GetBlob(0);
        tag = bytes.Length == KeyTag.LengthInBytes ? KeyTag.FromBytes(bytes) : default;
        return bytes.Length == KeyTag.LengthInBytes;
    }

    /// <summary>Reads a row whose values may be anything: what doesn't parse was not written by kmsd.</summary>
    private static bool Try<T>(SqliteDataReader reader, Func<SqliteDataReader, T> read, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out T? row)
        where T : class
    {
        try
        {
            row = read(reader);
            return true;
        }
        catch (Exception exception) when (exception is FormatException or ArgumentException or OverflowException)
        {
            row = null;
            return false;
        }
    }

    private void Orphan(string table)
    {
        _isOrphaned = true;
        KeysLog.Orphan(log, table);
    }
}

/// <summary>The grants of the database: by key, of which keys one doesn't match its code, and how many are of nothing that could be a key.</summary>
internal sealed record GrantRows(Dictionary<KeyTag, List<Grant>> Good, HashSet<KeyTag> Bad, int Orphans);
