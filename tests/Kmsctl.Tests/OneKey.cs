using System.Text.Json;
using Kms.Client.Tests;

namespace Kmsctl.Tests;

/// <summary>A daemon with one key, whose "ciphertext" is the plaintext, and a memo that tries to steer the terminal.</summary>
internal static class OneKey
{
    public const string Tag = "00112233445566778899aabbccddeeff";

    private const string Key =
        $$"""
        {"tag":"{{Tag}}","name":"mail","store":"default","type":"AES256-GCM96","protection":"software","state":"enabled",
        "memo":"[red]x[/]\u001b]0;title\u0007\ty","currentVersion":2,"createdAt":"2026-11-23T05:42:00.000Z",
        "stateChangedAt":"2026-11-23T05:42:00.000Z","rotationPeriodDays":90,"nextRotationAt":"2027-02-21T05:42:00.000Z",
        "usageCount":3,"lastUsedAt":"2026-11-24T01:02:03.000Z","myRoles":["manager"]}
        """;

    public static FakeDaemon Start() => new(Answer);

    private static string? Answer(FakeCall call)
    {
        string? result = call.Method switch
        {
            "keys.get" => Key,
            "keys.list" => call.Params.TryGetProperty("after", out JsonElement _)
                ? $$"""{"keys":[{{Key}}],"total":2}"""
                : $$"""{"keys":[{{Key}}],"total":2,"next":"more"}""",
            "crypto.encrypt" => $$"""{"ciphertext":"kms:v1:{{call.Text("plaintext")}}","keyVersion":1}""",
            "crypto.decrypt" => $$"""{"plaintext":"{{call.Text("ciphertext")[7..]}}","keyVersion":1}""",
            "crypto.createDataKey" when call.Params.TryGetProperty("includePlaintext", out JsonElement asked) && asked.GetBoolean() =>
                $$"""{"ciphertext":"kms:v1:{{DataKey}}","plaintext":"{{DataKey}}","keyVersion":1}""",
            "crypto.createDataKey" => $$"""{"ciphertext":"kms:v1:{{DataKey}}","keyVersion":1}""",
            "crypto.random" => """{"random":"AAECAw=="}""",
            "grants.add" or "grants.list" =>
                """{"grants":[{"principal":"uid:0","display":"root","role":"encryptor","grantedAt":"2026-11-23T05:42:00.000Z"}]}""",
            _ => null,
        };
        return result is null
            ? FakeDaemon.Error(call, """{"code":2,"message":"You may not do that.","data":{"reason":"forbidden"}}""")
            : FakeDaemon.Result(call, result.ReplaceLineEndings(" "));
    }

    private static string DataKey { get; } = Convert.ToBase64String(new byte[32]);
}
