using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Both sides of every limit of docs/api.md: the value at the limit works, the one beyond it is refused.</summary>
public sealed class LimitTests(LimitTests.Fixture fixture) : IClassFixture<LimitTests.Fixture>
{
    private const int KeysPerStore = 12;
    private const int GrantsPerKey = 3;
    private const int MembersPerStore = 5;
    private const int VersionsPerKey = 4;

    private const string Digest = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    // One of the names below, the value that works, the one that doesn't, and the reason.
    [Theory]
    [InlineData("name", 3, 2, "invalidParams")]
    [InlineData("name", 64, 65, "invalidParams")]
    [InlineData("new name", 3, 2, "invalidParams")]
    [InlineData("new name", 64, 65, "invalidParams")]
    [InlineData("memo", 0, 101, "invalidParams")]
    [InlineData("memo", 100, 101, "invalidParams")]
    [InlineData("astral memo", 100, 101, "invalidParams")]
    [InlineData("new memo", 100, 101, "invalidParams")]
    [InlineData("new astral memo", 100, 101, "invalidParams")]
    [InlineData("period", 1, 0, "invalidParams")]
    [InlineData("period", 730, 731, "invalidParams")]
    [InlineData("new period", 1, 0, "invalidParams")]
    [InlineData("new period", 730, 731, "invalidParams")]
    [InlineData("plaintext", 0, 32769, "tooLarge")]
    [InlineData("plaintext", 32768, 32769, "tooLarge")]
    [InlineData("plaintext to rsa", 0, 191, "tooLarge")]
    [InlineData("plaintext to rsa", 190, 191, "tooLarge")]
    [InlineData("context of encrypt", 1024, 1025, "tooLarge")]
    [InlineData("context of decrypt", 1024, 1025, "tooLarge")]
    [InlineData("context of reencrypt", 1024, 1025, "tooLarge")]
    [InlineData("new context of reencrypt", 1024, 1025, "tooLarge")]
    [InlineData("context of a data key", 1024, 1025, "tooLarge")]
    [InlineData("context in encryptBatch", 1024, 1025, "tooLarge")]
    [InlineData("context in decryptBatch", 1024, 1025, "tooLarge")]
    [InlineData("context in reencryptBatch", 1024, 1025, "tooLarge")]
    [InlineData("new context in reencryptBatch", 1024, 1025, "tooLarge")]
    [InlineData("context to rsa", 0, 1, "invalidParams")]
    [InlineData("bits of a data key", 128, 127, "invalidParams")]
    [InlineData("bits of a data key", 128, 129, "invalidParams")]
    [InlineData("bits of a data key", 256, 192, "invalidParams")]
    [InlineData("bits of a data key", 256, 255, "invalidParams")]
    [InlineData("bits of a data key", 512, 511, "invalidParams")]
    [InlineData("bits of a data key", 512, 1024, "invalidParams")]
    [InlineData("bits of a data key of rsa", 512, 0, "invalidParams")]
    [InlineData("message to sign", 0, 8193, "tooLarge")]
    [InlineData("message to sign", 8192, 8193, "tooLarge")]
    [InlineData("message to verify", 8192, 8193, "tooLarge")]
    [InlineData("digest to sign", 32, 31, "invalidParams")]
    [InlineData("digest to sign", 32, 33, "invalidParams")]
    [InlineData("digest to verify", 32, 31, "invalidParams")]
    [InlineData("digest to verify", 32, 33, "invalidParams")]
    [InlineData("items of encryptBatch", 1, 0, "invalidParams")]
    [InlineData("items of encryptBatch", 1024, 1025, "invalidParams")]
    [InlineData("items of decryptBatch", 1, 0, "invalidParams")]
    [InlineData("items of decryptBatch", 1024, 1025, "invalidParams")]
    [InlineData("items of reencryptBatch", 1, 0, "invalidParams")]
    [InlineData("items of reencryptBatch", 1024, 1025, "invalidParams")]
    [InlineData("plaintext of encryptBatch", 32768, 32769, "tooLarge")]
    [InlineData("plaintext of decryptBatch", 32768, 32769, "tooLarge")]
    [InlineData("plaintext of reencryptBatch", 32768, 32769, "tooLarge")]
    [InlineData("plaintext of encryptBatch to rsa", 32768, 32769, "tooLarge")]
    [InlineData("plaintext of decryptBatch to rsa", 32768, 32769, "tooLarge")]
    [InlineData("plaintext of reencryptBatch to rsa", 32768, 32769, "tooLarge")]
    [InlineData("small items of decryptBatch to rsa", 300, 0, "invalidParams")]
    [InlineData("random bytes", 1, 0, "invalidParams")]
    [InlineData("random bytes", 1024, 1025, "invalidParams")]
    [InlineData("page of keys", 1, 0, "invalidParams")]
    [InlineData("page of keys", 200, 201, "invalidParams")]
    [InlineData("page of versions", 1, 0, "invalidParams")]
    [InlineData("page of versions", 200, 201, "invalidParams")]
    [InlineData("reason of a purge", 1, 0, "invalidParams")]
    [InlineData("reason of a purge", 100, 101, "invalidParams")]
    [InlineData("first grants", GrantsPerKey, GrantsPerKey + 1, "limitExceeded")]
    [InlineData("grants", GrantsPerKey, GrantsPerKey + 1, "limitExceeded")]
    [InlineData("members", MembersPerStore, MembersPerStore + 1, "limitExceeded")]
    [InlineData("members by grants", MembersPerStore, MembersPerStore + 1, "limitExceeded")]
    [InlineData("versions", VersionsPerKey, VersionsPerKey + 1, "limitExceeded")]
    [InlineData("keys", KeysPerStore, KeysPerStore + 1, "limitExceeded")]
    public async Task What_is_at_the_limit_works_and_what_is_beyond_is_refused(string limit, int good, int bad, string reason)
    {
        await using Wire wire = await Wire.ConnectAsync(fixture.Host.Socket);
        await Fixture.ClearAsync(wire);
        Assert.Equal("ok", await TryAsync(wire, limit, good));
        await Fixture.ClearAsync(wire);
        Assert.Equal(reason, await TryAsync(wire, limit, bad));
    }

