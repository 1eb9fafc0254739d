using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>What each method does in each state of a key, and in each state of a version: both tables whole.</summary>
public sealed class StateTableTests(ServingFixture serving) : IClassFixture<ServingFixture>
{
    // What a row says of the states, in this order.
    private static readonly string[] s_keyStates = ["enabled", "disabled", "pendingDeletion", "deleted"];
    private static readonly string[] s_versionStates = ["newest", "older, enabled", "older, disabled", "none"];

    // Method; what it is called with besides the key ($sealed, $signed: of this key); what the key is of; the outcomes.
    private static readonly (string Method, string More, string Type, string[] Outcomes)[] s_keyTable =
    [
        // A key is used while it is enabled, and at no other time.
        ("crypto.encrypt", "\"plaintext\":\"QQ==\"", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.encrypt", "\"plaintext\":\"QQ==\"", "RSA-2048", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.decrypt", "\"ciphertext\":\"$sealed\"", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.decrypt", "\"ciphertext\":\"$sealed\"", "RSA-2048", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.reencrypt", "\"ciphertext\":\"$sealed\"", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.createDataKey", "\"bits\":256", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.sign", "\"message\":\"QQ==\"", "ECDSA-P256", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.sign", "\"message\":\"QQ==\"", "RSA-2048", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.verify", "\"message\":\"QQ==\",\"signature\":\"$signed\"", "ECDSA-P256", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.verify", "\"message\":\"QQ==\",\"signature\":\"$signed\"", "RSA-2048", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.encryptBatch", "\"items\":[{\"plaintext\":\"QQ==\"}]", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.decryptBatch", "\"items\":[{\"ciphertext\":\"$sealed\"}]", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),
        ("crypto.reencryptBatch", "\"items\":[{\"ciphertext\":\"$sealed\"}]", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),

        // What it is can be read, and its public key verifies elsewhere, until it is deleted.
        ("keys.get", "", "AES256-GCM96", ["ok", "ok", "ok", "notFound"]),
        ("keys.getPublicKey", "", "ECDSA-P256", ["ok", "ok", "ok", "notFound"]),
        ("keys.getPublicKey", "", "RSA-2048", ["ok", "ok", "ok", "notFound"]),
        ("versions.list", "", "AES256-GCM96", ["ok", "ok", "ok", "notFound"]),
        ("grants.list", "", "AES256-GCM96", ["ok", "ok", "ok", "notFound"]),

        // Names, schedules and grants change in every state; a rotation by hand doesn't while the key waits for its end.
        ("keys.update", "\"memo\":\"new\"", "AES256-GCM96", ["ok", "ok", "ok", "notFound"]),
        ("keys.setRotationPeriod", "\"days\":30", "AES256-GCM96", ["ok", "ok", "ok", "notFound"]),
        ("grants.add", "\"principal\":\"uid:1000\",\"role\":\"reviewer\"", "AES256-GCM96", ["ok", "ok", "ok", "notFound"]),
        ("grants.remove", "\"principal\":\"uid:0\",\"role\":\"decryptor\"", "AES256-GCM96", ["ok", "ok", "ok", "notFound"]),
        ("keys.rotate", "", "AES256-GCM96", ["ok", "ok", "invalidState", "notFound"]),

        // States.
        ("keys.enable", "", "AES256-GCM96", ["ok", "ok", "invalidState", "notFound"]),
        ("keys.disable", "", "AES256-GCM96", ["ok", "ok", "invalidState", "notFound"]),
        ("keys.requestDeletion", "\"confirmName\":\"$name\"", "AES256-GCM96", ["ok", "ok", "invalidState", "notFound"]),
        ("keys.requestDeletion", "", "AES256-GCM96", ["confirmationRequired", "confirmationRequired", "invalidState", "notFound"]),
        ("keys.cancelDeletion", "", "AES256-GCM96", ["invalidState", "invalidState", "ok", "notFound"]),
        ("keys.deleteNow", "\"confirmName\":\"$name\"", "AES256-GCM96", ["invalidState", "invalidState", "ok", "notFound"]),
        ("keys.deleteNow", "", "AES256-GCM96", ["invalidState", "invalidState", "confirmationRequired", "notFound"]),
        ("versions.disable", "\"version\":1", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),
        ("versions.enable", "\"version\":1", "AES256-GCM96", ["ok", "invalidState", "invalidState", "notFound"]),
    ];

    private static readonly (string Method, string More, string Type, string[] Outcomes)[] s_versionTable =
    [
        ("crypto.decrypt", "\"ciphertext\":\"$sealed\"", "AES256-GCM96", ["ok", "ok", "invalidState", "invalidCiphertext"]),
        ("crypto.decrypt", "\"ciphertext\":\"$sealed\"", "RSA-2048", ["ok", "ok", "invalidState", "invalidCiphertext"]),
        ("crypto.reencrypt", "\"ciphertext\":\"$sealed\"", "AES256-GCM96", ["ok", "ok", "invalidState", "invalidCiphertext"]),
        ("crypto.verify", "\"message\":\"QQ==\",\"signature\":\"$signed\"", "ECDSA-P256", ["ok", "ok", "invalidState", "invalidCiphertext"]),
        ("crypto.verify", "\"message\":\"QQ==\",\"signature\":\"$signed\"", "RSA-2048", ["ok", "ok", "invalidState", "invalidCiphertext"]),
        ("crypto.decryptBatch", "\"items\":[{\"ciphertext\":\"$sealed\"}]", "AES256-GCM96", ["ok", "ok", "invalidState", "invalidCiphertext"]),
        ("crypto.reencryptBatch", "\"items\":[{\"ciphertext\":\"$sealed\"}]", "AES256-GCM96", ["ok", "ok", "invalidState", "invalidCiphertext"]),
        ("keys.getPublicKey", "\"version\":$version", "ECDSA-P256", ["ok", "ok", "ok", "notFound"]),
        ("versions.enable", "\"version\":$version", "AES256-GCM96", ["invalidState", "ok", "ok", "notFound"]),
        ("versions.disable", "\"version\":$version", "AES256-GCM96", ["invalidState", "ok", "ok", "notFound"]),
    ];

