using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.History;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Tests.History;

public sealed class HistoryLogTests
{
    [Fact]
    public async Task Every_change_and_every_use_leaves_its_entry()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        KeyDescription key = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1", "a text"u8.ToArray(), "ctx"u8.ToArray());
        _ = await Refusal.OfAsync(KmsErrorCode.InvalidCiphertext, () => daemon.DecryptAsync(Daemon.Uid(2000), "key-1", ciphertext));
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:3000", KeyRole.Reviewer);
        _ = await daemon.RemoveGrantAsync(Daemon.Manager, "key-1", "uid:3000", KeyRole.Reviewer);
        _ = await daemon.RemoveMemberAsync(Daemon.Operator, "uid:3000");
        Assert.Equal(
            [
                "1 system init   ok root generation 1, origin token",
                "2 store members.add uid:0 4711 ok uid:1000 manager",
                "3 key keys.create uid:1000 4711 ok key-1: uid:2000 encryptorDecryptor",
                "4 key crypto.encrypt uid:2000 4711 ok ",
                "5 key crypto.decrypt uid:2000 4711 invalidCiphertext ",
                "6 key grants.add uid:1000 4711 ok uid:3000 reviewer",
                "7 key grants.remove uid:1000 4711 ok uid:3000 reviewer",
                "8 store members.remove uid:0 4711 ok uid:3000 user, 0 grants ended",
            ],
            Lines(daemon));
        Assert.Equal(key.Tag, daemon.Query("SELECT lower(hex(tag)) FROM history WHERE sequence = 4"));
        Assert.Equal(SHA256.HashData("ctx"u8), daemon.Query("SELECT context_digest FROM history WHERE sequence = 4"));
    }

    [Fact]
    public async Task An_entry_holds_the_unit_and_answers_for_it()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        KeyDescription key = await daemon.CreateKeyAsync("key-1", ("unit:nginx.service", KeyRole.Encryptor));
        _ = await daemon.EncryptAsync(Daemon.Unit("nginx.service", 61184), "key-1");
        _ = await daemon.EncryptAsync(Daemon.Unit("nginx.service", 33), "key-1");
        _ = await daemon.AddGrantAsync(Daemon.Manager, "key-1", "uid:2000", KeyRole.Reviewer);
        Assert.Equal("unit:nginx.service 61184 nginx.service", Who(4));
        Assert.Equal("uid:33 33 nginx.service", Who(5));
        Assert.Equal("uid:1000 1000 none", Who(6));

        byte[] salt = (byte[])daemon.Query("SELECT salt FROM history WHERE sequence = 5")!;
        HistoryEntry entry = new()
        {
            At = daemon.Clock.GetUtcNow(),
            Scope = HistoryScope.Key,
            Operation = "crypto.encrypt",
            Caller = Daemon.Unit("nginx.service", 33),
            StoreId = daemon.Catalogue.Current.Keys[KeyTag.Parse(key.Tag)].StoreId.ToBytes(),
            Tag = KeyTag.Parse(key.Tag),
            Version = 1,
            Items = 1,
        };
        object? stored = daemon.Query("SELECT digest FROM history WHERE sequence = 5");
        Assert.Equal(stored, HistoryChain.Digest(salt, entry.ToStored(1).Encode(new RowEncoding()).Bytes));
        HistoryEntry other = entry with { Caller = Daemon.Unit("vault.service", 33) };
        Assert.NotEqual(stored, HistoryChain.Digest(salt, other.ToStored(1).Encode(new RowEncoding()).Bytes));

        object? Who(int sequence) => daemon.Query(
            $"SELECT format('%s %d %s', principal, uid, coalesce(unit, 'none')) FROM history WHERE sequence = {sequence}");
    }

    [Fact]
    public async Task A_refused_change_leaves_no_entry_and_no_gap()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1");
        Task<KeyDescription>[] creations = [.. Enumerable.Range(0, 20).Select(number => daemon.CreateKeyAsync($"key-{number / 2}"))];
        _ = await Task.WhenAny(Task.WhenAll(creations));
        Assert.Contains(creations, creation => creation.IsFaulted);
        Assert.Equal(daemon.Query("SELECT max(sequence) FROM history"), daemon.Query("SELECT count(*) FROM history"));
        Assert.Equal(10L, daemon.Query("SELECT count(*) FROM history WHERE operation = 'keys.create'"));
        await daemon.RestartAsync();
        Assert.Equal(10, daemon.Catalogue.Current.Keys.Count);
    }

    [Fact]
    public async Task The_chain_is_computed_again_from_its_rows_over_restarts()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.Encryptor));
        await daemon.RestartAsync();
        _ = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => daemon.EncryptAsync(Daemon.Uid(2000), "key-1")));
        byte[] link = HistoryChain.Origin(daemon.InstanceId);
        int count = daemon.Run("SELECT sequence, digest, link FROM history ORDER BY sequence", command =>
        {
            using Microsoft.Data.Sqlite.SqliteDataReader reader = command.ExecuteReader();
            using SecretBytes historyKey = daemon.Root.DeriveKey(TokenAccess.HistoryKeyLabel);
            using SecretLease lease = historyKey.Open();
            int rows = 0;
            while (reader.Read())
            {
                link = HistoryChain.Link(lease.Bytes, link, reader.GetInt64(0), reader.GetFieldValue<byte[]>(1));
                Assert.Equal(link, reader.GetFieldValue<byte[]>(2));
                rows++;
            }

            return rows;
        });
        Assert.Equal(53, count);
        Assert.Equal(link, daemon.Query("SELECT link FROM history_heads"));
    }

    [Fact]
    public async Task No_plaintext_or_context_is_anywhere_in_the_database()
    {
        byte[] text = "a-very-peculiar-plaintext"u8.ToArray();
        byte[] context = "a-very-peculiar-context"u8.ToArray();
        await using Daemon daemon = await Daemon.StartAsync();
        _ = await daemon.CreateKeyAsync("key-1", ("uid:2000", KeyRole.EncryptorDecryptor));
        string ciphertext = await daemon.EncryptAsync(Daemon.Uid(2000), "key-1", text, context);
        _ = await daemon.DecryptAsync(Daemon.Uid(2000), "key-1", ciphertext, context);
        await daemon.StopAsync();
        byte[] file = await File.ReadAllBytesAsync(daemon.Path, TestContext.Current.CancellationToken);
        Assert.True(file.AsSpan().IndexOf("crypto.encrypt"u8) > 0);
        Assert.Equal(-1, file.AsSpan().IndexOf(text));
        Assert.Equal(-1, file.AsSpan().IndexOf(context));
    }

    private static List<string> Lines(Daemon daemon) => daemon.Run(
        """
        SELECT format('%d %s %s %s %s %s %s', sequence, scope, operation, principal, pid, outcome, detail) FROM history ORDER BY sequence
        """,
        command =>
        {
            List<string> lines = [];
            using Microsoft.Data.Sqlite.SqliteDataReader reader = command.ExecuteReader();
            while (reader.Read())
            {
                lines.Add(reader.GetString(0));
            }

            return lines;
        });
}