    [Fact]
    public async Task A_refusal_names_the_limit_and_what_to_use_instead()
    {
        await using Wire wire = await Wire.ConnectAsync(fixture.Host.Socket);
        foreach ((string method, JsonObject parameters, string[] words) in new (string, JsonObject, string[])[]
        {
            ("crypto.encrypt", new() { ["key"] = "aes", ["plaintext"] = Zeros(32769) }, ["32768", "data key"]),
            ("crypto.encrypt", new() { ["key"] = "rsa", ["plaintext"] = Zeros(191) }, ["190", "AES", "data key"]),
            ("crypto.encrypt", new() { ["key"] = "aes", ["plaintext"] = "", ["context"] = Zeros(1025) }, ["1024"]),
            ("crypto.sign", new() { ["key"] = "ecdsa", ["message"] = Zeros(8193) }, ["8192", "digest"]),
        })
        {
            string message = (await wire.CallAsync(method, parameters.ToJsonString())).GetProperty("error").GetProperty("message").GetString()!;
            Assert.All(words, word => Assert.Contains(word, message, StringComparison.Ordinal));
        }
    }

    /// <summary>Does it, and says "ok" or why it was refused.</summary>
    private static Task<string> TryAsync(Wire wire, string limit, int value) => limit switch
    {
        "name" => ReasonAsync(wire, "keys.create", new() { ["name"] = new string('n', value), ["type"] = "AES256-GCM96" }),
        "new name" => ReasonAsync(wire, "keys.update", new() { ["key"] = "ecdsa", ["name"] = new string('n', value) }),
        "memo" => CreateAsync(wire, "memo", new string('m', value)),
        "astral memo" => CreateAsync(wire, "memo", Astral(value)),
        "new memo" => ReasonAsync(wire, "keys.update", new() { ["key"] = "aes", ["memo"] = new string('m', value) }),
        "new astral memo" => ReasonAsync(wire, "keys.update", new() { ["key"] = "aes", ["memo"] = Astral(value) }),
        "period" => CreateAsync(wire, "rotationPeriodDays", value),
        "new period" => ReasonAsync(wire, "keys.setRotationPeriod", new() { ["key"] = "aes", ["days"] = value }),
        "plaintext" => RoundTripAsync(wire, "aes", value),
        "plaintext to rsa" => RoundTripAsync(wire, "rsa", value),
        "context to rsa" => ReasonAsync(
            wire, "crypto.encrypt", new() { ["key"] = "rsa", ["plaintext"] = "QQ==", ["context"] = Zeros(value) }),
        "bits of a data key" => DataKeyAsync(wire, "aes", value),
        "bits of a data key of rsa" => DataKeyAsync(wire, "rsa", value),
        "random bytes" => RandomAsync(wire, value),
        "page of keys" => ReasonAsync(wire, "keys.list", new() { ["limit"] = value }),
        "page of versions" => ReasonAsync(wire, "versions.list", new() { ["key"] = "aes", ["limit"] = value }),
        "reason of a purge" => PurgeAsync(wire, value),
        "first grants" => CreateAsync(wire, "grants", Grants(value)),
        "grants" => AllAsync(Enumerable.Range(1, value).Select(number => ReasonAsync(
            wire, "grants.add", new() { ["key"] = "ungranted", ["principal"] = "uid:0", ["role"] = Role(number) }))),
        "members" => AllAsync(Enumerable.Range(1, value - 1).Select(number => ReasonAsync(
            wire, "members.add", new() { ["store"] = "default", ["principal"] = $"uid:{1000 + number}", ["role"] = "user" }))),
        "members by grants" => MembersByGrantsAsync(wire, value - 1),
        "versions" => AllAsync(Enumerable.Range(2, value - 1).Select(_ => ReasonAsync(wire, "keys.rotate", new() { ["key"] = "ungranted" }))),
        "keys" => AllAsync(Enumerable.Range(1, value - Fixture.KeptKeys).Select(number => ReasonAsync(
            wire, "keys.create", new() { ["name"] = $"made-{number}", ["type"] = "AES256-GCM96" }))),
        _ when limit.Contains("context", StringComparison.Ordinal) => ContextAsync(wire, limit, value),
        _ when limit.Contains("Batch", StringComparison.Ordinal) => BatchAsync(wire, limit, value),
        _ => SignatureAsync(wire, limit, value),
    };

