using System.Diagnostics;
using System.Formats.Asn1;
using System.Security.Cryptography;
using Kms.EndToEnd.Tests.Support;
using Kms.Hsm.Tests;

namespace Kms.EndToEnd.Tests;

/// <summary>
/// The memory of the running release, searched from outside for the bytes of its keys. The test knows them from the token's files
/// and the PIN: with the root keys it opens the blobs as the daemon does. The root keys themselves are never there.
/// </summary>
public sealed class MemoryTests : IAsyncLifetime
{
    private static readonly string[] s_types = ["AES256-GCM96", "RSA-2048", "ECDSA-P256"];

    private readonly List<Known> _keys = [];
    private readonly Dictionary<MemorySearch, string> _roots = [];
    private Installation _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await Installation.MakeAsync();
        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        foreach (string protection in new[] { "software", "hsm" })
        {
            foreach (string type in s_types)
            {
                string name = $"{protection}-{type}";
                _ = await wire.ResultAsync(
                    "keys.create", $$$"""{"name":"{{{name}}}","type":"{{{type}}}","protection":"{{{protection}}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
                _keys.Add(new Known(name, type, protection));
            }
        }

        await LearnAsync(wire);
        Assert.Equal(0, (await daemon.StopAsync()).ExitCode);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData("keys.disable", "{\"key\":\"$\"}")]
    [InlineData("keys.requestDeletion", "{\"key\":\"$\",\"confirmName\":\"$\"}")]
    public async Task A_key_that_may_not_be_used_is_nowhere_in_memory(string method, string parameters)
    {
        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        AssertNotFound(daemon, "before its first use");
        await UseAsync(wire);
        AssertFoundInSoftwareAlone(daemon);
        foreach (Known key in _keys)
        {
            _ = await wire.ResultAsync(method, parameters.Replace("$", key.Name, StringComparison.Ordinal));
        }

        AssertNotFound(daemon, "after " + method);
    }

    [Fact]
    public async Task A_version_that_may_not_be_used_is_nowhere_in_memory()
    {
        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        await UseAsync(wire);
        AssertFoundInSoftwareAlone(daemon);
        foreach (Known key in _keys)
        {
            _ = await wire.ResultAsync("keys.rotate", $$"""{"key":"{{key.Name}}"}""");
            _ = await wire.ResultAsync("versions.disable", $$"""{"key":"{{key.Name}}","version":1}""");
        }

        AssertNotFound(daemon, "after versions.disable");
    }

    [Fact]
    public async Task A_key_that_is_not_used_for_the_idle_time_is_nowhere_in_memory()
    {
        _host.Set("keys", "cache_idle", "1s");
        await using Daemon daemon = await _host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(_host.Socket);
        foreach (Known key in _keys.Where(key => key.Protection == "software"))
        {
            // Found at least once while it is used again and again.
            long began = Stopwatch.GetTimestamp();
            do
            {
                Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(10), $"{key.Name} is never found.");
                await key.UseAsync(wire);
            }
            while (!Find(daemon, key).Exists(place => place.StartsWith(key.Name, StringComparison.Ordinal)));
        }

        await UseAsync(wire);
        long last = Stopwatch.GetTimestamp();
        while (Find(daemon, [.. _keys]) is { Count: > 0 } found)
        {
            Assert.True(Stopwatch.GetElapsedTime(last) < TimeSpan.FromSeconds(10), string.Join(", ", found));
            await Task.Delay(200, TestContext.Current.CancellationToken);
        }
    }

    private async Task UseAsync(Wire wire)
    {
        // Several times: each use may leave something behind.
        for (int time = 0; time < 5; time++)
        {
            foreach (Known key in _keys)
            {
                await key.UseAsync(wire);
            }
        }
    }

    /// <summary>Which numbers of these keys, and which root keys, are in the daemon's memory, and where.</summary>
    private List<string> Find(Daemon daemon, params Known[] keys)
    {
        var names = keys.SelectMany(key => key.Searches).Concat(_roots).ToDictionary();
        return [.. MemorySearch.Run(daemon.Id, [.. names.Keys]).Select(found => $"{names[found.Secret]} in {found.Place}")];
    }

    private void AssertFoundInSoftwareAlone(Daemon daemon)
    {
        List<string> found = Find(daemon, [.. _keys]);
        Assert.DoesNotContain(found, place => _roots.Values.Any(label => place.StartsWith(label, StringComparison.Ordinal)));
        foreach (Known key in _keys)
        {
            Assert.True(
                key.Protection == "software" == found.Exists(place => place.StartsWith(key.Name, StringComparison.Ordinal)),
                $"{key.Name} in use: {string.Join(", ", found)}");
        }
    }

    private void AssertNotFound(Daemon daemon, string when)
    {
        List<string> found = Find(daemon, [.. _keys]);
        Assert.True(found.Count == 0, $"{when}: {string.Join(", ", found)}");
    }

    /// <summary>Opens what the database holds with what the token's files hold.</summary>
    private async Task LearnAsync(Wire wire)
    {
        Dictionary<string, byte[]> roots = TokenFiles.ReadSecretKeys(Path.Combine(_host.Path, "tokens"), File.ReadAllText(_host.PinFile).TrimEnd('\n'));
        byte[] seal = roots.Single(key => key.Key.StartsWith("kmsd-root-seal-", StringComparison.Ordinal)).Value;
        byte[] wrap = roots.Single(key => key.Key.StartsWith("kmsd-root-wrap-", StringComparison.Ordinal)).Value;
        foreach ((string label, byte[] root) in roots)
        {
            _roots.Add(new MemorySearch(root), label);
        }

        foreach (Known key in _keys)
        {
            string blob = await Shell.SucceedAsync(
                "sqlite3", _host.Database, $"SELECT hex(blob) FROM version_material JOIN keys USING (tag) WHERE name = '{key.Name}'");
            byte[] sealedKey = Convert.FromHexString(blob.Trim());
            await key.LearnAsync(wire, key.Protection == "software" ? OpenSealed(seal, sealedKey) : KeyWrap.Unwrap(wrap, sealedKey));
        }
    }

    /// <summary>Nonce ‖ ciphertext ‖ tag. Only the text is of interest: GCM's is counter mode from 2 on (NIST SP 800-38D, section 7.1).</summary>
    private static byte[] OpenSealed(byte[] key, byte[] blob)
    {
        using var aes = Aes.Create();
        aes.Key = key;
        byte[] text = blob[12..^16];
        for (int block = 0; block * 16 < text.Length; block++)
        {
            byte[] counter = [.. blob[..12], 0, 0, 0, (byte)(block + 2)];
            byte[] stream = aes.EncryptEcb(counter, PaddingMode.None);
            for (int i = 0; i < 16 && (block * 16) + i < text.Length; i++)
            {
                text[(block * 16) + i] ^= stream[i];
            }
        }

        return text;
    }

    /// <summary>A key, and searches for the numbers in it that nobody may know.</summary>
    private sealed class Known(string name, string type, string protection)
    {
        private const int SearchedLength = 24;

        private static readonly string[] s_rsaNumbers = ["d", "p", "q", "dp", "dq", "qInv"];

        private readonly Dictionary<MemorySearch, string> _searches = [];

        public string Name => name;

        public string Protection => protection;

        public IReadOnlyDictionary<MemorySearch, string> Searches => _searches;

        /// <summary>Sees that this is the daemon's key indeed, and keeps what to search for.</summary>
        public async Task LearnAsync(Wire wire, byte[] material)
        {
            if (type == "AES256-GCM96")
            {
                byte[] text = "a text of some length"u8.ToArray();
                string ciphertext = await wire.EncryptAsync(name, text);
                Assert.Equal(text, OpenSealed(material, Convert.FromBase64String(ciphertext["kms:v1:".Length..])));
            }
            else
            {
                using AsymmetricAlgorithm pair = type == "RSA-2048" ? RSA.Create() : ECDsa.Create();
                pair.ImportPkcs8PrivateKey(WithoutPadding(material).Span, out _);
                string publicKey = (await wire.ResultAsync("keys.getPublicKey", $$"""{"key":"{{name}}"}""")).GetProperty("publicKey").GetString()!;
                Assert.Equal(publicKey.TrimEnd(), pair.ExportSubjectPublicKeyInfoPem());
            }

            List<(string Part, byte[] Bytes)> secrets = type switch
            {
                "AES256-GCM96" => [("key", material)],
                "RSA-2048" => RsaNumbers(material),
                _ => [("d", EcScalar(material))],
            };
            foreach ((string part, byte[] bytes) in secrets)
            {
                // Not the first bytes: leading zeros may be kept or not.
                _searches.Add(new MemorySearch(bytes.AsSpan(4, SearchedLength)), $"{name} {part}");
            }
        }

        public async Task UseAsync(Wire wire)
        {
            if (type != "ECDSA-P256")
            {
                Assert.Equal("A"u8.ToArray(), await wire.DecryptAsync(name, await wire.EncryptAsync(name, "A"u8.ToArray())));
            }

            if (type != "AES256-GCM96")
            {
                _ = await wire.ResultAsync("crypto.sign", $$"""{"key":"{{name}}","message":"QQ=="}""");
            }
        }

        /// <summary>All of RSAPrivateKey (RFC 8017, appendix A.1.2) but what is public.</summary>
        private static List<(string, byte[])> RsaNumbers(byte[] material)
        {
            AsnReader reader = new(PrivateKey(material), AsnEncodingRules.DER);
            AsnReader numbers = reader.ReadSequence();
            _ = numbers.ReadInteger();
            _ = numbers.ReadInteger();
            _ = numbers.ReadInteger();
            return [.. s_rsaNumbers.Select(part => (part, numbers.ReadIntegerBytes().ToArray().SkipWhile(value => value == 0).ToArray()))];
        }

        /// <summary>Of ECPrivateKey (RFC 5915, section 3).</summary>
        private static byte[] EcScalar(byte[] material)
        {
            AsnReader key = new AsnReader(PrivateKey(material), AsnEncodingRules.DER).ReadSequence();
            _ = key.ReadInteger();
            return key.ReadOctetString();
        }

        /// <summary>What a padded wrap has added is left.</summary>
        private static ReadOnlyMemory<byte> WithoutPadding(byte[] material)
        {
            _ = AsnDecoder.ReadEncodedValue(material, AsnEncodingRules.DER, out _, out _, out int length);
            return material.AsMemory(0, length);
        }

        /// <summary>Of PrivateKeyInfo (RFC 5208, section 5).</summary>
        private static byte[] PrivateKey(byte[] material)
        {
            AsnReader info = new AsnReader(WithoutPadding(material), AsnEncodingRules.DER).ReadSequence();
            _ = info.ReadInteger();
            _ = info.ReadSequence();
            return info.ReadOctetString();
        }
    }
}
