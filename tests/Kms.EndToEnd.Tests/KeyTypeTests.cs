using System.Globalization;
using System.Text;
using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>RSA and ECDSA keys, with the openssl command at the other end; batches.</summary>
public sealed class KeyTypeTests(ServingFixture serving) : IClassFixture<ServingFixture>
{
    [Theory]
    [InlineData("software", "RSA-2048", "RSA_PSS_SHA_256", "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32")]
    [InlineData("software", "RSA-2048", "RSA_PKCS1_SHA_256", "")]
    [InlineData("software", "ECDSA-P256", "ECDSA_SHA_256", "")]
    [InlineData("hsm", "RSA-2048", "RSA_PSS_SHA_256", "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32")]
    [InlineData("hsm", "RSA-2048", "RSA_PKCS1_SHA_256", "")]
    [InlineData("hsm", "ECDSA-P256", "ECDSA_SHA_256", "")]
    public async Task Openssl_verifies_what_is_signed(string protection, string type, string algorithm, string options)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string name = await MakeAsync(wire, type, algorithm, protection);
        string message = Path.Combine(serving.Host.Path, name);
        await File.WriteAllTextAsync(message, "what is signed", TestContext.Current.CancellationToken);
        string base64 = Wire.Base64(Encoding.UTF8.GetBytes("what is signed"));
        JsonElement signed = await wire.ResultAsync("crypto.sign", $$"""{"key":"{{name}}","message":"{{base64}}","algorithm":"{{algorithm}}"}""");
        string signature = signed.GetProperty("signature").GetString()!;
        File.WriteAllBytes(message + ".sig", Convert.FromBase64String(signature["kms:v1:".Length..]));
        await WritePublicKeyAsync(wire, name, message + ".pem");
        Assert.Contains("Verified OK", await Shell.SucceedAsync(
            "openssl", [.. $"dgst -sha256 -verify {message}.pem -signature {message}.sig {options} {message}".Split(' ', StringSplitOptions.RemoveEmptyEntries)]), StringComparison.Ordinal);