    private static async Task<string> RoundTripAsync(Wire wire, string key, int length)
    {
        JsonElement answer = await wire.CallAsync("crypto.encrypt", new JsonObject { ["key"] = key, ["plaintext"] = Zeros(length) }.ToJsonString());
        if (Wire.Reason(answer) == "ok")
        {
            Assert.Equal(new byte[length], await wire.DecryptAsync(key, answer.GetProperty("result").GetProperty("ciphertext").GetString()!));
        }

        return Wire.Reason(answer);
    }

    private static async Task<string> DataKeyAsync(Wire wire, string key, int bits)
    {
        JsonElement answer = await wire.CallAsync(
            "crypto.createDataKey", new JsonObject { ["key"] = key, ["bits"] = bits, ["includePlaintext"] = true }.ToJsonString());
        if (Wire.Reason(answer) == "ok")
        {
            JsonElement result = answer.GetProperty("result");
            byte[] dataKey = result.GetProperty("plaintext").GetBytesFromBase64();
            Assert.Equal(bits, dataKey.Length * 8);
            Assert.Equal(dataKey, await wire.DecryptAsync(key, result.GetProperty("ciphertext").GetString()!));
        }

        return Wire.Reason(answer);
    }

    private static async Task<string> RandomAsync(Wire wire, int bytes)
    {
        JsonElement answer = await wire.CallAsync("crypto.random", new JsonObject { ["bytes"] = bytes }.ToJsonString());
        if (Wire.Reason(answer) == "ok")
        {
            Assert.Equal(bytes, answer.GetProperty("result").GetProperty("random").GetBytesFromBase64().Length);
        }

        return Wire.Reason(answer);
    }

    private static async Task<string> PurgeAsync(Wire wire, int length)
    {
        JsonElement made = await wire.ResultAsync("keys.create", """{"name":"to-purge","type":"AES256-GCM96"}""");
        _ = await wire.ResultAsync("keys.requestDeletion", """{"key":"to-purge"}""");
        _ = await wire.ResultAsync("keys.deleteNow", """{"key":"to-purge"}""");
        return await ReasonAsync(
            wire, "deletedKeys.purge", new() { ["tag"] = made.GetProperty("tag").GetString(), ["reason"] = new string('r', length) });
    }

