using Kms.Client.Protocol;
using Kmsd.Hosting;
using Kmsd.Keys;
using Microsoft.Extensions.Logging;

namespace Kmsd.Tests.Keys;

/// <summary>Rows changed behind the daemon's back, as with the <c>sqlite3</c> tool.</summary>
public sealed class CatalogueLoaderTests
{
    private const string Bad = "(SELECT tag FROM keys WHERE name = 'bad-key')";
    private const string Good = "(SELECT tag FROM keys WHERE name = 'good-key')";

    [Theory]
    [InlineData("UPDATE keys SET state = 'disabled' WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET memo = 'other' WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET rotation_period_days = 91 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET pending_rotation_period_days = 1 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET next_rotation_at = next_rotation_at + 1 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET delete_at = 1 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET created_at = created_at - 1 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET state_changed_at = state_changed_at - 1 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET current_version = 2 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET type = 'RSA-2048' WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET protection = 'hsm' WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET usage_count = 0 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET last_used_at = last_used_at + 1 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET usage_code = zeroblob(32) WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET mac_generation = 2 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET encoding_version = 2 WHERE name = 'bad-key'")]
    [InlineData("UPDATE grants SET granted_at = granted_at + 1 WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE grants SET granted_at = 9000000000000000000 WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE versions SET state = 'disabled' WHERE tag = " + Bad)]
    [InlineData("UPDATE versions SET state = 'nonsense' WHERE tag = " + Bad)]
    [InlineData("UPDATE versions SET created_at = created_at + 1 WHERE tag = " + Bad)]
    [InlineData("UPDATE versions SET created_at = 9000000000000000000 WHERE tag = " + Bad)]
    [InlineData("UPDATE versions SET usage_count = 0 WHERE tag = " + Bad)]
    [InlineData("UPDATE versions SET item_count = 0 WHERE tag = " + Bad)]
    [InlineData("UPDATE versions SET last_used_at = 9000000000000000000 WHERE tag = " + Bad)]
    [InlineData("UPDATE versions SET usage_code = zeroblob(32) WHERE tag = " + Bad)]
    [InlineData("UPDATE version_material SET blob = (SELECT blob FROM version_material WHERE tag = " + Good + ") WHERE tag = " + Bad)]
    [InlineData("UPDATE version_material SET mechanism = 'CKM_AES_CBC' WHERE tag = " + Bad)]
    [InlineData("UPDATE version_material SET token_family = 'other' WHERE tag = " + Bad)]
    public async Task A_key_with_a_changed_row_is_refused_and_every_other_key_is_served(string sql)
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        string ciphertext = await daemon.EncryptAsync(Daemon.Uid(2000), "good-key");
        await daemon.TamperAsync(sql);
        await daemon.ResumeAsync();

