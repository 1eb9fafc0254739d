using System.Text;
using Kms.Client.Tests;

namespace Kmsctl.Tests;

public sealed class KeyChangeTests
{
    [Theory]
    [InlineData("key rotate mail", "keys.rotate", """{"key":"mail"}""")]
    [InlineData("key enable mail", "keys.enable", """{"key":"mail"}""")]
    [InlineData("key undelete mail", "keys.cancelDeletion", """{"key":"mail"}""")]
    [InlineData("key rename mail post", "keys.update", """{"key":"mail","name":"post"}""")]
    [InlineData("key memo mail text", "keys.update", """{"key":"mail","memo":"text"}""")]
    [InlineData("key rotation-period mail 30", "keys.setRotationPeriod", """{"key":"mail","days":30}""")]
    public async Task A_change_is_sent_and_the_key_shown(string line, string method, string parameters)
    {
        await using var key = new ManagedKey();
        Run run = await Console.RunAsync(key.Daemon, line.Split(' '));
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Errors));
        Assert.Equal(parameters, key.Only(method).Params.GetRawText());
        Assert.StartsWith("name\tmail\n", run.Text, StringComparison.Ordinal);
        Assert.EndsWith("warning\tOver a year.\nadvice\tReencrypt, then disable version 1.\n", run.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Advice_names_commands()
    {
        await using var key = new ManagedKey { Advice = "Reencrypt (crypto.reencrypt), then disable version 1 (versions.disable)." };
        Run run = await Console.RunAsync(key.Daemon, "key", "rotate", "mail");
        Assert.EndsWith("advice\tReencrypt (kmsctl reencrypt), then disable version 1 (kmsctl version disable).\n", run.Text, StringComparison.Ordinal);
        Assert.Contains("(crypto.reencrypt)", (await Console.RunAsync(key.Daemon, "key", "rotate", "mail", "--json")).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_empty_memo_removes_it()
    {
        await using var key = new ManagedKey();
        _ = await Console.RunAsync(key.Daemon, "key", "memo", "mail", string.Empty);
        Assert.Equal("""{"key":"mail","memo":""}""", key.Only("keys.update").Params.GetRawText());
    }

    [Theory]
    [InlineData("y\n", 0)]
    [InlineData("YES\n", 0)]
    [InlineData("\n", 2)]
    [InlineData("n\n", 2)]
    [InlineData("mail\n", 2)]
    [InlineData("", 2)]
    public async Task Disable_shows_whom_it_hits_and_asks(string answer, int exitCode)
    {
        await using var key = new ManagedKey();
        Run run = await Console.RunAsync(key.Daemon, Encoding.UTF8.GetBytes(answer), "key", "disable", "mail");
        Assert.Equal(exitCode, run.ExitCode);
        Assert.Contains("last used 2026-11-24T01:02:03Z, 3 uses", run.Errors, StringComparison.Ordinal);
        Assert.Contains("uid:0 (root): encryptor", run.Errors, StringComparison.Ordinal);
        Assert.Equal(exitCode == 0 ? ["keys.get", "grants.list", "keys.disable"] : ["keys.get", "grants.list"], key.Methods);
    }

    [Fact]
    public async Task With_yes_it_shows_but_does_not_ask_and_means_the_key_that_was_shown()
    {
        await using var key = new ManagedKey();
        Run run = await Console.RunAsync(key.Daemon, "key", "disable", "mail", "--yes", "--json");
        Assert.Equal(0, run.ExitCode);
        Assert.DoesNotContain("[y/N]", run.Errors, StringComparison.Ordinal);
        Assert.Contains("uid:0", run.Errors, StringComparison.Ordinal);
        Assert.StartsWith("{", run.Text, StringComparison.Ordinal);
        Assert.Equal(ManagedKey.Tag, key.Only("keys.disable").Text("key"));
    }

    [Theory]
    [InlineData("delete", "keys.requestDeletion")]
    [InlineData("delete-now", "keys.deleteNow")]
    public async Task Where_somebody_has_a_grant_the_name_is_typed_and_with_yes_it_isnt_asked_for_in_a_pipe(string command, string method)
    {
        foreach (bool yes in new[] { false, true })
        {
            await using var key = new ManagedKey();
            Run run = await Console.RunAsync(key.Daemon, "mail\n"u8.ToArray(), ["key", command, "mail", .. (string[])(yes ? ["--yes"] : [])]);
            Assert.Equal((0, !yes), (run.ExitCode, run.Errors.Contains("Type the key's name", StringComparison.Ordinal)));
            FakeCall call = key.Only(method);
            Assert.Equal((ManagedKey.Tag, "mail"), (call.Text("key"), call.Text("confirmName")));
        }
    }

    [Theory]
    [InlineData("default/mail", "mail")]
    [InlineData("other/mail", "other/mail")]
    [InlineData("mail", "mail")]
    public async Task The_name_that_confirms_may_say_the_keys_store(string given, string sent)
    {
        await using var key = new ManagedKey();
        _ = await Console.RunAsync(key.Daemon, "key", "delete", "mail", "--yes", "--confirm-name", given);
        Assert.Equal(sent, key.Only("keys.requestDeletion").Text("confirmName"));
    }

    [Fact]
    public async Task What_is_still_to_be_destroyed_isnt_called_deleted()
    {
        await using var key = new ManagedKey { DeleteAt = "2099-11-29T00:00:00.000Z" };
        Run run = await Console.RunAsync(key.Daemon, "key", "show", "mail");
        Assert.Contains("to be destroyed at\t2099-11-29T00:00:00Z\n", run.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Programs_give_the_name_as_an_option()
    {
        await using var key = new ManagedKey();
        Run run = await Console.RunAsync(key.Daemon, "key", "delete", ManagedKey.Tag, "--confirm-name", "mail");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("mail", key.Only("keys.requestDeletion").Text("confirmName"));
        Assert.DoesNotContain("Type", run.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("y\n", false, true)]
    [InlineData("n\n", false, false)]
    [InlineData("", true, true)]
    public async Task Without_grants_a_yes_is_enough(string answer, bool yes, bool sent)
    {
        await using var key = new ManagedKey { HasGrants = false };
        string[] arguments = ["key", "delete", "mail", .. (string[])(yes ? ["--yes"] : [])];
        Run run = await Console.RunAsync(key.Daemon, Encoding.UTF8.GetBytes(answer), arguments);
        Assert.Equal((sent ? 0 : 2, sent), (run.ExitCode, key.Methods.Contains("keys.requestDeletion")));
        Assert.Contains("Nobody has a grant on it.", run.Errors, StringComparison.Ordinal);
        if (sent)
        {
            Assert.False(key.Only("keys.requestDeletion").Params.TryGetProperty("confirmName", out _));
        }
    }

    [Fact]
    public async Task Delete_now_says_from_when_on_backups_are_dead_too()
    {
        await using var key = new ManagedKey();
        Run run = await Console.RunAsync(key.Daemon, "key", "delete-now", "mail", "--confirm-name", "mail");
        Assert.EndsWith("generation\t4\n", run.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_public_key_is_PEM_as_it_is()
    {
        await using var key = new ManagedKey();
        Run run = await Console.RunAsync(key.Daemon, "key", "public-key", "mail", "--version", "2");
        Assert.Equal("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", run.Text);
        Assert.Equal("""{"key":"mail","version":2}""", key.Only("keys.getPublicKey").Params.GetRawText());
    }

    [Fact]
    public async Task Versions_are_listed_newest_first()
    {
        await using var key = new ManagedKey();
        Run run = await Console.RunAsync(key.Daemon, "version", "list", "mail");
        Assert.Equal(
            "2\tenabled\tenabled\t2026-11-23T05:42:00Z\t2026-11-22T00:00:00Z\t20\t200\t1\n"
            + "1\tdisabled\tdisabled\t2026-11-23T05:42:00Z\t2026-11-21T00:00:00Z\t10\t100\t1\n",
            run.Text);
    }

    [Fact]
    public async Task Before_a_version_is_disabled_its_last_use_is_shown()
    {
        await using var key = new ManagedKey();
        Run no = await Console.RunAsync(key.Daemon, "n\n"u8.ToArray(), "version", "disable", "mail", "1");
        Assert.Equal(2, no.ExitCode);
        Assert.Contains("Version 1 of 'mail': last used 2026-11-21T00:00:00Z, 10 uses.", no.Errors, StringComparison.Ordinal);
        Assert.Equal(["versions.list"], key.Methods);
        Run yes = await Console.RunAsync(key.Daemon, "version", "disable", "mail", "1", "--yes");
        Assert.StartsWith("version\t1\nstate\tdisabled\n", yes.Text, StringComparison.Ordinal);
        _ = await Console.RunAsync(key.Daemon, "version", "enable", "mail", "1");
        Assert.Equal("""{"key":"mail","version":1}""", key.Only("versions.enable").Params.GetRawText());
    }
}