    /// <summary>Whoever gets a role on a key becomes a member; two keys, since each has room for few.</summary>
    private static Task<string> MembersByGrantsAsync(Wire wire, int count) => AllAsync(Enumerable.Range(1, count).Select(number => ReasonAsync(
        wire,
        "grants.add",
        new() { ["key"] = number % 2 == 0 ? "ungranted" : "other", ["principal"] = $"uid:{1000 + number}", ["role"] = "reviewer" })));

    /// <summary>Of one method, with a ciphertext that fits the context where it can have one.</summary>
    private static async Task<string> ContextAsync(Wire wire, string limit, int length)
    {
        bool isNew = limit.StartsWith("new", StringComparison.Ordinal);
        string fitting = Zeros(Math.Min(length, 1024));
        string ciphertext = (await wire.ResultAsync(
            "crypto.encrypt", new JsonObject { ["key"] = "aes", ["plaintext"] = "QQ==", ["context"] = isNew ? "" : fitting }.ToJsonString()))
            .GetProperty("ciphertext").GetString()!;
        JsonObject item = limit.Contains("ecrypt", StringComparison.Ordinal) || limit.Contains("eencrypt", StringComparison.Ordinal)
            ? new() { ["ciphertext"] = ciphertext }
            : limit.Contains("data key", StringComparison.Ordinal) ? [] : new() { ["plaintext"] = "QQ==" };
        item[isNew ? "newContext" : "context"] = Zeros(length);
        string method = limit.Contains("data key", StringComparison.Ordinal) ? "createDataKey" : limit.Split(' ')[^1];
        if (!method.EndsWith("Batch", StringComparison.Ordinal))
        {
            item["key"] = "aes";
            return await ReasonAsync(wire, "crypto." + method, item);
        }

        JsonElement made = await wire.ResultAsync("crypto." + method, new JsonObject { ["key"] = "aes", ["items"] = new JsonArray(item) }.ToJsonString());
        return Wire.Reason(made.GetProperty("items")[0]);
    }

    /// <summary>So many items, or items with so many bytes of plaintext together.</summary>
    private static async Task<string> BatchAsync(Wire wire, string limit, int value)
    {
        string key = limit.EndsWith("to rsa", StringComparison.Ordinal) ? "rsa" : "aes";
        string method = limit.Split(' ').Single(word => word.EndsWith("Batch", StringComparison.Ordinal));
        int longest = key == "rsa" ? 190 : 16384;
        List<int> lengths = limit.Contains("items", StringComparison.Ordinal)
            ? [.. Enumerable.Repeat(1, value)]
            : [.. Enumerable.Range(0, (value + longest - 1) / longest).Select(number => Math.Min(longest, value - (number * longest)))];
        JsonArray items = [];
        Dictionary<int, string> sealedTexts = [];
        foreach (int length in lengths)
        {
            if (method == "encryptBatch")
            {
                items.Add(new JsonObject { ["plaintext"] = Zeros(length) });
                continue;
            }

            if (!sealedTexts.TryGetValue(length, out string? ciphertext))
            {
                sealedTexts.Add(length, ciphertext = await wire.EncryptAsync(key, new byte[length]));
            }

            items.Add(new JsonObject { ["ciphertext"] = ciphertext });
        }

        JsonElement answer = await wire.CallAsync("crypto." + method, new JsonObject { ["key"] = key, ["items"] = items }.ToJsonString());
        if (Wire.Reason(answer) == "ok")
        {
            Assert.Equal(lengths.Count, answer.GetProperty("result").GetProperty("items").GetArrayLength());
            Assert.All(answer.GetProperty("result").GetProperty("items").EnumerateArray(), item => Assert.Equal("ok", Wire.Reason(item)));
        }

        return Wire.Reason(answer);
    }

    private static async Task<string> SignatureAsync(Wire wire, string limit, int length)
    {
        JsonObject parameters = new() { ["key"] = "ecdsa", [limit.Split(' ')[0]] = Zeros(length) };
        if (limit.EndsWith("sign", StringComparison.Ordinal))
        {
            return await ReasonAsync(wire, "crypto.sign", parameters);
        }

        JsonElement signed = await wire.ResultAsync("crypto.sign", $$"""{"key":"ecdsa","digest":"{{Digest}}"}""");
        parameters["signature"] = signed.GetProperty("signature").GetString();
        return await ReasonAsync(wire, "crypto.verify", parameters);
    }