    public static TheoryData<string, string> KeyRows() => Rows(s_keyTable);

    public static TheoryData<string, string> VersionRows() => Rows(s_versionTable);

    [Theory]
    [MemberData(nameof(KeyRows))]
    public async Task A_method_in_each_state_of_its_key(string protection, string row)
    {
        (string method, string more, string type, string[] outcomes) = s_keyTable[Row(row)];
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        Made? made = null;
        foreach ((string state, string expected) in s_keyStates.Zip(outcomes))
        {
            // What changes nothing is tried on one key, in one state after another.
            made = made is not null && IsUse(method) ? made : await MakeAsync(wire, type, protection);
            await BringAsync(wire, made.Name, state);
            await CheckAsync(wire, method, made.Fill(more, 1), expected, state);
        }
    }

    [Theory]
    [MemberData(nameof(VersionRows))]
    public async Task A_method_in_each_state_of_the_version_it_names(string protection, string row)
    {
        (string method, string more, string type, string[] outcomes) = s_versionTable[Row(row)];
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        Made? made = null;
        foreach ((string state, string expected) in s_versionStates.Zip(outcomes))
        {
            made = made is not null && IsUse(method) ? made : await MakeAsync(wire, type, protection);
            int version = state switch { "newest" => 2, "none" => 3, _ => 1 };
            if (state == "older, disabled")
            {
                _ = await wire.ResultAsync("versions.disable", $$"""{"key":"{{made.Name}}","version":1}""");
            }

            await CheckAsync(wire, method, made.Fill(more, version), expected, "disabled");
        }
    }

    private static async Task BringAsync(Wire wire, string name, string state)
    {
        string key = $$"""{"key":"{{name}}","confirmName":"{{name}}"}""";
        if (state == "disabled")
        {
            _ = await wire.ResultAsync("keys.disable", $$"""{"key":"{{name}}"}""");
        }
        else if (state != "enabled" && await wire.ReasonAsync("keys.requestDeletion", key) is string reason)
        {
            Assert.True(reason is "ok" or "invalidState", reason);
        }

        if (state == "deleted")
        {
            _ = await wire.ResultAsync("keys.deleteNow", key);
        }
    }

    private static bool IsUse(string method) => method.StartsWith("crypto.", StringComparison.Ordinal);

    /// <summary>The outcome, of the request or of its one item; and what was refused says which state it met.</summary>
    private static async Task CheckAsync(Wire wire, string method, string parameters, string expected, string state)
    {
        JsonElement answer = await wire.CallAsync(method, parameters);
        JsonElement told = answer.TryGetProperty("result", out JsonElement result) && result.TryGetProperty("items", out JsonElement items) ? items[0] : answer;
        string actual = Wire.Reason(told);
        Assert.True(expected == actual, $"{method} while {state}: {expected} expected, {actual} answered: {answer}");
        if (actual == "invalidState" && !parameters.Contains("\"version\":2", StringComparison.Ordinal))
        {
            Assert.Contains(state, told.GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
        }
    }

    private static async Task<Made> MakeAsync(Wire wire, string type, string protection)
    {
        string name = "k" + Guid.NewGuid().ToString("N");
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        _ = await wire.ResultAsync(
            "keys.create", $$$"""{"name":"{{{name}}}","type":"{{{type}}}","protection":"{{{protection}}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
        List<string> sealedTexts = [];
        List<string> signatures = [];
        for (int version = 1; version <= 2; version++)
        {
            if (version == 2)
            {
                _ = await wire.ResultAsync("keys.rotate", $$"""{"key":"{{name}}"}""");
            }

            sealedTexts.Add(type == "ECDSA-P256" ? "" : await wire.EncryptAsync(name, "A"u8.ToArray()));
            signatures.Add(type == "AES256-GCM96" ? "" : (await wire.ResultAsync("crypto.sign", $$"""{"key":"{{name}}","message":"QQ=="}"""))
                .GetProperty("signature").GetString()!);
        }

        return new Made(name, sealedTexts, signatures);
    }

    // A row is named by its number and method, so that its name says what failed.
    private static TheoryData<string, string> Rows((string Method, string More, string Type, string[] Outcomes)[] table)
    {
        TheoryData<string, string> rows = [];
        for (int number = 0; number < table.Length; number++)
        {
            foreach (string protection in new[] { "software", "hsm" })
            {
                rows.Add(protection, $"{number} {table[number].Method} {table[number].Type}");
            }
        }

        return rows;
    }

    private static int Row(string name) => int.Parse(name.Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>A key with two versions, and what each of them has sealed and signed.</summary>
    private sealed record Made(string Name, List<string> Sealed, List<string> Signed)
    {
        public string Fill(string more, int version) => $$"""{"key":"{{Name}}"{{(more.Length > 0 ? "," : "")}}{{more}}}"""
            .Replace("$name", Name, StringComparison.Ordinal)
            .Replace("$version", $"{version}", StringComparison.Ordinal)
            .Replace("$sealed", Of(Sealed, version), StringComparison.Ordinal)
            .Replace("$signed", Of(Signed, version), StringComparison.Ordinal);

        // Of a version that isn't there: one of another under its name.
        private static string Of(List<string> texts, int version) => version <= texts.Count
            ? texts[version - 1]
            : texts[0].Replace("kms:v1:", $"kms:v{version}:", StringComparison.Ordinal);
    }
}
