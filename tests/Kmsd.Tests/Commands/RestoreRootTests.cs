using Kmsd.Commands;

namespace Kmsd.Tests.Commands;

/// <summary><c>kmsd root restore</c>: what it says comes next.</summary>
public sealed class RestoreRootTests
{
    [Fact]
    public void While_generations_are_missing_the_database_comes_after_them()
    {
        using StringWriter output = new();
        RestoreRoot.TellNext(output, [1, 3], "/s/kms.db", "/s/kms.db");
        string[] lines = output.ToString().TrimEnd().Split('\n');
        Assert.Equal(3, lines.Length);
        Assert.Equal("Generation 1 is still missing: run this again with its shares.", lines[0]);
        Assert.Equal("Generation 3 is still missing: run this again with its shares.", lines[1]);
        Assert.StartsWith("Then: kmsd recover --accept-rollback ", lines[2], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/s/kms.db", "Next: kmsd recover --accept-rollback ")]
    [InlineData("/b/kms.backup", "Next: kmsd restore /b/kms.backup.")]
    public void Once_all_are_there_the_database_is_next(string path, string next)
    {
        using StringWriter output = new();
        RestoreRoot.TellNext(output, [], path, "/s/kms.db");
        Assert.StartsWith(next, output.ToString(), StringComparison.Ordinal);
    }
}