        string verify = $$"""{"key":"{{name}}","message":"{{base64}}","signature":"{{signature}}","algorithm":"{{algorithm}}"}""";
        Assert.True((await wire.ResultAsync("crypto.verify", verify)).GetProperty("valid").GetBoolean());
        string other = verify.Replace(base64, Wire.Base64("something else"u8), StringComparison.Ordinal);
        Assert.False((await wire.ResultAsync("crypto.verify", other)).GetProperty("valid").GetBoolean());
    }

    [Theory]
    [InlineData("software")]
    [InlineData("hsm")]
    public async Task What_openssl_encrypts_to_the_public_key_opens(string protection)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string name = await MakeAsync(wire, "RSA-2048", "oaep", protection);
        string file = Path.Combine(serving.Host.Path, "oaep-in-" + protection);
        File.WriteAllBytes(file, "a secret"u8.ToArray());
        await WritePublicKeyAsync(wire, name, file + ".pem");
        _ = await Shell.SucceedAsync(
            "openssl", [.. $"pkeyutl -encrypt -pubin -inkey {file}.pem -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 -in {file} -out {file}.enc".Split(' ')]);
        Assert.Equal("a secret"u8.ToArray(), await wire.DecryptAsync(name, "kms:v1:" + Wire.Base64(File.ReadAllBytes(file + ".enc"))));
    }

    [Theory]
    [InlineData("software", 190, "ok")]
    [InlineData("software", 191, "tooLarge")]
    [InlineData("hsm", 190, "ok")]
    [InlineData("hsm", 191, "tooLarge")]
    public async Task Rsa_seals_at_most_190_bytes(string protection, int length, string reason)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string name = await MakeAsync(wire, "RSA-2048", "limit" + length.ToString(CultureInfo.InvariantCulture), protection);
        string request = $$"""{"key":"{{name}}","plaintext":"{{Wire.Base64(new byte[length])}}"}""";
        JsonElement answer = await wire.CallAsync("crypto.encrypt", request);
        Assert.Equal(reason, Wire.Reason(answer));
        if (reason == "ok")
        {
            string ciphertext = answer.GetProperty("result").GetProperty("ciphertext").GetString()!;
            Assert.Equal(new byte[length], await wire.DecryptAsync(name, ciphertext));
        }
        else
        {
            Assert.Contains("data key", answer.ToString(), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("AES256-GCM96", "crypto.sign", "\"digest\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"", "unsupported")]
    [InlineData("ECDSA-P256", "crypto.encrypt", "\"plaintext\":\"QQ==\"", "unsupported")]
    [InlineData("ECDSA-P256", "crypto.createDataKey", "\"bits\":256", "unsupported")]
    [InlineData("ECDSA-P256", "crypto.sign", "\"digest\":\"QQ==\"", "invalidParams")]
    [InlineData("ECDSA-P256", "crypto.sign", "\"algorithm\":\"ECDSA_SHA_256\"", "invalidParams")]
    [InlineData("ECDSA-P256", "crypto.sign", "\"digest\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"algorithm\":\"RSA_PSS_SHA_256\"", "invalidParams")]
    [InlineData("RSA-2048", "crypto.sign", "\"digest\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"encoding\":\"der\"", "invalidParams")]
    [InlineData("RSA-2048", "crypto.encrypt", "\"plaintext\":\"QQ==\",\"context\":\"QQ==\"", "invalidParams")]
    [InlineData("AES256-GCM96", "keys.getPublicKey", "", "unsupported")]
    public async Task What_a_type_cannot_do_is_refused(string type, string method, string more, string reason)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string name = await MakeAsync(wire, type, Guid.NewGuid().ToString("N"));
        Assert.Equal(reason, await wire.ReasonAsync(method, $$"""{"key":"{{name}}"{{(more.Length > 0 ? "," + more : "")}}}"""));
    }

    [Theory]
    [InlineData("software")]
    [InlineData("hsm")]
    public async Task A_batch_answers_each_item_and_counts_once(string protection)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string name = await MakeAsync(wire, "AES256-GCM96", "batch", protection);
        JsonElement made = await wire.ResultAsync(
            "crypto.encryptBatch", $$"""{"key":"{{name}}","items":[{"plaintext":"QQ=="},{"plaintext":"Qg==","context":"Qw=="}]}""");
        string[] ciphertexts = [.. made.GetProperty("items").EnumerateArray().Select(item => item.GetProperty("ciphertext").GetString()!)];
        JsonElement opened = await wire.ResultAsync(
            "crypto.decryptBatch",
            $$"""{"key":"{{name}}","items":[{"ciphertext":"{{ciphertexts[0]}}"},{"ciphertext":"{{ciphertexts[1]}}"},{"ciphertext":"{{ciphertexts[1]}}","context":"Qw=="}]}""");
        JsonElement items = opened.GetProperty("items");
        Assert.Equal("QQ==", items[0].GetProperty("plaintext").GetString());
        Assert.Equal(6, items[1].GetProperty("error").GetProperty("code").GetInt32());
        Assert.Equal("Qg==", items[2].GetProperty("plaintext").GetString());
        Assert.Equal(2, (await wire.ResultAsync("keys.get", $$"""{"key":"{{name}}"}""")).GetProperty("usageCount").GetInt32());
        JsonElement version = (await wire.ResultAsync("versions.list", $$"""{"key":"{{name}}"}""")).GetProperty("versions")[0];
        Assert.Equal(2, version.GetProperty("itemCount").GetInt32());
        Assert.Equal("invalidParams", await wire.ReasonAsync("crypto.encryptBatch", $$"""{"key":"{{name}}","items":[]}"""));
    }

    private static async Task<string> MakeAsync(Wire wire, string type, string suffix, string protection = "software")
    {
        string name = $"{protection[0]}-{type}-{suffix}"[..Math.Min(60, type.Length + suffix.Length + 3)].Replace('_', '-');
        _ = await wire.ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        _ = await wire.ResultAsync(
            "keys.create", $$$"""{"name":"{{{name}}}","type":"{{{type}}}","protection":"{{{protection}}}","grants":[{"principal":"uid:0","role":"encryptorDecryptor"}]}""");
        return name;
    }

    private static async Task WritePublicKeyAsync(Wire wire, string name, string path) => File.WriteAllText(
        path, (await wire.ResultAsync("keys.getPublicKey", $$"""{"key":"{{name}}"}""")).GetProperty("publicKey").GetString());
}
