using System.Globalization;
using System.Text.Json;
using Kms.Client.Tests;

namespace Kmsctl.Tests;

/// <summary>
/// A daemon with one key of two versions. Its "ciphertext" is kms:v{version}: and 28 zero bytes, then the plaintext, as long as a
/// real one; a payload that ends in two bytes 0xff does not authenticate.
/// </summary>
internal sealed class ManagedKey : IAsyncDisposable
{
    public const string Tag = "00112233445566778899aabbccddeeff";

    public ManagedKey() => Daemon = new FakeDaemon(Answer);

    public FakeDaemon Daemon { get; }

    public bool HasGrants { get; init; } = true;

    public string Advice { get; init; } = "Reencrypt, then disable version 1.";

    public string? DeleteAt { get; init; }

    public IEnumerable<string> Methods => Daemon.Received.Select(call => call.Method);

    public static string Seal(int version, byte[] plaintext) =>
        $"kms:v{version}:{Convert.ToBase64String([.. new byte[28], .. plaintext])}";

    public FakeCall Only(string method) => Assert.Single(Daemon.Received, call => call.Method == method);

    public ValueTask DisposeAsync() => Daemon.DisposeAsync();

    private string Key(string state) =>
        $$"""
        {"tag":"{{Tag}}","name":"mail","store":"default","type":"AES256-GCM96","protection":"software","state":"{{state}}",
        "memo":"","currentVersion":2,"createdAt":"2026-11-23T05:42:00.000Z",
        "stateChangedAt":"2026-11-23T05:42:00.000Z","rotationPeriodDays":90,"nextRotationAt":"2027-02-21T05:42:00.000Z",
        {{(DeleteAt is null ? "" : $"\"deleteAt\":\"{DeleteAt}\",")}}"usageCount":3,"lastUsedAt":"2026-11-24T01:02:03.000Z","myRoles":["manager"],
        "advice":"{{Advice}}","warnings":["Over a year."]}
        """;

    private static string Version(long version, string state) =>
        $$"""
        {"version":{{version}},"state":"{{state}}","effectiveState":"{{state}}","createdAt":"2026-11-23T05:42:00.000Z",
        "stateChangedAt":"2026-11-23T05:42:00.000Z","usageCount":{{version}}0,"itemCount":{{version}}00,
        "lastUsedAt":"2026-11-2{{version}}T00:00:00.000Z","rootGeneration":1}
        """;

    private string? Answer(FakeCall call)
    {
        string result = call.Method switch
        {
            "keys.disable" => Key("disabled"),
            "keys.requestDeletion" => Key("pendingDeletion"),
            "keys.deleteNow" => """{"recoverableUntil":4}""",
            "keys.getPublicKey" => """{"publicKey":"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n","keyVersion":2}""",
            "grants.list" when HasGrants =>
                """{"grants":[{"principal":"uid:0","display":"root","role":"encryptor","grantedAt":"2026-11-23T05:42:00.000Z"}]}""",
            "grants.list" => """{"grants":[]}""",
            "versions.list" when call.Params.TryGetProperty("limit", out JsonElement limit) && limit.GetInt32() == 1 =>
                $$"""{"versions":[{{Version(call.Params.GetProperty("after").GetInt64() - 1, "enabled")}}]}""",
            "versions.list" => $$"""{"versions":[{{Version(2, "enabled")}},{{Version(1, "disabled")}}]}""",
            "versions.disable" => Version(call.Params.GetProperty("version").GetInt64(), "disabled"),
            "versions.enable" => Version(call.Params.GetProperty("version").GetInt64(), "enabled"),
            "crypto.createDataKey" =>
                $$"""{"ciphertext":"{{Seal(1, new byte[32])}}","plaintext":"{{Convert.ToBase64String(new byte[32])}}","keyVersion":1}""",
            "crypto.decrypt" => $$"""{"plaintext":"{{Convert.ToBase64String(new byte[32])}}","keyVersion":2}""",
            "crypto.reencrypt" => Reencrypt(call.Params),
            "crypto.reencryptBatch" => $$"""
                {"items":[{{string.Join(',', call.Params.GetProperty("items").EnumerateArray().Select(Reencrypt))}}]}
                """,
            "crypto.sign" => """{"signature":"kms:v2:AAAA","keyVersion":2,"algorithm":"RSA_PSS_SHA_256"}""",
            "crypto.verify" => string.Create(
                CultureInfo.InvariantCulture,
                $$"""{"valid":{{(call.Text("signature") == "kms:v2:AAAA" ? "true" : "false")}},"keyVersion":2,"algorithm":"RSA_PSS_SHA_256"}"""),
            _ => Key("enabled"),
        };
        return FakeDaemon.Result(call, result.ReplaceLineEndings(" "));
    }

    private static string Reencrypt(JsonElement item)
    {
        string payload = item.GetProperty("ciphertext").GetString()!.Split(':')[2];
        return payload.EndsWith("//8=", StringComparison.Ordinal)
            ? """{"error":{"code":6,"message":"This doesn't authenticate.","data":{"reason":"invalidCiphertext"}}}"""
            : $$"""{"ciphertext":"kms:v2:{{payload}}","keyVersion":2,"previousKeyVersion":1}""";
    }
}
