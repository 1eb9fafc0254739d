using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Configuration;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.RootKeys;
using Kmsd.Rotation;
using Kmsd.Storage;
using Kmsd.Tests.Recovery;

namespace Kmsd.Tests.Rotation;

/// <summary>The root key's generations: made, taken into use, carried over to, retired.</summary>
public sealed class RootRotationTests
{
    private static readonly RotateRootRequest s_rotate = new() { Reason = "yearly" };

    [Fact]
    public async Task A_rotation_carries_every_version_over_and_old_ciphertexts_open_before_and_after()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        List<(string Key, string Ciphertext)> sealedTexts = await FillAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        Assert.Equal(2, daemon.Root.Generation);
        await OpenAllAsync(daemon, sealedTexts);
        RootStatusResult before = daemon.Operations.ReadRootStatus.Run(Daemon.Operator);
        Assert.Equal((0, 6), (before.Rewrap.Done, before.Rewrap.Total));
        Assert.Equal(["old", "current"], before.Generations.Select(one => one.State));

        // What is made meanwhile is carried by the new one at once, and a change of an old key stays one.
        _ = await daemon.CreateKeyAsync("between");
        _ = await RotateAsync(daemon, "aes-software");
        await daemon.RootWork.RunAsync(CancellationToken.None);
        RootStatusResult after = daemon.Operations.ReadRootStatus.Run(Daemon.Operator);
        Assert.Equal((8, 8), (after.Rewrap.Done, after.Rewrap.Total));
        await OpenAllAsync(daemon, sealedTexts);
        await daemon.RestartAsync();
        Assert.All(daemon.Catalogue.Current.Keys.Values, key => Assert.All(key.Versions, version => Assert.Equal(2, version.Material.Generation)));
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        await OpenAllAsync(daemon, sealedTexts);
        await VerifiesAsync(daemon);
    }

    [Fact]
    public async Task Nothing_of_it_is_needed_once_the_old_generation_is_retired()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        List<(string Key, string Ciphertext)> sealedTexts = await FillAsync(daemon);
        _ = await daemon.CreateKeyAsync("doomed");
        await DeleteAsync(daemon, "doomed");
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => RetireAsync(daemon, 1));
        daemon.Clock.Advance(TimeSpan.FromDays(7));
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => RetireAsync(daemon, 2));
        _ = await Refusal.OfAsync(KmsErrorCode.NotFound, () => RetireAsync(daemon, 3));
        await RetireAsync(daemon, 1);
        Assert.Equal([2L], daemon.Root.Generations);
        Assert.Equal(0L, daemon.Query("SELECT count(*) FROM version_material WHERE generation = 1 AND blob != zeroblob(length(blob))"));
        await OpenAllAsync(daemon, sealedTexts);
        await VerifiesAsync(daemon);
        await daemon.RestartAsync();
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        Assert.Equal(0L, daemon.Query("SELECT count(*) FROM version_material WHERE generation = 1"));
        await OpenAllAsync(daemon, sealedTexts);
        await VerifiesAsync(daemon);
        ListNotificationsResult told = await daemon.Operations.ListNotifications.RunAsync(Daemon.Operator, new ListNotificationsRequest(), CancellationToken.None);
        Assert.Equal(["root.rotated", "root.retired"], told.Notifications.Where(notice => notice.Kind.StartsWith("root.", StringComparison.Ordinal)).Select(notice => notice.Kind));

        // And again, from generation 2 to 3.
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        await RetireAsync(daemon, 2);
        await daemon.RestartAsync();
        await OpenAllAsync(daemon, sealedTexts);
        await VerifiesAsync(daemon);
    }

    [Fact]
    public async Task A_history_that_was_changed_keeps_its_generation_from_being_retired()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await FillAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        _ = daemon.Sql("UPDATE history SET detail = 'somebody else' WHERE sequence = 3");
        _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => RetireAsync(daemon, 1));
        Assert.Equal([1L, 2L], daemon.Root.Generations);
        Assert.Equal(GenerationState.Old, daemon.Installation.Generations.All[1].State);
    }

    [Fact]
    public async Task What_isnt_carried_over_yet_keeps_the_old_generation()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await FillAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        KmsException refusal = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => RetireAsync(daemon, 1));
        Assert.Contains("6 versions are still to be re-wrapped", refusal.Message, StringComparison.Ordinal);
        refusal = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate));
        Assert.Contains("isn't through", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_key_in_quarantine_is_not_vouched_for_by_the_new_generation()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        List<(string Key, string Ciphertext)> sealedTexts = await FillAsync(daemon);
        await daemon.TamperAsync("UPDATE keys SET memo = 'changed' WHERE name = 'aes-hsm'");
        await daemon.ResumeAsync();
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        KmsException refusal = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => RetireAsync(daemon, 1));
        Assert.Contains("still vouches for rows (keys: 1", refusal.Message, StringComparison.Ordinal);
        await daemon.RestartAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.IntegrityFailure, () => daemon.DecryptAsync(Daemon.Manager, "aes-hsm", sealedTexts.Single(one => one.Key == "aes-hsm").Ciphertext));
    }

    [Fact]
    public async Task A_token_that_fails_leaves_everything_as_it_was()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        List<(string Key, string Ciphertext)> sealedTexts = await FillAsync(daemon);
        daemon.Root.OnCreateGeneration = () => throw new KmsException(KmsErrorCode.TokenUnavailable, "It is full.");
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate));
        Assert.Equal([1L], daemon.Root.Generations);
        Assert.Equal([1L], daemon.Installation.Generations.All.Keys);
        await daemon.RestartAsync();
        await OpenAllAsync(daemon, sealedTexts);
        daemon.Root.OnCreateGeneration = null;
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        Assert.Equal(2, daemon.Root.Generation);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Killed_before_it_was_taken_into_use_it_leaves_nothing_behind(bool wasAnnounced)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        List<(string Key, string Ciphertext)> sealedTexts = await FillAsync(daemon);
        int writes = daemon.Root.AnchorWrites;
        void Vanish()
        {
            // Planned: announced and confirmed. Then what takes it into use is announced, and the token goes away for good.
            if (daemon.Root.Generations.Count() == 2)
            {
                daemon.Root.IsAway = true;
                throw new KmsException(KmsErrorCode.TokenUnavailable, "It is gone.");
            }
        }

        daemon.Root.OnAnchorWrite = wasAnnounced ? null : Vanish;
        daemon.Root.OnAnchorWritten = wasAnnounced ? Vanish : null;
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate));
        Assert.True(daemon.Root.AnchorWrites > writes);
        Assert.Equal(GenerationState.Planned, daemon.Installation.Generations.All[2].State);
        daemon.Die();
        daemon.Root.OnAnchorWrite = daemon.Root.OnAnchorWritten = null;
        daemon.Root.IsAway = false;
        await daemon.ResumeAsync();
        Assert.Equal([1L], daemon.Root.Generations);
        Assert.Equal([1L], daemon.Installation.Generations.All.Keys);
        await OpenAllAsync(daemon, sealedTexts);
    }

    [Theory]
    [InlineData(20)]
    [InlineData(100)]
    public async Task Killed_while_it_is_carried_over_it_goes_on(int versions)
    {
        await using Daemon daemon = await Daemon.StartAsync();
        List<(string Key, string Ciphertext)> sealedTexts = [];
        for (int i = 0; i < 150; i++)
        {
            string name = $"key-{i}";
            _ = await daemon.CreateKeyAsync(name, ("uid:1000", KeyRole.EncryptorDecryptor));
            sealedTexts.Add((name, await daemon.EncryptAsync(Daemon.Manager, name)));
        }

        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        int carried = 0;
        daemon.Root.OnRewrap = () =>
        {
            if (++carried > versions)
            {
                throw new KmsException(KmsErrorCode.TokenUnavailable, "It is gone.");
            }
        };
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Die();
        daemon.Root.OnRewrap = null;
        await daemon.ResumeAsync();
        Assert.Equal(2, daemon.Root.Generation);
        long behind = RootRotation.CountBehind(daemon.Catalogue.Current, 2);
        Assert.InRange(behind, 1, 149);
        await OpenAllAsync(daemon, sealedTexts);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        Assert.Equal(0, RootRotation.CountBehind(daemon.Catalogue.Current, 2));
        await daemon.RestartAsync();
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        await OpenAllAsync(daemon, sealedTexts);
    }

    [Fact]
    public async Task Counters_are_exact_across_a_rotation_and_a_death()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("counted", ("uid:1000", KeyRole.EncryptorDecryptor));
        for (int i = 0; i < 5; i++)
        {
            _ = await daemon.EncryptAsync(Daemon.Manager, "counted");
        }

        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        _ = await daemon.EncryptAsync(Daemon.Manager, "counted");
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        _ = await daemon.EncryptAsync(Daemon.Manager, "counted");
        await daemon.RootWork.RunAsync(CancellationToken.None);
        _ = await daemon.EncryptAsync(Daemon.Manager, "counted");
        daemon.Die();
        await daemon.ResumeAsync();
        Assert.False(daemon.Catalogue.Current.HasQuarantine);
        Assert.Equal(8, daemon.Catalogue.Current.Keys.Values.Single().Usage.Committed.Calls);
    }

    [Fact]
    public async Task Automatic_rotation_comes_30_days_before_it_must_and_once()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        AutomaticRootRotation automatic = new(daemon.RootRotation, daemon.Installation.Generations, isOn: true, new ListLogger<AutomaticRootRotation>());
        AutomaticRootRotation off = new(daemon.RootRotation, daemon.Installation.Generations, isOn: false, new ListLogger<AutomaticRootRotation>());
        daemon.Clock.Advance(TimeSpan.FromDays(335) - TimeSpan.FromSeconds(1));
        await automatic.RunDueAsync(daemon.Clock.GetUtcNow());
        Assert.Equal(1, daemon.Root.Generation);
        daemon.Clock.Advance(TimeSpan.FromSeconds(1));
        await off.RunDueAsync(daemon.Clock.GetUtcNow());
        Assert.Equal(1, daemon.Root.Generation);
        await automatic.RunDueAsync(daemon.Clock.GetUtcNow());
        Assert.Equal(2, daemon.Root.Generation);
        await automatic.RunDueAsync(daemon.Clock.GetUtcNow());
        Assert.Equal(2, daemon.Root.Generation);
    }

    /// <summary>Somebody writes to the history while it is computed: what vouches for it afterwards is over what was verified, so it is found.</summary>
    [Fact]
    public async Task What_is_changed_behind_the_verification_is_not_vouched_for_by_the_checkpoint()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await FillAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        RetireRoot retire = new(
            daemon.Installation.Generations, daemon.RootWork, daemon.Catalogue, daemon.History,
            async cancellationToken =>
            {
                (HistoryVerdict, IReadOnlyDictionary<long, byte[]>) proven = await daemon.Operations.VerifyHistory.ProveAsync(cancellationToken);
                Forge(daemon, 3);
                return proven;
            },
            _ => Task.CompletedTask, daemon.Writer, new Operators(new DaemonOptions().Operators), daemon.Clock);
        await retire.RunAsync(Daemon.Operator, new RetireRootRequest { Generation = 1, Reason = "it was replaced" }, CancellationToken.None);
        Assert.Equal([2L], daemon.Root.Generations);
        VerifyHistoryResult verdict = await daemon.Operations.VerifyHistory.RunAsync(Daemon.Operator, CancellationToken.None);
        Assert.False(verdict.Ok);
    }

    /// <summary>
    /// A commit fails, and so does all that follows: what of it lies on the disk nobody knows. So the token's keys stay until it is certain that
    /// they are nobody's. That it may lie there whole: RootRotationTests of the end-to-end tests.
    /// </summary>
    [Fact]
    public async Task While_the_storage_takes_nothing_no_key_of_the_token_is_destroyed()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        List<(string Key, string Ciphertext)> sealedTexts = await FillAsync(daemon);
        daemon.Root.OnCreateGeneration = () => daemon.Installation.Database.Execute("PRAGMA query_only = ON");
        _ = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, () => daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate));
        Assert.Equal([1L, 2L], daemon.Root.Generations);
        Assert.Equal(GenerationState.Planned, daemon.Installation.Generations.All[2].State);
        daemon.Root.OnCreateGeneration = null;
        daemon.Installation.Database.Execute("PRAGMA query_only = OFF");
        await daemon.RootRotation.RemovePlannedAsync();
        Assert.Equal([1L], daemon.Root.Generations);
        await OpenAllAsync(daemon, sealedTexts);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        await OpenAllAsync(daemon, sealedTexts);
    }

    /// <summary>Whatever its rows say of themselves: material that no other generation carries would be lost.</summary>
    [Fact]
    public async Task Material_of_a_key_in_quarantine_keeps_its_generation_also_where_its_rows_claim_another()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await FillAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.StopAsync();
        string tag = Convert.ToHexString((byte[])daemon.Query("SELECT tag FROM keys WHERE name = 'aes-software'")!);
        foreach (string table in new[] { "keys", "versions", "grants" })
        {
            Assert.True(daemon.Sql($"UPDATE {table} SET mac_generation = 2 WHERE tag = x'{tag}'") > 0);
        }

        await daemon.ResumeAsync();
        Assert.True(daemon.Catalogue.Current.HasQuarantine);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        KmsException refusal = await Refusal.OfAsync(KmsErrorCode.InvalidState, () => RetireAsync(daemon, 1));
        Assert.Contains("(version_material: 1)", refusal.Message, StringComparison.Ordinal);
        Assert.Equal([1L, 2L], daemon.Root.Generations);
    }

    [Fact]
    public async Task After_a_retirement_there_is_a_backup_that_can_be_put_back()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        List<(string Key, string Ciphertext)> sealedTexts = await FillAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        string before = Assert.Single(Backups(daemon, "before-root-rotation-1-*.db"));
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        Assert.Empty(Backups(daemon, "after-root-retirement-*.db"));
        await RetireAsync(daemon, 1);
        string after = Assert.Single(Backups(daemon, "after-root-retirement-*.db"));
        _ = await daemon.CreateKeyAsync("since");
        await daemon.StopAsync();
        StartupException dead = await Assert.ThrowsAsync<StartupException>(() => RestoreTests.RestoreAsync(daemon, before));
        Assert.Contains("The root key isn't in this token", dead.Message, StringComparison.Ordinal);
        _ = await RestoreTests.RestoreAsync(daemon, after);
        await daemon.ResumeAsync();
        await OpenAllAsync(daemon, sealedTexts);
        Assert.DoesNotContain(daemon.Catalogue.Current.Keys.Values, key => key.Name == "since");
    }

    [Fact]
    public async Task A_retirement_whose_backup_fails_says_that_it_is_done_and_what_to_do()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        string folder = Path.Combine(Path.GetDirectoryName(daemon.Path)!, "backups");
        Directory.Delete(folder, recursive: true);
        await File.WriteAllTextAsync(folder, "in the way", TestContext.Current.CancellationToken);
        KmsException told = await Refusal.OfAsync(KmsErrorCode.StorageUnavailable, () => RetireAsync(daemon, 1));
        Assert.StartsWith("Generation 1 is retired, but the backup after it wasn't made", told.Message, StringComparison.Ordinal);
        Assert.Contains("kmsctl backup", told.Message, StringComparison.Ordinal);
        Assert.Equal([2L], daemon.Root.Generations);
    }

    /// <summary>Whoever asked and the loop of every second may both come to finish it.</summary>
    [Fact]
    public async Task A_retirement_that_two_finish_is_told_once()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await FillAsync(daemon);
        await daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, s_rotate);
        await daemon.RootWork.RunAsync(CancellationToken.None);
        daemon.Clock.Advance(TimeSpan.FromDays(8));
        daemon.Root.OnDestroyGeneration = () => throw new KmsException(KmsErrorCode.TokenUnavailable, "Not now.");
        _ = await Refusal.OfAsync(KmsErrorCode.TokenUnavailable, () => RetireAsync(daemon, 1));
        StoredGeneration retiring = daemon.Installation.Generations.All[1];
        Assert.Equal(GenerationState.Retiring, retiring.State);
        daemon.Root.OnDestroyGeneration = null;
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => daemon.RootWork.FinishRetirementAsync(retiring))));
        await daemon.RootWork.RunAsync(CancellationToken.None);
        Assert.Equal([2L], daemon.Root.Generations);
        ListNotificationsResult told = await daemon.Operations.ListNotifications.RunAsync(Daemon.Operator, new ListNotificationsRequest(), CancellationToken.None);
        _ = Assert.Single(told.Notifications, notice => notice.Kind == "root.retired");
    }

    [Fact]
    public async Task Only_root_administrators_may()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.Operations.RotateRoot.RunAsync(Daemon.Manager, s_rotate));
        _ = await Refusal.OfAsync(
            KmsErrorCode.Forbidden,
            () => daemon.Operations.RetireRoot.RunAsync(Daemon.Manager, new RetireRootRequest { Generation = 1, Reason = "why" }, CancellationToken.None));
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidParams, () => daemon.Operations.RotateRoot.RunAsync(Daemon.Operator, new RotateRootRequest { Reason = "" }));
        Assert.Equal(1, daemon.Root.Generation);
    }

    private static async Task<List<(string Key, string Ciphertext)>> FillAsync(Daemon daemon)
    {
        List<(string Key, string Ciphertext)> sealedTexts = [];
        foreach (KeyProtection protection in new[] { KeyProtection.Software, KeyProtection.Hsm })
        {
            foreach ((string name, KeyType type) in new[] { ("aes", KeyType.Aes256Gcm96), ("rsa", KeyType.Rsa2048), ("ecdsa", KeyType.EcdsaP256) })
            {
                string key = $"{name}-{Wire.Protections[protection]}";
                _ = await daemon.Operations.CreateKey.RunAsync(
                    Daemon.Manager,
                    new CreateKeyRequest
                    {
                        Name = key,
                        Type = type,
                        Protection = protection,
                        Grants = [new GrantInput { Principal = "uid:1000", Role = KeyRole.EncryptorDecryptor }],
                    },
                    CancellationToken.None);
                if (type != KeyType.EcdsaP256)
                {
                    sealedTexts.Add((key, await daemon.EncryptAsync(Daemon.Manager, key)));
                }
            }
        }

        return sealedTexts;
    }

    private static string[] Backups(Daemon daemon, string pattern) => Directory.GetFiles(Path.Combine(Path.GetDirectoryName(daemon.Path)!, "backups"), pattern);

    /// <summary>Writes another content into an entry, with its digest. A link nobody makes without the token.</summary>
    private static void Forge(Daemon daemon, long sequence)
    {
        (byte[] salt, StoredEntry entry) = daemon.Run($"SELECT {StoredEntry.Columns}, salt FROM history WHERE sequence = {sequence}", command =>
        {
            using Microsoft.Data.Sqlite.SqliteDataReader reader = command.ExecuteReader();
            Assert.True(reader.Read());
            return (reader.GetFieldValue<byte[]>(StoredEntry.ColumnCount), StoredEntry.Read(reader));
        });
        byte[] digest = HistoryChain.Digest(salt, (entry with { Detail = "somebody else" }).Encode(new RowEncoding()).Bytes);
        Assert.Equal(1, daemon.Sql($"UPDATE history SET detail = 'somebody else', digest = x'{Convert.ToHexString(digest)}' WHERE sequence = {sequence}"));
    }

    private static async Task OpenAllAsync(Daemon daemon, List<(string Key, string Ciphertext)> sealedTexts)
    {
        foreach ((string key, string ciphertext) in sealedTexts)
        {
            Assert.Equal("a text"u8.ToArray(), await daemon.DecryptAsync(Daemon.Manager, key, ciphertext));
        }
    }

    private static async Task VerifiesAsync(Daemon daemon)
    {
        VerifyHistoryResult verdict = await daemon.Operations.VerifyHistory.RunAsync(Daemon.Operator, CancellationToken.None);
        Assert.Null(verdict.FirstBad);
        Assert.Equal(daemon.History.Committed.Sequence, verdict.Entries);
    }

    private static Task RetireAsync(Daemon daemon, long generation) => daemon.Operations.RetireRoot.RunAsync(
        Daemon.Operator, new RetireRootRequest { Generation = generation, Reason = "it was replaced" }, CancellationToken.None);

    private static Task<KeyDescription> RotateAsync(Daemon daemon, string key) =>
        daemon.Operations.RotateKey.RunAsync(Daemon.Manager, new KeyRequest { Key = key }, CancellationToken.None);

    private static async Task DeleteAsync(Daemon daemon, string key)
    {
        _ = await daemon.Operations.RequestDeletion.RunAsync(Daemon.Manager, new DeleteKeyRequest { Key = key, ConfirmName = key }, CancellationToken.None);
        _ = await daemon.Operations.DeleteKey.RunAsync(Daemon.Manager, new DeleteKeyRequest { Key = key, ConfirmName = key }, CancellationToken.None);
    }
}