        _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => daemon.EncryptAsync(Daemon.Uid(2000), "bad-key"));
        _ = Refusal.Of(KmsErrorCode.IntegrityFailure, () => daemon.Get(Daemon.Manager, "bad-key"));
        Assert.Equal("a text"u8.ToArray(), await daemon.DecryptAsync(Daemon.Uid(2000), "good-key", ciphertext));
        Assert.Equal("integrityFailure", daemon.Operations.ReadStatus.Run(Daemon.Stranger).Database);
        Assert.Contains(daemon.LoaderLog.Lines, line => line.Level == LogLevel.Critical);
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.EncryptAsync(Daemon.Uid(6666), "bad-key"));
        _ = await Refusal.OfAsync(KmsErrorCode.AlreadyExists, () => daemon.CreateKeyAsync("bad-key"));
        _ = await daemon.CreateKeyAsync("another-key");
    }

    /// <summary>Whoever must bring it back has to know which it is; also where not even a key can be made of the row.</summary>
    [Theory]
    [InlineData("UPDATE keys SET memo = 'other' WHERE name = 'bad-key'")]
    [InlineData("UPDATE grants SET granted_at = granted_at + 1 WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE versions SET state = 'nonsense' WHERE tag = " + Bad)]
    [InlineData("UPDATE keys SET state = 'nonsense' WHERE name = 'bad-key'")]
    public async Task Operators_are_told_which_keys_are_in_quarantine_and_what_to_do(string sql)
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        string tag = daemon.Get(Daemon.Manager, "bad-key").Tag;
        Assert.Null(daemon.Operations.ReadStatus.Run(Daemon.Operator).Quarantine);
        await daemon.TamperAsync(sql);
        await daemon.ResumeAsync();
        StatusResult status = daemon.Operations.ReadStatus.Run(Daemon.Operator);
        Assert.Equal((1L, tag), (status.Quarantine!.Keys, Assert.Single(status.Quarantine.Tags)));
        Assert.Empty(status.Quarantine.Stores);
        string weakness = Assert.Single(status.Weaknesses!, one => one.StartsWith("quarantine: 1 key and 0 stores", StringComparison.Ordinal));
        Assert.Contains("kmsd restore", weakness, StringComparison.Ordinal);
        Assert.Contains(sql.StartsWith("UPDATE keys SET state", StringComparison.Ordinal) ? $"(key {tag}, of which" : $"(key default/bad-key, {tag})", weakness, StringComparison.Ordinal);
        Assert.Null(daemon.Operations.ReadStatus.Run(Daemon.Stranger).Quarantine);
    }

    [Fact]
    public async Task Operators_are_told_which_store_is_in_quarantine()
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        await daemon.TamperAsync("UPDATE stores SET created_at = created_at + 1");
        await daemon.ResumeAsync();
        QuarantineDescription quarantine = daemon.Operations.ReadStatus.Run(Daemon.Operator).Quarantine!;
        Assert.Equal((0L, "default"), (quarantine.Keys, Assert.Single(quarantine.Stores)));
        Assert.Contains(
            $"(store default, {daemon.Installation.Catalogue.Current.FindStore("default")!.Id})",
            Assert.Single(daemon.Operations.ReadStatus.Run(Daemon.Operator).Weaknesses!, one => one.StartsWith("quarantine: 0 keys and 1 store", StringComparison.Ordinal)),
            StringComparison.Ordinal);
    }

    /// <summary>An answer must stay below the longest line, however much was changed.</summary>
    [Fact]
    public async Task Of_many_keys_in_quarantine_a_hundred_are_named_and_all_counted()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        for (int i = 0; i < 101; i++)
        {
            _ = await daemon.CreateKeyAsync($"key-{i}");
        }

        await daemon.TamperAsync("UPDATE keys SET memo = 'other'", rows: 101);
        await daemon.ResumeAsync();
        QuarantineDescription quarantine = daemon.Operations.ReadStatus.Run(Daemon.Operator).Quarantine!;
        Assert.Equal((101L, 100), (quarantine.Keys, quarantine.Tags.Distinct().Count()));
    }

    [Theory]
    [InlineData("UPDATE keys SET name = 'other-key' WHERE name = 'bad-key'", "other-key")]
    [InlineData("UPDATE keys SET name = 'BAD-KEY' WHERE name = 'bad-key'", "bad-key")]
    public async Task A_key_under_a_changed_name_is_refused_by_that_name_and_by_its_tag(string sql, string name)
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        string tag = daemon.Get(Daemon.Manager, "bad-key").Tag;
        await daemon.TamperAsync(sql);
        await daemon.ResumeAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => daemon.EncryptAsync(Daemon.Uid(2000), name));
        _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => daemon.EncryptAsync(Daemon.Uid(2000), tag));
    }

    /// <summary>Of these not even a key can be made: it isn't there, and the status says why.</summary>
    [Theory]
    [InlineData("UPDATE keys SET state = 'nonsense' WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET type = 'nonsense' WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET created_at = 9000000000000000000 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET rotation_period_days = 9000000000000000000 WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET store_id = zeroblob(16) WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET store_id = zeroblob(3) WHERE name = 'bad-key'")]
    public async Task A_key_whose_row_cannot_be_read_is_not_served_and_the_status_says_so(string sql)
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        await daemon.TamperAsync(sql);
        await daemon.ResumeAsync();
        KmsException refusal = await Assert.ThrowsAsync<KmsException>(() => daemon.EncryptAsync(Daemon.Uid(2000), "bad-key"));
        Assert.True(refusal.Code is KmsErrorCode.NotFound or KmsErrorCode.IntegrityFailure);
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "good-key");
        Assert.Equal("integrityFailure", daemon.Operations.ReadStatus.Run(Daemon.Stranger).Database);
    }

    [Theory]
    [InlineData("UPDATE stores SET name = 'renamed'", "renamed")]
    [InlineData("UPDATE stores SET created_at = created_at + 1", "default")]
    [InlineData("UPDATE members SET role = 'manager' WHERE principal = 'uid:2000'", "default")]
    [InlineData("UPDATE members SET role = 'nonsense' WHERE principal = 'uid:2000'", "default")]
    [InlineData("UPDATE members SET since = since + 1 WHERE principal = 'uid:2000'", "default")]
    [InlineData("UPDATE members SET since = 9000000000000000000 WHERE principal = 'uid:2000'", "default")]
    public async Task A_store_with_a_changed_row_serves_nothing(string sql, string name)
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        await daemon.TamperAsync(sql);
        await daemon.ResumeAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => daemon.EncryptAsync(Daemon.Uid(2001), name + "/bad-key"));
        _ = await Refusal.OfAsync(
            KmsErrorCode.IntegrityFailure, () => daemon.AddMemberAsync(Daemon.Operator, "uid:6666", StoreRole.Manager, name));
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => daemon.EncryptAsync(Daemon.Uid(6666), name + "/bad-key"));
        Assert.Empty(daemon.Operations.ListKeys.Run(Daemon.Uid(2001), new ListKeysRequest()).Keys);
        Assert.Equal("integrityFailure", daemon.Operations.ReadStatus.Run(Daemon.Stranger).Database);
    }

    [Theory]
    [InlineData("UPDATE versions SET row_code = zeroblob(32) WHERE tag = " + Bad)]
    [InlineData("UPDATE versions SET version = 2 WHERE tag = " + Bad)]
    [InlineData("UPDATE version_material SET generation = 2 WHERE tag = " + Bad)]
    [InlineData("DELETE FROM version_material WHERE tag = " + Bad)]
    [InlineData("DELETE FROM versions WHERE tag = " + Bad)]
    [InlineData("UPDATE keys SET tag = zeroblob(3) WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET tag = zeroblob(16) WHERE name = 'bad-key'")]
    [InlineData("DELETE FROM keys WHERE name = 'bad-key'")]
    [InlineData("UPDATE stores SET row_code = zeroblob(32)")]
    [InlineData("UPDATE members SET principal = 'uid:6666' WHERE principal = 'uid:2000'")]
    [InlineData("UPDATE members SET row_code = zeroblob(32) WHERE principal = 'uid:2000'")]
    [InlineData("UPDATE version_material SET blob = zeroblob(60) WHERE tag = " + Bad)]
    [InlineData("UPDATE grants SET tag = zeroblob(3) WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE grants SET tag = zeroblob(16) WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE members SET store_id = zeroblob(16) WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE members SET store_id = zeroblob(3) WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE keys SET row_code = zeroblob(32) WHERE name = 'bad-key'")]
    [InlineData("UPDATE keys SET row_code = zeroblob(0) WHERE name = 'bad-key'")]
    [InlineData("UPDATE grants SET row_code = zeroblob(32) WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE grants SET principal = 'uid:6666' WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE grants SET principal = 'nonsense' WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE grants SET role = 'manager' WHERE principal = 'uid:2001'")]
    [InlineData("UPDATE grants SET role = 'emperor' WHERE principal = 'uid:2001'")]
    [InlineData("INSERT INTO grants SELECT tag, 'uid:6666', role, granted_at, mac_generation, encoding_version, row_code FROM grants WHERE principal = 'uid:2001'")]
    [InlineData("INSERT INTO grants SELECT " + Bad + ", principal, role, granted_at, mac_generation, encoding_version, row_code FROM grants WHERE principal = 'uid:2002'")]
    public async Task A_row_that_was_removed_added_or_coded_by_somebody_else_stops_the_start(string sql)
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        await daemon.TamperAsync(sql);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Equal(ExitCode.Configuration, refusal.ExitCode);
        Assert.StartsWith("integrityFailure", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("UPDATE instance SET lineage = zeroblob(16)")]
    [InlineData("UPDATE instance SET anchored = 0")]
    [InlineData("UPDATE history_heads SET epoch = epoch + 1")]
    [InlineData("UPDATE history_heads SET set_root = zeroblob(32)")]
    [InlineData("UPDATE history_segments SET first_sequence = 2")]
    [InlineData("DELETE FROM history_segments")]
    [InlineData("UPDATE instance SET created_at = created_at + 1")]
    [InlineData("UPDATE instance SET created_at = 9000000000000000000")]
    [InlineData("UPDATE last_seen SET at = at + 1")]
    [InlineData("UPDATE instance SET instance_id = zeroblob(16)")]
    [InlineData("UPDATE instance SET schema = 2")]
    [InlineData("UPDATE instance SET row_code = zeroblob(32)")]
    [InlineData("DELETE FROM instance")]
    [InlineData("UPDATE root_generations SET generation = 2")]
    [InlineData("UPDATE root_generations SET generation = 9000000000000000000")]
    [InlineData("UPDATE root_generations SET seal_key_id = zeroblob(16)")]
    [InlineData("UPDATE root_generations SET mac_check = zeroblob(32)")]
    [InlineData("UPDATE root_generations SET rotate_by = rotate_by + 1")]
    [InlineData("UPDATE root_generations SET rotate_by = 9000000000000000000")]
    [InlineData("UPDATE root_generations SET seal_mechanism = 'CKM_AES_CBC'")]
    [InlineData("UPDATE root_generations SET token_family = 'other'")]
    [InlineData("UPDATE root_generations SET state = 'retired'")]
    [InlineData("UPDATE root_generations SET row_code = zeroblob(32)")]
    [InlineData("DELETE FROM root_generations")]
    [InlineData("UPDATE history_heads SET sequence = sequence - 1")]
    [InlineData("UPDATE history_heads SET link = zeroblob(32)")]
    [InlineData("UPDATE history_heads SET row_code = zeroblob(32)")]
    [InlineData("DELETE FROM history_heads")]
    [InlineData("DELETE FROM history WHERE sequence = (SELECT max(sequence) FROM history)")]
    [InlineData("UPDATE history SET link = zeroblob(32) WHERE sequence = (SELECT max(sequence) FROM history)")]
    [InlineData("INSERT INTO history (sequence, digest, link) SELECT max(sequence) + 1, zeroblob(32), zeroblob(32) FROM history")]
    public async Task A_change_to_what_everything_rests_on_stops_the_start(string sql)
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        await daemon.TamperAsync(sql);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Equal(ExitCode.Configuration, refusal.ExitCode);
    }

    [Theory]
    [InlineData("UPDATE instance SET anchored = 7")]
    [InlineData("UPDATE instance SET lineage = zeroblob(3)")]
    [InlineData("UPDATE instance SET instance_id = zeroblob(3)")]
    public async Task Of_an_instance_row_that_cannot_be_one_the_same_is_said_whatever_is_wrong_with_it(string sql)
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        await daemon.TamperAsync(sql);
        StartupException refusal = await Assert.ThrowsAsync<StartupException>(() => daemon.ResumeAsync());
        Assert.Equal(
            (ExitCode.Configuration, "The instance row of the database is damaged. Restore it from a backup: kmsd restore FILE (kmsctl backup puts them into 'backups' beside the database)."), (refusal.ExitCode, refusal.Message));
    }

    [Fact]
    public async Task What_was_not_changed_loads_without_a_word()
    {
        await using Daemon daemon = await WithTwoKeysAsync();
        Catalogue before = daemon.Catalogue.Current;
        await daemon.RestartAsync();
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        Assert.Empty(daemon.LoaderLog.Lines);
        Assert.Equal(before.Keys.Keys.Order(Comparer<KeyTag>.Create((a, b) => string.CompareOrdinal(a.Text, b.Text))),
            daemon.Catalogue.Current.Keys.Keys.Order(Comparer<KeyTag>.Create((a, b) => string.CompareOrdinal(a.Text, b.Text))));
        Assert.Equal("ok", daemon.Operations.ReadStatus.Run(Daemon.Stranger).Status);
    }

    private static async Task<Daemon> WithTwoKeysAsync()
    {
        Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("good-key", ("uid:2000", KeyRole.EncryptorDecryptor), ("uid:2002", KeyRole.Manager));
        _ = await daemon.CreateKeyAsync("bad-key", ("uid:2000", KeyRole.EncryptorDecryptor), ("uid:2001", KeyRole.Encryptor));
        _ = await daemon.EncryptAsync(Daemon.Uid(2000), "bad-key");
        return daemon;
    }
}
