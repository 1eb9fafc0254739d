using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>Real accounts of the system, through <c>setpriv</c>: the kernel says who calls, and the matrix what he may.</summary>
public sealed class AccessTests(ServingFixture serving) : IClassFixture<ServingFixture>
{
    // Accounts and a group that every Debian has.
    private const string Encryptor = "daemon";
    private const string Decryptor = "bin";
    private const string Stranger = "games";
    private const string Supplementary = "backup";

    private const int NotFound = 11;
    private const int Forbidden = 12;

    [Fact]
    public async Task Each_does_his_part_and_is_refused_the_others()
    {
        SkipUnlessRoot();
        await MakeKeyAsync("parts", $"user:{Encryptor}:encryptor", $"user:{Decryptor}:decryptor");
        byte[] secret = "a password"u8.ToArray();

        Finished encrypted = await AsAsync(Encryptor, null, secret, "encrypt", "parts", "-");
        Assert.Equal(0, encrypted.ExitCode);
        byte[] ciphertext = System.Text.Encoding.ASCII.GetBytes(encrypted.Output);

        Finished opened = await AsAsync(Decryptor, null, ciphertext, "decrypt", "parts", "-");
        Assert.Equal((0, "a password"), (opened.ExitCode, opened.Output));

        Assert.Equal(Forbidden, (await AsAsync(Encryptor, null, ciphertext, "decrypt", "parts", "-")).ExitCode);
        Assert.Equal(Forbidden, (await AsAsync(Decryptor, null, secret, "encrypt", "parts", "-")).ExitCode);
        Assert.Equal(Forbidden, (await AsAsync(Decryptor, null, secret, "data-key", "parts")).ExitCode);
    }

    [Fact]
    public async Task A_stranger_is_told_what_is_told_of_a_key_that_isnt_there()
    {
        SkipUnlessRoot();
        await MakeKeyAsync("hidden", $"user:{Encryptor}:encryptor");
        foreach (string[] command in new string[][] { ["key", "show"], ["encrypt"], ["decrypt"], ["grant", "list"], ["data-key"] })
        {
            byte[] input = command[0] == "decrypt" ? "kms:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"u8.ToArray() : [];
            Finished hidden = await AsAsync(Stranger, null, input, [.. command, "hidden"]);
            Finished absent = await AsAsync(Stranger, null, input, [.. command, "absent"]);
            Assert.Equal((NotFound, NotFound), (hidden.ExitCode, absent.ExitCode));
            Assert.Equal(absent.Error.Replace("absent", "hidden", StringComparison.Ordinal), hidden.Error);
        }
    }

    /// <summary>kmsctl reads whom to ask from the data of the error, as the daemon sends it.</summary>
    [Fact]
    public async Task Who_is_refused_is_told_whom_to_ask()
    {
        SkipUnlessRoot();
        Finished backup = await AsAsync(Stranger, null, [], "backup");
        Assert.Equal(Forbidden, backup.ExitCode);
        Assert.Contains("ask an operator to do it", backup.Error, StringComparison.Ordinal);
        Finished root = await AsAsync(Stranger, null, [], "root", "status");
        Assert.Equal(Forbidden, root.ExitCode);
        Assert.Contains("ask a root administrator to do it", root.Error, StringComparison.Ordinal);
        Finished absent = await AsAsync(Stranger, null, [], "key", "show", "absent");
        Assert.Equal(NotFound, absent.ExitCode);
        Assert.Contains("See 'kmsctl key list'", absent.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_right_of_a_supplementary_group_counts()
    {
        SkipUnlessRoot();
        await MakeKeyAsync("by-group", $"group:{Supplementary}:encryptorDecryptor");
        Finished without = await AsAsync(Stranger, null, "x"u8.ToArray(), "encrypt", "by-group", "-");
        Assert.Equal(NotFound, without.ExitCode);

        Finished with = await AsAsync(Stranger, Supplementary, "x"u8.ToArray(), "encrypt", "by-group", "-");
        Assert.Equal(0, with.ExitCode);
    }

    [Fact]
    public async Task A_revoked_right_is_gone_on_an_open_connection_too()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.MakeKeyAsync("revoked");
        await using Wire other = await Wire.ConnectAsync(serving.Host.Socket);
        string ciphertext = await other.EncryptAsync("revoked", "x"u8.ToArray());
        _ = await wire.ResultAsync("grants.remove", """{"key":"revoked","principal":"uid:0","role":"encryptorDecryptor"}""");
        Assert.Equal("forbidden", await other.ReasonAsync("crypto.decrypt", $$"""{"key":"revoked","ciphertext":"{{ciphertext}}"}"""));
    }

    [Fact]
    public async Task Root_has_no_right_by_itself()
    {
        SkipUnlessRoot();
        await MakeKeyAsync("not-roots", $"user:{Encryptor}:manager");
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        Assert.Equal("forbidden", await wire.ReasonAsync("crypto.encrypt", """{"key":"not-roots","plaintext":"QQ=="}"""));
    }

    [Theory]
    [InlineData("uid:65534")]
    [InlineData("uid:4294967295")]
    [InlineData("uid:61184")]
    [InlineData("unit:cron.service")]
    [InlineData("unit:sshd@1.service")]
    [InlineData("unit:backup@.service")]
    [InlineData("unit:nginx")]
    [InlineData("user:no-such-user")]
    [InlineData("1000")]
    public async Task Nobody_and_borrowed_ids_are_never_granted(string principal)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        string name = "never-" + Math.Abs(principal.GetHashCode(StringComparison.Ordinal)).ToString(System.Globalization.CultureInfo.InvariantCulture);
        _ = await wire.MakeKeyAsync(name);
        string reason = await wire.ReasonAsync("grants.add", $$"""{"key":"{{name}}","principal":"{{principal}}","role":"encryptor"}""");
        Assert.Equal("invalidParams", reason);
        JsonElement grants = await wire.ResultAsync("grants.list", $$"""{"key":"{{name}}"}""");
        Assert.Equal(1, grants.GetProperty("grants").GetArrayLength());
    }

