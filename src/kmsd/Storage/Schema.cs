namespace Kmsd.Storage;

/// <summary>
/// Every table of <c>kms.db</c>, from the first migration on. Rowid tables, no triggers, no views. A row that decides
/// something carries <c>row_code</c>, the generation of the key that made it and the version of its encoding.
/// </summary>
internal static class Schema
{
    /// <summary>"KMSD": whose file this is (SQLite, PRAGMA application_id).</summary>
    public const int ApplicationId = 0x4B4D5344;

    /// <summary>What this program reads and writes (PRAGMA user_version).</summary>
    public const int Version = 1;

    /// <summary>Writes the version that is there.</summary>
    public const string WriteVersion = "PRAGMA user_version = 1";

    /// <summary>What makes a copy a backup: its table beside the others, with one row.</summary>
    public const string BackupManifest = """
        CREATE TABLE backup_manifest (
            id INTEGER PRIMARY KEY CHECK (id = 1), created_at INTEGER NOT NULL, lineage BLOB NOT NULL, epoch INTEGER NOT NULL,
            set_root BLOB NOT NULL, sequence INTEGER NOT NULL, link BLOB NOT NULL, entries INTEGER NOT NULL, rows INTEGER NOT NULL,
            content BLOB NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        """;

    /// <summary>Migration 1. Times are milliseconds since 1970 in UTC; ids are blobs of 16 bytes.</summary>
    public const string Migration1 = """
        CREATE TABLE instance (
            id INTEGER PRIMARY KEY CHECK (id = 1), instance_id BLOB NOT NULL, schema INTEGER NOT NULL,
            lineage BLOB NOT NULL, supersedes BLOB, anchored INTEGER NOT NULL, created_at INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE TABLE last_seen (
            id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE TABLE root_generations (
            generation INTEGER PRIMARY KEY, origin TEXT NOT NULL, state TEXT NOT NULL,
            wrap_key_id BLOB NOT NULL, seal_key_id BLOB NOT NULL, mac_key_id BLOB NOT NULL,
            wrap_check BLOB NOT NULL, seal_check BLOB NOT NULL, mac_check BLOB NOT NULL,
            wrap_mechanism TEXT NOT NULL, seal_mechanism TEXT NOT NULL, token_family TEXT NOT NULL,
            created_at INTEGER NOT NULL, rotate_by INTEGER NOT NULL, share_set_id INTEGER, threshold INTEGER, secret_check BLOB,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE TABLE root_shares (
            generation INTEGER NOT NULL, member INTEGER NOT NULL, custodian TEXT NOT NULL, medium TEXT NOT NULL, medium_serial TEXT NOT NULL,
            seal TEXT NOT NULL, safe TEXT NOT NULL, site TEXT NOT NULL, recorded_at INTEGER NOT NULL, verified_at INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL,
            UNIQUE (generation, member)) STRICT;
        CREATE TABLE stores (
            store_id BLOB NOT NULL UNIQUE, name TEXT NOT NULL, created_at INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE UNIQUE INDEX stores_by_name ON stores (name COLLATE NOCASE);
        CREATE TABLE members (
            store_id BLOB NOT NULL, principal TEXT NOT NULL, role TEXT NOT NULL, since INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL,
            UNIQUE (store_id, principal)) STRICT;
        CREATE TABLE keys (
            tag BLOB NOT NULL UNIQUE, store_id BLOB NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, protection TEXT NOT NULL,
            state TEXT NOT NULL, memo TEXT NOT NULL, created_at INTEGER NOT NULL, state_changed_at INTEGER NOT NULL,
            rotation_period_days INTEGER NOT NULL, pending_rotation_period_days INTEGER, next_rotation_at INTEGER NOT NULL,
            delete_at INTEGER, current_version INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL,
            usage_count INTEGER NOT NULL, last_used_at INTEGER, usage_code BLOB NOT NULL) STRICT;
        CREATE UNIQUE INDEX keys_by_name ON keys (store_id, name COLLATE NOCASE);
        CREATE TABLE versions (
            tag BLOB NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, created_at INTEGER NOT NULL,
            state_changed_at INTEGER NOT NULL, public_key BLOB, encryptions_reserved INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL,
            usage_count INTEGER NOT NULL, item_count INTEGER NOT NULL, last_used_at INTEGER, usage_code BLOB NOT NULL,
            UNIQUE (tag, version)) STRICT;
        CREATE TABLE usage_mark (
            id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, calls INTEGER NOT NULL, items INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE TABLE version_material (
            tag BLOB NOT NULL, version INTEGER NOT NULL, generation INTEGER NOT NULL, mechanism TEXT NOT NULL,
            token_family TEXT NOT NULL, blob BLOB NOT NULL, binding BLOB,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL,
            UNIQUE (tag, version, generation)) STRICT;
        CREATE TABLE grants (
            tag BLOB NOT NULL, principal TEXT NOT NULL, role TEXT NOT NULL, granted_at INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL,
            UNIQUE (tag, principal, role)) STRICT;
        CREATE TABLE credentials (
            unit TEXT NOT NULL, id TEXT NOT NULL, tag BLOB NOT NULL, version INTEGER NOT NULL, blob BLOB NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL,
            UNIQUE (unit, id)) STRICT;
        CREATE TABLE history (
            sequence INTEGER PRIMARY KEY, at INTEGER, scope TEXT, store_id BLOB, tag BLOB, version INTEGER,
            operation TEXT, principal TEXT, uid INTEGER, pid INTEGER, unit TEXT, outcome TEXT, detail TEXT, items INTEGER,
            context_digest BLOB, salt BLOB, digest BLOB NOT NULL, link BLOB NOT NULL, purged_by INTEGER) STRICT;
        CREATE INDEX history_by_key ON history (tag, sequence) WHERE tag IS NOT NULL;
        CREATE INDEX history_by_store ON history (store_id, sequence) WHERE tag IS NULL AND salt IS NOT NULL;
        CREATE INDEX history_of_states ON history (tag, sequence) WHERE items = 0 AND operation IN ('keys.create', 'keys.enable', 'keys.disable',
            'keys.requestDeletion', 'keys.cancelDeletion', 'keys.deleteNow', 'deletion.automatic');
        CREATE TABLE history_segments (
            generation INTEGER PRIMARY KEY, first_sequence INTEGER NOT NULL, last_sequence INTEGER, checkpoint BLOB,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE TABLE history_heads (
            id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, link BLOB NOT NULL,
            epoch INTEGER NOT NULL, set_root BLOB NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE TABLE notifications (
            sequence INTEGER NOT NULL, principal TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, tag BLOB,
            key_name TEXT, store TEXT, by TEXT, detail TEXT,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL,
            UNIQUE (principal, sequence)) STRICT;
        CREATE TABLE notification_days (
            day INTEGER NOT NULL UNIQUE, notices INTEGER NOT NULL, digest BLOB NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE TABLE notification_cursors (
            reader TEXT NOT NULL UNIQUE, sequence INTEGER NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        CREATE TABLE refusals (
            principal TEXT NOT NULL, minute INTEGER NOT NULL, count INTEGER NOT NULL, operation TEXT NOT NULL, reason TEXT NOT NULL,
            UNIQUE (principal, minute)) STRICT;
        CREATE TABLE deleted_keys (
            tag BLOB NOT NULL UNIQUE, store_id BLOB NOT NULL, store TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
            protection TEXT NOT NULL, created_at INTEGER NOT NULL, requested_at INTEGER NOT NULL, deleted_at INTEGER NOT NULL,
            purge_at INTEGER NOT NULL, versions INTEGER NOT NULL, usage_count INTEGER NOT NULL, item_count INTEGER NOT NULL,
            last_used_at INTEGER, last_grants TEXT NOT NULL,
            mac_generation INTEGER NOT NULL, encoding_version INTEGER NOT NULL, row_code BLOB NOT NULL) STRICT;
        """;
}