    private static Task<string> CreateAsync(Wire wire, string member, JsonNode value) =>
        ReasonAsync(wire, "keys.create", new() { ["name"] = "made", ["type"] = "AES256-GCM96", [member] = value });

    private static Task<string> ReasonAsync(Wire wire, string method, JsonObject parameters) =>
        wire.ReasonAsync(method, parameters.ToJsonString());

    /// <summary>All but the last must work; the last one's outcome.</summary>
    private static async Task<string> AllAsync(IEnumerable<Task<string>> attempts)
    {
        string last = "ok";
        foreach (Task<string> attempt in attempts)
        {
            Assert.Equal("ok", last);
            last = await attempt;
        }

        return last;
    }

    private static JsonArray Grants(int count) => new(
        [.. Enumerable.Range(1, count).Select(number => new JsonObject { ["principal"] = "uid:0", ["role"] = Role(number) })]);

    private static string Role(int number) => ((string[])["manager", "encryptor", "decryptor", "encryptorDecryptor", "reviewer"])[number - 1];

    private static string Zeros(int length) => Wire.Base64(new byte[length]);

    /// <summary>Characters of four bytes in UTF-8, and of two units in UTF-16.</summary>
    private static string Astral(int count) => new StringBuilder().Insert(0, "🗝", count).ToString();

    /// <summary>A daemon with lowered limits and five keys; what a test adds is cleared away before the next.</summary>
    public sealed class Fixture : IAsyncLifetime
    {
        internal const int KeptKeys = 5;

        internal Installation Host { get; private set; } = null!;

        private Daemon Daemon { get; set; } = null!;

        public async ValueTask InitializeAsync()
        {
            Host = await Installation.MakeAsync();
            Host.Set("limits", "keys_per_store", Text(KeysPerStore));
            Host.Set("limits", "grants_per_key", Text(GrantsPerKey));
            Host.Set("limits", "members_per_store", Text(MembersPerStore));
            Host.Set("limits", "versions_per_key", Text(VersionsPerKey));
            Daemon = await Host.StartAsync();
            await using Wire wire = await Wire.ConnectAsync(Host.Socket);
            _ = await wire.MakeKeyAsync("aes");
            foreach ((string name, string type) in new[] { ("rsa", "RSA-2048"), ("ecdsa", "ECDSA-P256") })
            {
                _ = await wire.ResultAsync(
                    "keys.create", $$$"""{"name":"{{{name}}}","type":"{{{type}}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
            }
        }

        /// <summary>As at the beginning: three keys, two without grants made anew, one member.</summary>
        internal static async Task ClearAsync(Wire wire)
        {
            foreach (JsonElement key in (await wire.ResultAsync("keys.list")).GetProperty("keys").EnumerateArray())
            {
                string tag = key.GetProperty("tag").GetString()!;
                switch (key.GetProperty("type").GetString(), key.GetProperty("name").GetString())
                {
                    case ("ECDSA-P256", not "ecdsa"):
                        _ = await wire.ResultAsync("keys.update", $$"""{"key":"{{tag}}","name":"ecdsa"}""");
                        break;
                    case ("AES256-GCM96", not "aes" and string name):
                        _ = await wire.ResultAsync("keys.requestDeletion", $$"""{"key":"{{tag}}","confirmName":"{{name}}"}""");
                        _ = await wire.ResultAsync("keys.deleteNow", $$"""{"key":"{{tag}}","confirmName":"{{name}}"}""");
                        break;
                    default:
                        break;
                }
            }

            foreach (JsonElement member in (await wire.ResultAsync("members.list", """{"store":"default"}""")).GetProperty("members").EnumerateArray())
            {
                string principal = member.GetProperty("principal").GetString()!;
                if (principal != "uid:0")
                {
                    _ = await wire.ResultAsync("members.remove", $$"""{"store":"default","principal":"{{principal}}"}""");
                }
            }

            foreach (string name in new[] { "ungranted", "other" })
            {
                _ = await wire.ResultAsync("keys.create", $$"""{"name":"{{name}}","type":"AES256-GCM96"}""");
            }
        }

        public async ValueTask DisposeAsync()
        {
            await Daemon.DisposeAsync();
            await Host.DisposeAsync();
        }

        private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
    }
}
