using System.Globalization;
using System.Text;
using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>
/// Everything that the daemon does, with plaintexts, contexts, keys and a PIN that are found again wherever they were written
/// down: not in its journal at any level, not in what the console says, not in the database's files.
/// </summary>
public sealed class SecrecyTests
{
    private readonly Secrets _secrets = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public void What_is_looked_for_is_found_in_every_form()
    {
        byte[] secret = _secrets.New("it");
        foreach (byte[] written in new byte[][]
        {
            [1, .. secret, 2], Encoding.UTF8.GetBytes("x" + Convert.ToHexString(secret)), Encoding.UTF8.GetBytes(Convert.ToHexStringLower(secret)),
            Encoding.UTF8.GetBytes(Convert.ToBase64String(secret)), Encoding.UTF8.GetBytes(Convert.ToBase64String([9, .. secret, 9])),
            Encoding.UTF8.GetBytes(Convert.ToBase64String([9, 9, .. secret])), Encoding.UTF8.GetBytes(JsonSerializer.Serialize(Convert.ToBase64String([9, 9, 9, .. secret]))),
        })
        {
            Assert.NotEmpty(_secrets.FindIn(written));
        }

        Assert.Empty(_secrets.FindIn(new byte[1000]));
    }

    [Theory]
    [InlineData("Trace")]
    [InlineData("Debug")]
    [InlineData("Information")]
    [InlineData("Warning")]
    [InlineData("Error")]
    [InlineData("Critical")]
    public async Task No_secret_is_written_down(string level)
    {
        string pin = _secrets.NewText("the PIN");
        await using Installation host = await Installation.MakeEmptyAsync(pin);
        Finished init = await host.InitAsync();
        Assert.Equal(0, init.ExitCode);
        _secrets.AssertNoneIn("what init said", init.Output + init.Error);
        Dictionary<string, string> hooks = new() { ["KMSD_TEST_LOG_LEVEL"] = level, ["KMSD_TEST_IMPORT"] = Path.Combine(host.Path, "import") };
        await File.WriteAllTextAsync(hooks["KMSD_TEST_IMPORT"], Convert.ToHexString(_secrets.New("an imported key", 32)), Cancellation);

        await using (Daemon daemon = await host.StartTestBuildAsync(hooks))
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            string tag = await wire.MakeKeyAsync("first", """{"principal":"uid:0","role":"manager"}""");
            await UseAsync(wire, "first", hasContext: true);
            await MakeKeysOfEveryTypeAsync(wire);
            await RefusalsAsync(host, wire);
            await StorageFaultAsync(host, wire);
            await ManageAsync(wire, tag);
            await ConsoleAsync(host);
            AssertNoneInDatabase(host);
            await daemon.KillAsync(); // What a stop would have emptied stays in the write-ahead log.
            _secrets.AssertNoneIn("the journal", await daemon.JournalAsync());
            AssertNoneInDatabase(host);
        }

