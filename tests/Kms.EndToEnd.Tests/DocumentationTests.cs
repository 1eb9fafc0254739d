using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests;

/// <summary>What the documents tell a reader to type, typed.</summary>
public sealed class DocumentationTests
{
    [Fact]
    public async Task The_tour_of_the_README_runs()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        string tour = Repository.Block("README.md", "tour", "sh");
        Assert.Contains("kmsctl file decrypt", tour, StringComparison.Ordinal);
        Finished finished = await Shell.RunAsync(
            "/bin/sh",
            ["-eu", "-c", tour],
            new()
            {
                ["KMSD_SOCKET"] = host.Socket,
                ["PATH"] = $"{Path.GetDirectoryName(Repository.Kmsctl)}:{Environment.GetEnvironmentVariable("PATH")}",
                ["TMPDIR"] = host.Path,
            });
        Assert.True(finished.ExitCode == 0, $"{finished.ExitCode}: {finished.Output}{finished.Error}");
        Assert.Contains("refused, as it must be", finished.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_wire_example_runs_without_our_client()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        string program = Repository.Block("docs/api.md", "wire-example", "python");
        Assert.InRange(program.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length, 1, 10);
        Finished finished = await Shell.RunAsync("python3", ["-I", "-c", program], new() { ["KMSD_SOCKET"] = host.Socket });
        Assert.Equal((0, "ok\n"), (finished.ExitCode, finished.Output));
    }

    [Fact]
    public async Task Every_method_that_is_served_is_in_the_api_page()
    {
        await using Installation host = await Installation.MakeAsync();
        await using Daemon daemon = await host.StartAsync();
        await using Wire wire = await Wire.ConnectAsync(host.Socket);
        string page = File.ReadAllText(Repository.Script("docs/api.md"));
        foreach (System.Text.Json.JsonElement method in (await wire.ResultAsync("rpc.discover")).GetProperty("methods").EnumerateArray())
        {
            Assert.Contains($"`{method.GetProperty("name").GetString()}`", page, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Every_link_between_the_documents_leads_somewhere()
    {
        string[] pages =
        [
            Repository.Script("README.md"), Repository.Script("CHANGELOG.md"),
            .. Directory.EnumerateFiles(Repository.Script("docs"), "*.md", SearchOption.AllDirectories),
        ];
        foreach (string page in pages)
        {
            foreach (System.Text.RegularExpressions.Match link in System.Text.RegularExpressions.Regex.Matches(
                File.ReadAllText(page), @"\]\(([^)#:]+)(#[^)]*)?\)"))
            {
                string target = Path.Combine(Path.GetDirectoryName(page)!, link.Groups[1].Value);
                Assert.True(Path.Exists(target), $"{page} links to {link.Groups[1].Value}");
            }
        }
    }
}
