using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>
/// Blobs, bindings and public keys exchanged in the database by somebody who can make valid row codes too (<c>KMSD_TEST_RECODE</c>):
/// what ties each of them to its own version refuses every use of it.
/// </summary>
public sealed class ExchangedMaterialTests(ExchangedMaterialTests.Fixture fixture) : IClassFixture<ExchangedMaterialTests.Fixture>
{
    private const string Blob = "blob";
    private const string BlobAndBinding = "blob, mechanism, binding";
    private const string BlobAndBindingAlone = "blob, binding";
    private const string Binding = "binding";
    private const string Nothing = "";
    private const string PublicKey = "public_key";

    // Which version is exchanged with which: what of its material, and what of its own row. A name is protection-type-key:version.
    [Theory]
    [InlineData("software-aes-a:2", "software-aes-b:2", Blob, Nothing)]
    [InlineData("software-aes-a:2", "software-aes-a:1", Blob, Nothing)]
    [InlineData("software-rsa-a:2", "software-rsa-b:2", Blob, Nothing)]
    [InlineData("software-rsa-a:2", "software-rsa-a:1", Blob, Nothing)]
    [InlineData("software-rsa-a:2", "software-rsa-b:2", Blob, PublicKey)]
    [InlineData("software-rsa-a:2", "software-rsa-a:1", Blob, PublicKey)]
    [InlineData("software-rsa-a:2", "software-rsa-b:2", Nothing, PublicKey)]
    [InlineData("software-rsa-a:2", "software-rsa-a:1", Nothing, PublicKey)]
    [InlineData("software-ecdsa-a:2", "software-ecdsa-b:2", Blob, Nothing)]
    [InlineData("software-ecdsa-a:2", "software-ecdsa-a:1", Blob, Nothing)]
    [InlineData("software-ecdsa-a:2", "software-ecdsa-b:2", Blob, PublicKey)]
    [InlineData("software-ecdsa-a:2", "software-ecdsa-b:2", Nothing, PublicKey)]
    [InlineData("software-ecdsa-a:2", "software-ecdsa-a:1", Nothing, PublicKey)]
    [InlineData("hsm-aes-a:2", "hsm-aes-b:2", Blob, Nothing)]
    [InlineData("hsm-aes-a:2", "hsm-aes-a:1", Blob, Nothing)]
    [InlineData("hsm-aes-a:2", "hsm-aes-b:2", BlobAndBinding, Nothing)]
    [InlineData("hsm-aes-a:2", "hsm-aes-a:1", BlobAndBinding, Nothing)]
    [InlineData("hsm-aes-a:2", "hsm-aes-b:2", Binding, Nothing)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-b:2", Blob, Nothing)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-a:1", Blob, Nothing)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-b:2", BlobAndBinding, Nothing)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-b:2", BlobAndBinding, PublicKey)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-a:1", BlobAndBinding, PublicKey)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-b:2", Blob, PublicKey)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-b:2", Binding, PublicKey)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-b:2", Binding, Nothing)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-b:2", Nothing, PublicKey)]
    [InlineData("hsm-rsa-a:2", "hsm-rsa-a:1", Nothing, PublicKey)]
    [InlineData("hsm-ecdsa-a:2", "hsm-ecdsa-b:2", Blob, Nothing)]
    [InlineData("hsm-ecdsa-a:2", "hsm-ecdsa-b:2", BlobAndBinding, Nothing)]
    [InlineData("hsm-ecdsa-a:2", "hsm-ecdsa-b:2", BlobAndBinding, PublicKey)]
    [InlineData("hsm-ecdsa-a:2", "hsm-ecdsa-a:1", BlobAndBinding, PublicKey)]
    [InlineData("hsm-ecdsa-a:2", "hsm-ecdsa-b:2", Binding, PublicKey)]
    [InlineData("hsm-ecdsa-a:2", "hsm-ecdsa-b:2", Nothing, PublicKey)]
    [InlineData("hsm-ecdsa-a:2", "hsm-ecdsa-a:1", Nothing, PublicKey)]

    // Of another type or protection.
    [InlineData("hsm-aes-a:2", "software-aes-a:2", BlobAndBindingAlone, Nothing)]
    [InlineData("hsm-rsa-a:2", "software-rsa-a:2", BlobAndBindingAlone, PublicKey)]
    [InlineData("hsm-ecdsa-a:2", "software-ecdsa-a:2", BlobAndBindingAlone, PublicKey)]
    [InlineData("hsm-rsa-a:2", "hsm-aes-a:2", BlobAndBinding, PublicKey)]
    [InlineData("hsm-rsa-a:2", "hsm-ecdsa-a:2", BlobAndBinding, PublicKey)]
    [InlineData("software-rsa-a:2", "software-ecdsa-a:2", Blob, PublicKey)]
    [InlineData("software-ecdsa-a:2", "software-aes-a:2", Blob, PublicKey)]
    [InlineData("software-rsa-a:2", "software-ecdsa-a:2", Nothing, PublicKey)]
    public async Task What_was_exchanged_is_never_used(string one, string other, string ofMaterial, string ofVersion)
    {
        await using Wire wire = await fixture.StartAfterAsync(
            Exchange("version_material", ofMaterial, one, other) + Exchange("versions", ofVersion, one, other));
        await CheckRefusedAsync(wire, one);
        await CheckRefusedAsync(wire, other);
        await CheckServedAsync(wire, "bystander:1");
    }

    [Theory]
    [InlineData("software-rsa-a:2", "UPDATE versions SET public_key = NULL")]
    [InlineData("software-rsa-a:2", "UPDATE versions SET public_key = x'00'")]
    [InlineData("software-ecdsa-a:2", "UPDATE versions SET public_key = NULL")]
    [InlineData("hsm-rsa-a:2", "UPDATE versions SET public_key = NULL")]
    [InlineData("hsm-ecdsa-a:2", "UPDATE versions SET public_key = NULL")]
    [InlineData("hsm-ecdsa-a:2", "UPDATE version_material SET binding = NULL")]
    [InlineData("hsm-aes-a:2", "UPDATE version_material SET binding = NULL")]
    [InlineData("hsm-aes-a:2", "UPDATE version_material SET blob = x''")]
    [InlineData("software-aes-a:2", "UPDATE version_material SET blob = x''")]
    [InlineData("hsm-rsa-a:2", "UPDATE version_material SET blob = zeroblob(length(blob))")]
    [InlineData("hsm-aes-a:2", "UPDATE version_material SET mechanism = 'CKM_AES_KEY_WRAP_PAD'")]
    [InlineData("software-aes-a:2", "UPDATE version_material SET generation = 2")]
    public async Task What_was_taken_away_is_never_used(string one, string sql)
    {
        await using Wire wire = await fixture.StartAfterAsync($"{sql} WHERE {fixture.Where(one)}");
        await CheckRefusedAsync(wire, one);
        await CheckServedAsync(wire, "bystander:1");
    }

    /// <summary>Such a row may come from a later version, which knows the mechanism.</summary>
    [Fact]
    public async Task What_was_wrapped_by_an_unknown_mechanism_is_unsupported()
    {
        await using Wire wire = await fixture.StartAfterAsync($"UPDATE version_material SET mechanism = 'CKM_AES_GCM' WHERE {fixture.Where("hsm-rsa-a:2")}");
        await CheckRefusedAsync(wire, "hsm-rsa-a:2", "unsupported");
        await CheckServedAsync(wire, "bystander:1");
    }

    [Fact]
    public async Task With_codes_made_anew_and_nothing_exchanged_everything_is_served()
    {
        await using Wire wire = await fixture.StartAfterAsync("UPDATE version_material SET row_code = zeroblob(32); UPDATE versions SET row_code = zeroblob(32);");
        foreach (string name in fixture.Names)
        {
            await CheckServedAsync(wire, name + ":1");
            await CheckServedAsync(wire, name + ":2");
        }
    }

    private async Task CheckRefusedAsync(Wire wire, string version, string expected = "integrityFailure")
    {
        foreach ((string method, string parameters) in fixture.UsesOf(version))
        {
            JsonElement answer = await wire.CallAsync(method, parameters);
            string reason = Wire.Reason(
                answer.TryGetProperty("result", out JsonElement result) && result.TryGetProperty("items", out JsonElement items) ? items[0] : answer);
            Assert.True(reason == expected, $"{method} of {version}: {reason}");
        }
    }

    private async Task CheckServedAsync(Wire wire, string version)
    {
        foreach ((string method, string parameters) in fixture.UsesOf(version))
        {
            JsonElement answer = await wire.CallAsync(method, parameters);
            Assert.True(Wire.Reason(answer) == "ok", $"{method} of {version}: {answer}");
            Assert.False(answer.GetProperty("result").TryGetProperty("valid", out JsonElement valid) && !valid.GetBoolean(), $"{method} of {version}");
        }
    }

    private string Exchange(string table, string columns, string one, string other)
    {
        if (columns.Length == 0)
        {
            return "";
        }

        string both = $"({fixture.Where(one)} OR {fixture.Where(other)})";
        return $"""
            CREATE TEMP TABLE was_{table} AS SELECT rowid AS id, * FROM {table} WHERE {both};
            UPDATE {table} SET ({columns}) = (SELECT {columns} FROM was_{table} WHERE id != {table}.rowid) WHERE {both};

            """;
    }

    /// <summary>Keys of every kind with two versions, and what they sealed and signed; each test changes a copy of their database.</summary>
    public sealed class Fixture : IAsyncLifetime
    {
        private readonly Dictionary<string, Made> _made = [];
        private Installation _host = null!;
        private Daemon? _daemon;

        public IEnumerable<string> Names => _made.Keys.Where(name => name != "bystander");

        private string Original => Path.Combine(_host.Path, "original.db");

        public async ValueTask InitializeAsync()
        {
            _host = await Installation.MakeAsync();
            _host.Set("token", "anchor", "off"); // Each test puts the database back, which the anchor would see.
            await using Daemon daemon = await _host.StartAsync();
            await using Wire wire = await Wire.ConnectAsync(_host.Socket);
            _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
            foreach (string protection in new[] { "software", "hsm" })
            {
                foreach ((string word, string type) in new[] { ("aes", "AES256-GCM96"), ("rsa", "RSA-2048"), ("ecdsa", "ECDSA-P256") })
                {
                    await MakeAsync(wire, $"{protection}-{word}-a", type, protection, versions: 2);
                    await MakeAsync(wire, $"{protection}-{word}-b", type, protection, versions: 2);
                }
            }

            await MakeAsync(wire, "bystander", "RSA-2048", "software", versions: 1);
            Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
            File.Copy(_host.Database, Original);
        }

        public async ValueTask DisposeAsync()
        {
            await StopAsync();
            await _host.DisposeAsync();
        }

        /// <summary>The rows of a version, in a condition.</summary>
        internal string Where(string version) => $"(tag = x'{_made[version.Split(':')[0]].Tag}' AND version = {version.Split(':')[1]})";

        /// <summary>Starts the build with test hooks on a copy of the database that this was done to.</summary>
        internal async Task<Wire> StartAfterAsync(string sql)
        {
            await StopAsync();
            File.Delete(_host.Database + "-wal");
            File.Delete(_host.Database + "-shm");
            File.Copy(Original, _host.Database, overwrite: true);
            await _host.SqlAsync(sql);
            _daemon = await _host.StartTestBuildAsync(new() { ["KMSD_TEST_RECODE"] = "1" });
            return await Wire.ConnectAsync(_host.Socket);
        }

        /// <summary>Every way to use a version.</summary>
        internal IEnumerable<(string Method, string Parameters)> UsesOf(string version)
        {
            (string name, int number) = (version.Split(':')[0], int.Parse(version.Split(':')[1], System.Globalization.CultureInfo.InvariantCulture));
            Made made = _made[name];
            string key = $"\"key\":\"{made.Tag}\"";
            bool isNewest = number == made.Sealed.Count;
            if (made.Type != "ECDSA-P256")
            {
                yield return ("crypto.decrypt", $$"""{{{key}},"ciphertext":"{{made.Sealed[number - 1]}}"}""");
                yield return ("crypto.reencrypt", $$"""{{{key}},"ciphertext":"{{made.Sealed[number - 1]}}"}""");
                yield return ("crypto.decryptBatch", $$"""{{{key}},"items":[{"ciphertext":"{{made.Sealed[number - 1]}}"}]}""");
                yield return ("crypto.reencryptBatch", $$"""{{{key}},"items":[{"ciphertext":"{{made.Sealed[number - 1]}}"}]}""");
                if (isNewest)
                {
                    yield return ("crypto.encrypt", $$"""{{{key}},"plaintext":"QQ=="}""");
                    yield return ("crypto.encryptBatch", $$"""{{{key}},"items":[{"plaintext":"QQ=="}]}""");
                    yield return ("crypto.createDataKey", $$"""{{{key}}}""");
                }
            }

            if (made.Type != "AES256-GCM96")
            {
                yield return ("crypto.verify", $$"""{{{key}},"message":"QQ==","signature":"{{made.Signed[number - 1]}}"}""");
                yield return ("keys.getPublicKey", $$"""{{{key}},"version":{{number}}}""");
                if (isNewest)
                {
                    yield return ("crypto.sign", $$"""{{{key}},"message":"QQ=="}""");
                }
            }
        }

        private async Task StopAsync()
        {
            if (_daemon is not null)
            {
                await _daemon.DisposeAsync();
                _daemon = null;
            }
        }

        private async Task MakeAsync(Wire wire, string name, string type, string protection, int versions)
        {
            JsonElement key = await wire.ResultAsync(
                "keys.create", $$$"""{"name":"{{{name}}}","type":"{{{type}}}","protection":"{{{protection}}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
            Made made = new(key.GetProperty("tag").GetString()!, type);
            _made.Add(name, made);
            for (int version = 1; version <= versions; version++)
            {
                if (version > 1)
                {
                    _ = await wire.ResultAsync("keys.rotate", $$"""{"key":"{{name}}"}""");
                }

                made.Sealed.Add(type == "ECDSA-P256" ? "" : await wire.EncryptAsync(name, "A"u8.ToArray()));
                made.Signed.Add(type == "AES256-GCM96" ? "" : (await wire.ResultAsync("crypto.sign", $$"""{"key":"{{name}}","message":"QQ=="}"""))
                    .GetProperty("signature").GetString()!);
            }
        }

        private sealed record Made(string Tag, string Type)
        {
            public List<string> Sealed { get; } = [];

            public List<string> Signed { get; } = [];
        }
    }
}