    [Fact]
    public async Task On_a_kernel_that_cant_vouch_for_units_they_are_unsupported_and_all_else_goes_on()
    {
        await using Installation host = await Installation.MakeAsync();
        await using (Daemon daemon = await Daemon.StartAsync(host, OlderKernel.WriteLauncher(host), []))
        {
            await using Wire wire = await Wire.ConnectAsync(host.Socket);
            _ = await wire.MakeKeyAsync("older");
            foreach ((string method, string parameters) in new[]
            {
                ("grants.add", """{"key":"older","principal":"unit:nginx.service","role":"encryptor"}"""),
                ("members.add", """{"store":"default","principal":"unit:nginx.service","role":"user"}"""),
                ("keys.create", """{"name":"older-2","type":"AES256-GCM96","grants":[{"principal":"unit:nginx.service","role":"encryptor"}]}"""),
            })
            {
                JsonElement refusal = await wire.CallAsync(method, parameters);
                Assert.Equal("unsupported", Wire.Reason(refusal));
                Assert.Contains("SO_PEERPIDFD", refusal.GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
            }

            JsonElement whoAmI = await wire.ResultAsync("system.whoAmI");
            Assert.False(whoAmI.TryGetProperty("unit", out _));
            Assert.Contains("uid:0", whoAmI.GetProperty("principals").EnumerateArray().Select(principal => principal.GetString()));
            _ = await wire.EncryptAsync("older", "x"u8.ToArray());
        }

        host.Set("access", "operators", "uid:0 unit:nginx.service");
        host.WriteConfiguration();
        Finished refused = await Shell.RunAsync(OlderKernel.WriteLauncher(host), ["--config", host.Configuration], host.Environment);
        Assert.Equal(78, refused.ExitCode);
        Assert.Contains("unit:nginx.service", refused.Error, StringComparison.Ordinal);
    }

    /// <summary>There the kernel calls everybody 65534 whom it doesn't map: the caller himself, kmsd, and a false server too.</summary>
    [Theory]
    [InlineData("--user")]
    [InlineData("--user", "--map-root-user")]
    public async Task In_a_user_namespace_a_client_trusts_no_server_that_isnt_mapped(params string[] namespaces)
    {
        SkipUnlessRoot();
        Finished finished = await Shell.RunAsync(
            "setpriv",
            [$"--reuid={Stranger}", $"--regid={Stranger}", "--clear-groups", "unshare", .. namespaces, Repository.Kmsctl, "status"],
            new() { ["KMSD_SOCKET"] = serving.Host.Socket }, [], "/");
        Assert.Equal(69, finished.ExitCode);
        Assert.Contains("runs as uid 65534", finished.Error, StringComparison.Ordinal);
        Assert.Contains("nothing was sent to it", finished.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ciphertext_opens_under_its_own_key_version_and_context_alone()
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.MakeKeyAsync("mine");
        _ = await wire.MakeKeyAsync("other");
        string plain = await wire.EncryptAsync("mine", "secret"u8.ToArray());
        string bound = await wire.EncryptAsync("mine", "secret"u8.ToArray(), "here");

        Assert.Equal("invalidCiphertext", await Reason("other", plain, null));
        Assert.Equal("invalidCiphertext", await Reason("mine", plain, "there"));
        Assert.Equal("invalidCiphertext", await Reason("mine", bound, null));
        Assert.Equal("invalidCiphertext", await Reason("mine", bound, "her"));
        Assert.Equal("invalidCiphertext", await Reason("mine", plain.Replace(":v1:", ":v2:", StringComparison.Ordinal), null));
        Assert.Equal("ok", await Reason("mine", plain, ""));
        Assert.Equal("ok", await Reason("mine", bound, "here"));

        async Task<string> Reason(string key, string ciphertext, string? context) => await wire.ReasonAsync(
            "crypto.decrypt",
            $$"""{"key":"{{key}}","ciphertext":"{{ciphertext}}"{{(context is null ? "" : $",\"context\":\"{Wire.Base64(System.Text.Encoding.UTF8.GetBytes(context))}\"")}}}""");
    }

    private static void SkipUnlessRoot() => Assert.SkipUnless(
        System.Environment.UserName == "root", "Needs root: it acts as several accounts (setpriv).");

    private async Task MakeKeyAsync(string name, params string[] grants)
    {
        await using Wire wire = await Wire.ConnectAsync(serving.Host.Socket);
        _ = await wire.MakeKeyAsync(name, string.Join(',', grants.Select(grant =>
        {
            int at = grant.LastIndexOf(':');
            return $$"""{"principal":"{{grant[..at]}}","role":"{{grant[(at + 1)..]}}"}""";
        })));
    }

    private async Task<Finished> AsAsync(string user, string? group, byte[] input, params string[] arguments) => await Shell.RunAsync(
        "setpriv",
        [$"--reuid={user}", $"--regid={user}", group is null ? "--clear-groups" : $"--groups={group}", Repository.Kmsctl, .. arguments],
        new() { ["KMSD_SOCKET"] = serving.Host.Socket },
        input,
        "/");
}