        await using (Daemon daemon = await host.StartTestBuildAsync(hooks))
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            await UseAsync(wire, "first", hasContext: true);
            _ = await wire.ResultAsync("history.verify");
            Finished stopped = await daemon.StopAsync();
            Assert.Equal(0, stopped.ExitCode);
            Assert.True(level is not ("Trace" or "Debug" or "Information") || stopped.Error.Contains("[4005]", StringComparison.Ordinal), stopped.Error);
            _secrets.AssertNoneIn("the second journal", stopped.Error);
        }

        AssertNoneInDatabase(host);
        await WrongPinAsync(host);
    }

    private async Task UseAsync(Wire wire, string key, bool hasContext)
    {
        byte[] plaintext = _secrets.New("a plaintext");
        byte[] context = _secrets.New("a context");
        byte[] newContext = _secrets.New("a new context");
        string with = hasContext ? $$""","context":"{{Wire.Base64(context)}}" """ : "";
        JsonElement sealedOnce = await wire.ResultAsync("crypto.encrypt", $$"""{"key":"{{key}}","plaintext":"{{Wire.Base64(plaintext)}}"{{with}}}""");
        string ciphertext = sealedOnce.GetProperty("ciphertext").GetString()!;
        JsonElement opened = await wire.ResultAsync("crypto.decrypt", $$"""{"key":"{{key}}","ciphertext":"{{ciphertext}}"{{with}}}""");
        Assert.Equal(plaintext, opened.GetProperty("plaintext").GetBytesFromBase64());
        string change = hasContext ? $$""","newContext":"{{Wire.Base64(newContext)}}" """ : "";
        _ = await wire.ResultAsync("crypto.reencrypt", $$"""{"key":"{{key}}","ciphertext":"{{ciphertext}}"{{with}}{{change}}}""");
        JsonElement made = await wire.ResultAsync("crypto.createDataKey", $$"""{"key":"{{key}}","includePlaintext":true{{with}}}""");
        _secrets.Add("a data key", made.GetProperty("plaintext").GetBytesFromBase64());
        _ = await wire.ResultAsync("crypto.decrypt", $$"""{"key":"{{key}}","ciphertext":"{{made.GetProperty("ciphertext").GetString()}}"{{with}}}""");
        string items = string.Join(',', Enumerable.Range(0, 5).Select(item => $$"""{"plaintext":"{{Wire.Base64(_secrets.New($"item {item}"))}}"{{with}}}"""));
        JsonElement batch = await wire.ResultAsync("crypto.encryptBatch", $$"""{"key":"{{key}}","items":[{{items}}]}""");
        string ciphertexts = string.Join(',', batch.GetProperty("items").EnumerateArray()
            .Select(item => $$"""{"ciphertext":"{{item.GetProperty("ciphertext").GetString()}}"{{with}}}""").Append($$"""{"ciphertext":"{{ciphertext[..^4]}}AAA="}"""));
        _ = await wire.ResultAsync("crypto.decryptBatch", $$"""{"key":"{{key}}","items":[{{ciphertexts}}]}""");
        _ = await wire.ResultAsync("crypto.reencryptBatch", $$"""{"key":"{{key}}","items":[{{ciphertexts}}]}""");
        JsonElement random = await wire.ResultAsync("crypto.random", """{"bytes":32}""");
        _secrets.Add("random bytes", random.GetProperty("random").GetBytesFromBase64());
    }

    private async Task MakeKeysOfEveryTypeAsync(Wire wire)
    {
        foreach (string protection in new[] { "software", "hsm" })
        {
            foreach (string type in new[] { "AES256-GCM96", "RSA-2048", "ECDSA-P256" })
            {
                string name = $"{type[..3]}-{protection}";
                _ = await wire.ResultAsync(
                    "keys.create",
                    $$"""{"name":"{{name}}","type":"{{type}}","protection":"{{protection}}","grants":[{"principal":"uid:0","role":"manager"}]}""");
                if (type != "ECDSA-P256")
                {
                    await UseAsync(wire, name, hasContext: type == "AES256-GCM96");
                }

                if (type != "AES256-GCM96")
                {
                    string message = Wire.Base64(_secrets.New("a message"));
                    JsonElement signed = await wire.ResultAsync("crypto.sign", $$"""{"key":"{{name}}","message":"{{message}}"}""");
                    _ = await wire.ResultAsync(
                        "crypto.verify", $$"""{"key":"{{name}}","message":"{{message}}","signature":"{{signed.GetProperty("signature").GetString()}}"}""");
                }
            }
        }
    }

    /// <summary>Where a careless sentence would repeat what it was given.</summary>
    private async Task RefusalsAsync(Installation host, Wire wire)
    {
        byte[] secret = _secrets.New("what was refused");
        string base64 = Wire.Base64(secret);
        string hex = Convert.ToHexString(secret);
        string ciphertext = await wire.EncryptAsync("first", secret, "a purpose");
        byte[] large = new byte[(32 * 1024) + 1];
        secret.CopyTo(large, 1000);
        foreach ((string reason, string method, string parameters) in new[]
        {
            ("invalidCiphertext", "crypto.decrypt", $$"""{"key":"first","ciphertext":"{{ciphertext}}","context":"{{base64}}"}"""),
            ("invalidCiphertext", "crypto.decrypt", $$"""{"key":"first","ciphertext":"{{hex}}"}"""),
            ("tooLarge", "crypto.encrypt", $$"""{"key":"first","plaintext":"{{Wire.Base64(large)}}"}"""),
            ("invalidParams", "crypto.encrypt", $$"""{"key":"first","plaintext":"{{base64}}","more":"{{base64}}"}"""),
            ("invalidParams", "crypto.encrypt", $$"""{"key":"first","plaintext":"{{base64}}!"}"""),
            ("invalidParams", "crypto.encrypt", $$"""{"key":"first","plaintext":["{{base64}}"]}"""),
            ("invalidParams", "crypto.encrypt", $$"""{"plaintext":"{{base64}}"}"""),
            ("invalidParams", "crypto.encrypt", $$"""["first","{{base64}}"]"""),
            ("notFound", "crypto.encrypt", $$"""{"key":"absent","plaintext":"{{base64}}"}"""),
            ("methodNotFound", "crypto.keep", $$"""{"key":"first","plaintext":"{{base64}}"}"""),
            ("unsupported", "crypto.encrypt", $$"""{"key":"ECD-software","plaintext":"{{base64}}"}"""),
            ("invalidParams", "crypto.encrypt", $$"""{"key":"RSA-software","plaintext":"{{base64}}","context":"{{base64}}"}"""),
        })
        {
            Assert.Equal((reason, parameters), (await wire.ReasonAsync(method, parameters), parameters));
        }

        Assert.Equal("parseError", Wire.Reason(await wire.SendAndReceiveAsync($"{{\"plaintext\":\"{base64}")));
        await using Wire longLine = await Wire.ConnectAsync(host.Socket);
        Assert.Equal("invalidRequest", Wire.Reason(await longLine.SendAndReceiveAsync(string.Concat(Enumerable.Repeat(base64, 5000)))));
        await using Wire halfLine = await Wire.ConnectAsync(host.Socket);
        await halfLine.Stream.WriteAsync(Encoding.UTF8.GetBytes($$"""{"jsonrpc":"2.0","id":1,"method":"crypto.encrypt","params":{"plaintext":"{{base64}}"""), Cancellation);
    }

    private async Task StorageFaultAsync(Installation host, Wire wire)
    {
        await host.SqlAsync("CREATE TRIGGER full BEFORE INSERT ON history BEGIN SELECT RAISE(FAIL, 'full'); END");
        string parameters = $$"""{"key":"first","plaintext":"{{Wire.Base64(_secrets.New("what could not be recorded"))}}"}""";
        Assert.Equal("storageUnavailable", await wire.ReasonAsync("keys.update", """{"key":"first","memo":"not to be"}"""));
        Assert.Equal("storageUnavailable", await wire.ReasonAsync("crypto.encrypt", parameters));
        await host.SqlAsync("DROP TRIGGER full");
        Assert.Equal("ok", await wire.ReasonAsync("crypto.encrypt", parameters));
    }

    private static async Task ManageAsync(Wire wire, string tag)
    {
        foreach ((string method, string parameters) in new[]
        {
            ("notifications.subscribe", "{}"),
            ("keys.rotate", """{"key":"first"}"""),
            ("keys.setRotationPeriod", """{"key":"first","days":30}"""),
            ("keys.update", """{"key":"first","memo":"a memo"}"""),
            ("versions.disable", """{"key":"first","version":1}"""),
            ("versions.enable", """{"key":"first","version":1}"""),
            ("keys.disable", """{"key":"first"}"""),
            ("keys.enable", """{"key":"first"}"""),
            ("grants.add", """{"key":"first","principal":"uid:1","role":"reviewer"}"""),
            ("grants.remove", """{"key":"first","principal":"uid:1","role":"reviewer"}"""),
            ("stores.create", """{"name":"another","manager":"uid:1"}"""),
            ("members.list", """{"store":"default"}"""),
            ("keys.create", """{"name":"doomed","type":"AES256-GCM96"}"""),
            ("keys.requestDeletion", """{"key":"doomed"}"""),
            ("keys.deleteNow", """{"key":"doomed"}"""),
            ("history.list", """{"store":"default","limit":1000}"""),
            ("history.export", "{}"),
            ("history.verify", "{}"),
            ("notifications.list", "{}"),
            ("usage.report", $$"""{"store":"default","month":"{{TimeProvider.System.GetUtcNow().ToString("yyyy-MM", CultureInfo.InvariantCulture)}}"}"""),
            ("deletedKeys.list", "{}"),
            ("root.status", "{}"),
            ("system.metrics", "{}"),
            ("system.whoAmI", "{}"),
            ("rpc.discover", "{}"),
            ("deletions.release", "{}"),
        })
        {
            await wire.SendAsync($$"""{"jsonrpc":"2.0","id":"{{method}}","method":"{{method}}","params":{{parameters}}}""");
            JsonElement answer;
            do
            {
                answer = await wire.ReceiveAsync() ?? throw new EndOfStreamException(method);
            }
            while (answer.TryGetProperty("method", out _)); // A notification that comes in between.

            Assert.True(answer.TryGetProperty("result", out _), $"{method}: {answer}");
        }

        Assert.Equal(32, tag.Length);
    }

    private async Task ConsoleAsync(Installation host)
    {
        string context = _secrets.NewText("a context on the command line");
        byte[] plaintext = _secrets.New("what the console seals");
        string file = Path.Combine(host.Path, "plain");
        await File.WriteAllBytesAsync(file, plaintext, Cancellation);

        Finished sealedText = await RunAsync(0, plaintext, "encrypt", "first", "--context", context);
        _secrets.AssertNoneIn("the ciphertext", sealedText.Output);
        byte[] ciphertext = Encoding.ASCII.GetBytes(sealedText.Output);
        _ = await RunAsync(0, ciphertext, "decrypt", "first", "--context", context);
        _ = await RunAsync(16, ciphertext, "decrypt", "first");
        _ = await RunAsync(64, plaintext, "decrypt", "first", "-", "more");
        Assert.NotEqual(0, (await RunAsync(null, plaintext, "decrypt", "first")).ExitCode);
        _ = await RunAsync(0, ciphertext, "reencrypt", "first", "--context", context);
        Finished dataKey = await RunAsync(0, [], "data-key", "first", "--plaintext-out", Path.Combine(host.Path, "data-key"));
        _secrets.Add("a data key in a file", await File.ReadAllBytesAsync(Path.Combine(host.Path, "data-key"), Cancellation));
        _secrets.AssertNoneIn("what data-key said", dataKey.Output + dataKey.Error);
        _ = await RunAsync(0, [], "file", "encrypt", "first", file, Path.Combine(host.Path, "sealed"));
        _secrets.AssertNoneIn("the sealed file", await File.ReadAllBytesAsync(Path.Combine(host.Path, "sealed"), Cancellation));
        _ = await RunAsync(0, [], "file", "decrypt", Path.Combine(host.Path, "sealed"), Path.Combine(host.Path, "opened"));
        _ = await RunAsync(65, [], "file", "decrypt", file, Path.Combine(host.Path, "never"));
        foreach (string[] command in new string[][]
        {
            ["history", "first"], ["history", "first", "--json"], ["history", "--store", "default"], ["history", "--scope", "system"], ["history", "verify"],
            ["history", "export"], ["usage"], ["notifications"], ["deleted", "list"], ["root", "status"], ["metrics"], ["status"], ["whoami"], ["doctor"],
            ["key", "list"], ["version", "list", "first"],
        })
        {
            Finished run = await RunAsync(0, [], command);
            _secrets.AssertNoneIn(string.Join(' ', command), run.Output);
        }

        async Task<Finished> RunAsync(int? exitCode, byte[] input, params string[] arguments)
        {
            Finished run = await host.KmsctlAsync(input, arguments);
            Assert.True(exitCode is null || run.ExitCode == exitCode, $"{string.Join(' ', arguments)}: {run.ExitCode} {run.Error}");
            _secrets.AssertNoneIn($"what {arguments[0]} says on standard error", run.Error);
            return run;
        }
    }

    private async Task WrongPinAsync(Installation host)
    {
        Installation.WriteSecret(host.PinFile, _secrets.NewText("a wrong PIN") + "\n");
        Finished refused = await host.RefusedAsync();
        Assert.Equal(77, refused.ExitCode);
        _secrets.AssertNoneIn("the refusal of the PIN", refused.Error);
    }

    private void AssertNoneInDatabase(Installation host)
    {
        string[] files = Directory.GetFiles(host.State, "kms.db*");
        Assert.Contains(host.Database, files);
        foreach (string file in files)
        {
            using FileStream stream = new(file, new FileStreamOptions { Share = FileShare.ReadWrite | FileShare.Delete });
            using MemoryStream content = new();
            stream.CopyTo(content);
            _secrets.AssertNoneIn(file, content.ToArray());
        }
    }
}
