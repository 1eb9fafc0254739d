using Kmsd.Hosting;

namespace Kmsd.Tests.Hosting;

public sealed class StateDirectoryTests
{
    [Fact]
    public void Who_finds_it_in_use_is_told_how_to_stop_the_other()
    {
        using TemporaryFolder folder = new();
        using var first = StateDirectory.Open(folder.Path);
        StartupException refusal = Assert.Throws<StartupException>(() => StateDirectory.Open(folder.Path).Dispose());
        Assert.Equal(
            (ExitCode.CannotCreate, $"The state folder {folder.Path} is in use by another kmsd. Stop it first: systemctl stop kmsd.socket kmsd.service"),
            (refusal.ExitCode, refusal.Message));
    }
}
